/* SPDX-License-Identifier: MIT
 * Strict base64. */
#include "base/base64.h"

#include <stdint.h>

/* The value of a character, -1 for others. The two alphabets differ in the last two. */
static int value_of(char c, const char last[2])
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == last[0])
        return 62;
    return c == last[1] ? 63 : -1;
}

static bool decode(const char *text, size_t len, const char last[2], unsigned char *out,
                   size_t *out_len)
{
    uint32_t bits = 0;
    int held = 0;
    size_t at = 0;
    if (len % 4 == 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i], last);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[at++] = (unsigned char)(bits >> held);
        }
    }
    *out_len = at;
    return (bits & ((1u << held) - 1)) == 0;
}

bool base64url_decode(const char *text, size_t len, unsigned char *out, size_t *out_len)
{
    return decode(text, len, "-_", out, out_len);
}

bool base64_decode(const char *text, size_t len, unsigned char *out, size_t *out_len)
{
    if (len % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++)
        len--;
    return decode(text, len, "+/", out, out_len);
}

void base64url_encode(const unsigned char *bytes, size_t len, char *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (held += 8; held >= 6; held -= 6)
            *out++ = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        *out++ = alphabet[bits << (6 - held) & 63];
    *out = '\0';
}
