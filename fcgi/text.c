/* SPDX-License-Identifier: MIT
 * UTF-8, decimals and times, as JSON and logs want them. */
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The well-formed byte sequences of RFC 3629, section 4: what may follow a lead byte
 * first depends on the lead, which is what keeps out overlong forms and surrogates. */
static size_t sequence_of(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

size_t text_decode(const unsigned char *s, size_t len, uint32_t *point)
{
    unsigned char low;
    unsigned char high;

    if (s[0] < 0x80) {
        *point = s[0];
        return 1;
    }
    *point = TEXT_REPLACEMENT;
    size_t want = sequence_of(s[0], &low, &high);
    if (want == 0)
        return 1;

    uint32_t value = s[0] & (0x7Fu >> want);
    for (size_t i = 1; i < want; i++) {
        if (i >= len || s[i] < low || s[i] > high)
            return i;
        value = value << 6 | (s[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *point = value;
    return want;
}

bool text_is_utf8(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    while (len > 0) {
        uint32_t point;
        size_t used = text_decode(p, len, &point);
        /* A genuine U+FFFD takes three bytes, EF BF BD. */
        if (point == TEXT_REPLACEMENT && !(used == 3 && p[0] == 0xEF && p[1] == 0xBF))
            return false;
        p += used;
        len -= used;
    }
    return true;
}

struct json_object *text_json(const char *s, size_t len)
{
    if (text_is_utf8(s, len))
        return json_object_new_string_len(s, (int)len);

    char *clean = malloc(len * 3 + 1);
    if (!clean)
        return NULL;
    const unsigned char *p = (const unsigned char *)s;
    size_t out = 0;
    while (len > 0) {
        uint32_t point;
        size_t used = text_decode(p, len, &point);
        if (point == TEXT_REPLACEMENT) {
            memcpy(clean + out, "\xEF\xBF\xBD", 3);
            out += 3;
        } else {
            memcpy(clean + out, p, used);
            out += used;
        }
        p += used;
        len -= used;
    }
    struct json_object *json = json_object_new_string_len(clean, (int)out);
    free(clean);
    return json;
}

struct json_object *text_json_number(double value)
{
    char digits[32];
    int precision = 0;
    do {
        snprintf(digits, sizeof digits, "%.*e", precision, value);
    } while (strtod(digits, NULL) != value && ++precision < 17);

    /* The same digits without an exponent, as Go's encoder writes them, where that is
     * not longer than the number is worth. */
    long exponent = strtol(strchr(digits, 'e') + 1, NULL, 10);
    if (exponent >= -6 && exponent < 15) {
        long decimals = precision - exponent;
        snprintf(digits, sizeof digits, "%.*f", decimals > 0 ? (int)decimals : 0, value);
    }
    return json_object_new_double_s(value, digits);
}

bool text_rfc3339(int64_t micros, char out[32])
{
    int64_t seconds = micros / 1000000;
    int64_t fraction = micros % 1000000;
    if (fraction < 0) {
        fraction += 1000000;
        seconds--;
    }
    struct tm tm;
    time_t when = (time_t)seconds;
    out[0] = '\0';
    if (!gmtime_r(&when, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
        return false;
    int len = snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                       tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (fraction > 0)
        snprintf(out + len, 32 - (size_t)len, ".%06" PRId64 "Z", fraction);
    else
        snprintf(out + len, 32 - (size_t)len, "Z");
    return true;
}
