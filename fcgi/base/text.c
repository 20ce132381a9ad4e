/* SPDX-License-Identifier: MIT
 * UTF-8, decimals and times, as JSON and logs want them. */
#include "base/text.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* As valid UTF-8, in `clean`, which takes three times as many bytes; returns how many it has. */
static size_t replace_invalid(const char *s, size_t len, char *clean)
{
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
    return out;
}

struct json_object *text_json(const char *s, size_t len)
{
    if (text_is_utf8(s, len))
        return json_object_new_string_len(s, (int)len);

    char *clean = malloc(len * 3 + 1);
    if (!clean)
        return NULL;
    size_t out = replace_invalid(s, len, clean);
    struct json_object *json = json_object_new_string_len(clean, (int)out);
    free(clean);
    return json;
}

char *text_utf8(const char *s)
{
    size_t len = strlen(s);
    char *clean = malloc(len * 3 + 1);
    if (clean)
        clean[replace_invalid(s, len, clean)] = '\0';
    return clean;
}

/* By hand, as snprintf takes ten times as long. */
size_t text_integer(int64_t value, char out[TEXT_INTEGER_SIZE])
{
    char digits[TEXT_INTEGER_SIZE];
    size_t count = 0;
    size_t len = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        out[len++] = '-';
    while (count > 0)
        out[len++] = digits[--count];
    out[len] = '\0';
    return len;
}

/* The shortest digits that read back as `value`, in `digits` as "d.ddde+dd"; returns how
 * many stand after the point. A double holds any 15 digits, so where fewer read
 * back, they are what is printed with 15, zeros after them; 17 always read back. */
static int shortest(double value, char digits[32])
{
    int precision = 13;
    do {
        snprintf(digits, 32, "%.*e", ++precision, value);
    } while (precision < 16 && strtod(digits, NULL) != value);
    const char *last = strchr(digits, 'e') - 1;
    while (precision > 0 && *last == '0') {
        precision--;
        last--;
    }
    return precision;
}

void text_number(double value, char out[32])
{
    /* A whole number, which most are, is its own shortest form. */
    if (value > -1e15 && value < 1e15 && value == (double)(int64_t)value) {
        text_integer((int64_t)value, out);
        return;
    }
    int precision = shortest(value, out);
    /* The same digits without an exponent, as Go's encoder writes them, where that is
     * not longer than the number is worth. */
    long exponent = strtol(strchr(out, 'e') + 1, NULL, 10);
    if (exponent >= -6 && exponent < 15) {
        long decimals = precision - exponent;
        snprintf(out, 32, "%.*f", decimals > 0 ? (int)decimals : 0, value);
    } else {
        snprintf(out, 32, "%.*e", precision, value);
    }
}

struct json_object *text_json_number(double value)
{
    char digits[32];
    text_number(value, digits);
    return json_object_new_double_s(value, digits);
}

/* Writes the last `count` decimal digits of `value`, and what follows them. */
static char *put_digits(char *out, int64_t value, int count, char after)
{
    for (int i = count; i-- > 0; value /= 10)
        out[i] = (char)('0' + value % 10);
    out[count] = after;
    return out + count + 1;
}

/* The date `day` days after 1970-01-01, in the proleptic Gregorian calendar. Years are
 * counted from March here, so that the leap day is the last of its year. */
static char *put_date(char *out, int64_t day)
{
    enum {
        DAYS_400 = 146097,
        DAYS_100 = 36524,
        DAYS_4 = 1461
    };
    day += 719468 + DAYS_400; /* since March 1st of the year -400 */
    int64_t year = day / DAYS_400 * 400 - 400;
    day %= DAYS_400;
    int64_t century = day / DAYS_100 < 3 ? day / DAYS_100 : 3; /* the fourth is a day longer */
    day -= century * DAYS_100;
    int64_t four = day / DAYS_4;
    day %= DAYS_4;
    int64_t one = day / 365 < 3 ? day / 365 : 3; /* and so is each fourth year */
    day -= one * 365;
    year += century * 100 + four * 4 + one;
    /* From March on, months of 31 and 30 days take turns as 153 days in five months. */
    int64_t month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    out = put_digits(out, month < 10 ? year : year + 1, 4, '-');
    out = put_digits(out, month < 10 ? month + 3 : month - 9, 2, '-');
    return put_digits(out, day + 1, 2, 'T');
}

/* By hand: an answer may hold a thousand times, gmtime_r takes a lock that all threads
 * share, and snprintf takes longer than all the rest. */
bool text_rfc3339(int64_t micros, char out[32])
{
    enum {
        DAY = 86400
    };
    const int64_t first = INT64_C(-62167219200); /* 0000-01-01T00:00:00Z */
    const int64_t last = INT64_C(253402300799);  /* 9999-12-31T23:59:59Z */
    int64_t fraction = micros % 1000000;
    int64_t seconds = micros / 1000000 - (fraction < 0);
    out[0] = '\0';
    if (seconds < first || seconds > last)
        return false;

    int64_t second = ((seconds % DAY) + DAY) % DAY;
    out = put_date(out, (seconds - second) / DAY);
    out = put_digits(out, second / 3600, 2, ':');
    out = put_digits(out, second / 60 % 60, 2, ':');
    out = put_digits(out, second % 60, 2, fraction ? '.' : 'Z');
    if (fraction)
        out = put_digits(out, fraction < 0 ? fraction + 1000000 : fraction, 6, 'Z');
    *out = '\0';
    return true;
}
