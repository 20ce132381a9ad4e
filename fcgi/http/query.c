/* SPDX-License-Identifier: MIT
 * A URL's query string. */
#include "http/query.h"

#include <stdio.h>
#include <string.h>

/* The value of a hexadecimal digit; -1: none. */
static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes `len` bytes; false where they do not fit or hold a zero byte. */
static bool decode(const char *s, size_t len, char *out, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        int c = s[i] == '+' ? ' ' : (unsigned char)s[i];
        if (c == '%' && i + 2 < len && hex_of(s[i + 1]) >= 0 && hex_of(s[i + 2]) >= 0) {
            c = hex_of(s[i + 1]) * 16 + hex_of(s[i + 2]);
            i += 2;
        }
        if (c == '\0' || at + 1 >= size)
            return false;
        out[at++] = (char)c;
    }
    out[at] = '\0';
    return true;
}

bool query_value(const char *query, const char *name, char *value, size_t size)
{
    while (*query) {
        size_t len = strcspn(query, "&");
        size_t key_len = strcspn(query, "=&");
        char key[32];
        if (decode(query, key_len, key, sizeof key) && strcmp(key, name) == 0) {
            size_t start = key_len + (key_len < len);
            if (!decode(query + start, len - start, value, size))
                snprintf(value, size, "?");
            return true;
        }
        query += len + (query[len] == '&');
    }
    return false;
}
