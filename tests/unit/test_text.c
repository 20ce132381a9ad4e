/* SPDX-License-Identifier: MIT
 * UTF-8, decimals and times. */
#include "unit.h"

#include "base/text.h"

#include <inttypes.h>
#include <json-c/json.h>

#include <float.h>

/* ---- UTF-8 ---- */

/* What a text decodes to, code point by code point, closed by 0. FFFD stands for each
 * invalid sequence; how many there are shows how long each was taken to be. */
struct decoding {
    const char *bytes;
    uint32_t points[8];
};

/* Decodes from memory of exactly that length, for the sanitizers to watch. */
static size_t decode_all(const char *bytes, uint32_t *points, size_t most)
{
    size_t len = strlen(bytes);
    unsigned char *copy = malloc(len);
    size_t at = 0;
    size_t count = 0;
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    while (at < len && count < most) {
        size_t used = text_decode(copy + at, len - at, &points[count++]);
        assert_in_range(used, 1, len - at);
        at += used;
    }
    free(copy);
    return count;
}

static void assert_decodings(const struct decoding *decodings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t points[8] = {0};
        bool valid = true;
        decode_all(decodings[i].bytes, points, 7);
        for (size_t j = 0; j < 8; j++) {
            assert_int_equal(points[j], decodings[i].points[j]);
            valid = valid && points[j] != TEXT_REPLACEMENT;
        }
        assert_int_equal(text_is_utf8(decodings[i].bytes, strlen(decodings[i].bytes)), valid);
    }
}

static void test_valid(void **state)
{
    static const struct decoding decodings[] = {
        {"\x01", {0x01}},
        {"A\x7F", {'A', 0x7F}},
        {"\xC2\x80", {0x80}},
        {"\xDF\xBF", {0x7FF}},
        {"\xE0\xA0\x80", {0x800}},
        {"\xE1\x80\x80", {0x1000}},
        {"\xEC\xBF\xBF", {0xCFFF}},
        {"\xED\x80\x80", {0xD000}},
        {"\xED\x9F\xBF", {0xD7FF}},
        {"\xEE\x80\x80", {0xE000}},
        {"\xEF\xBF\xBE", {0xFFFE}},
        {"\xEF\xBF\xBF", {0xFFFF}},
        {"\xF0\x90\x80\x80", {0x10000}},
        {"\xF3\xBF\xBF\xBF", {0xFFFFF}},
        {"\xF4\x80\x80\x80", {0x100000}},
        {"\xF4\x8F\xBF\xBF", {0x10FFFF}},
        {"a\xC3\xA9\xE2\x82\xAC\xF0\x9D\x84\x9Ez", {'a', 0xE9, 0x20AC, 0x1D11E, 'z'}},
    };
    (void)state;
    assert_decodings(decodings, COUNT(decodings));
}

static void test_invalid(void **state)
{
    static const struct decoding decodings[] = {
        /* continuation bytes alone */
        {"\x80", {0xFFFD}},
        {"\xBF", {0xFFFD}},
        {"\x80\xBF", {0xFFFD, 0xFFFD}},
        /* bytes that never occur */
        {"\xC0", {0xFFFD}},
        {"\xC1\x80", {0xFFFD, 0xFFFD}},
        {"\xF5\x80", {0xFFFD, 0xFFFD}},
        {"\xF8\x88\x80\x80\x80", {0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD}},
        {"\xFE", {0xFFFD}},
        {"\xFF", {0xFFFD}},
        /* cut short by the end: one for the whole prefix */
        {"\xC2", {0xFFFD}},
        {"\xE2", {0xFFFD}},
        {"\xE2\x82", {0xFFFD}},
        {"\xF0\x9D", {0xFFFD}},
        {"\xF0\x9D\x84", {0xFFFD}},
        /* cut short by another character, which stays */
        {"\xC2"
         "A",
         {0xFFFD, 'A'}},
        {"\xE2\x82"
         "A",
         {0xFFFD, 'A'}},
        {"\xF0\x9D\x84"
         "A",
         {0xFFFD, 'A'}},
        {"\xE2\x82\xC3\xA9", {0xFFFD, 0xE9}},
        {"\xE2\xE2\x82\xAC", {0xFFFD, 0x20AC}},
        /* overlong: no byte after the lead belongs to it */
        {"\xC0\xAF", {0xFFFD, 0xFFFD}},
        {"\xC1\xBF", {0xFFFD, 0xFFFD}},
        {"\xE0\x80\xAF", {0xFFFD, 0xFFFD, 0xFFFD}},
        {"\xE0\x9F\xBF", {0xFFFD, 0xFFFD, 0xFFFD}},
        {"\xF0\x80\x80\xAF", {0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD}},
        {"\xF0\x8F\xBF\xBF", {0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD}},
        /* surrogates, alone and as a pair */
        {"\xED\xA0\x80", {0xFFFD, 0xFFFD, 0xFFFD}},
        {"\xED\xBF\xBF", {0xFFFD, 0xFFFD, 0xFFFD}},
        {"\xED\xA0\x80\xED\xB0\x80", {0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD}},
        /* above U+10FFFF */
        {"\xF4\x90\x80\x80", {0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD}},
        /* the Unicode standard's own example of maximal subparts (table 3-8) */
        {"\xF1\x80\x80\xE1\x80\xC2\x62", {0xFFFD, 0xFFFD, 0xFFFD, 0x62}},
    };
    (void)state;
    assert_decodings(decodings, COUNT(decodings));
}

/* Every code point that there is, and every one that may not be written. */
static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t point = 0x80; point < 0x200000; point++) {
        unsigned char bytes[4];
        size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
        uint32_t rest = point;
        for (size_t i = len - 1; i > 0; i--, rest >>= 6)
            bytes[i] = (unsigned char)(0x80 | (rest & 0x3F));
        bytes[0] = (unsigned char)(leads[len] | rest);
        bool valid = point <= 0x10FFFF && !(point >= 0xD800 && point <= 0xDFFF);
        uint32_t decoded;
        size_t used = text_decode(bytes, len, &decoded);
        if (used != (valid ? len : 1) || decoded != (valid ? point : TEXT_REPLACEMENT))
            fail_msg("U+%04X came out as U+%04X of %zu bytes", point, decoded, used);
    }
}

static void test_is_utf8(void **state)
{
    (void)state;
    assert_true(text_is_utf8("", 0));
    assert_true(text_is_utf8("\0", 1));
    /* U+FFFD itself is a character like others. */
    assert_true(text_is_utf8("\xEF\xBF\xBD", 3));
    assert_false(text_is_utf8("ok\xEF\xBF", 4));
    assert_false(text_is_utf8("\xEF\xBF\xBD\xFF", 4));
}

static void assert_text(const char *bytes, size_t len, const char *expected, size_t expected_len)
{
    struct json_object *json = text_json(bytes, len);
    assert_true(json_object_is_type(json, json_type_string));
    assert_int_equal(json_object_get_string_len(json), expected_len);
    assert_memory_equal(json_object_get_string(json), expected, expected_len);
    json_object_put(json);
}

static void test_json_string(void **state)
{
    (void)state;
    assert_text("", 0, "", 0);
    assert_text("plain", 5, "plain", 5);
    assert_text("not terminated", 3, "not", 3);
    assert_text("\"<\xC3\xA9\\", 5, "\"<\xC3\xA9\\", 5);
    assert_text("a\0b", 3, "a\0b", 3);
    assert_text("caf\xE9", 4, "caf\xEF\xBF\xBD", 6);
    assert_text("\xFF\xFF\xFF", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 9);
    assert_text("\xE2\x82x\xE2\x82\xAC", 6, "\xEF\xBF\xBDx\xE2\x82\xAC", 7);
    assert_text("\xEF\xBF\xBD\xC0", 4, "\xEF\xBF\xBD\xEF\xBF\xBD", 6);
}

/* ---- decimals ---- */

static void assert_number(double value, const char *expected)
{
    struct json_object *json = text_json_number(value);
    assert_true(json_object_is_type(json, json_type_double));
    assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN), expected);
    assert_true(strtod(expected, NULL) == value);
    json_object_put(json);
}

static void test_integers(void **state)
{
    char out[TEXT_INTEGER_SIZE];
    (void)state;
    for (int64_t value = 1; value < INT64_MAX / 10; value *= 10) {
        for (int64_t near = value - 1; near <= value + 1; near++) {
            char expected[32];
            int len = snprintf(expected, sizeof expected, "%" PRId64, -near);
            assert_int_equal(text_integer(-near, out), len);
            assert_string_equal(out, expected);
        }
    }
    assert_int_equal(text_integer(INT64_MAX, out), 19);
    assert_string_equal(out, "9223372036854775807");
    assert_int_equal(text_integer(INT64_MIN, out), 20);
    assert_string_equal(out, "-9223372036854775808");
}

static void test_decimals(void **state)
{
    (void)state;
    assert_number(0, "0");
    assert_number(50, "50");
    assert_number(100, "100");
    assert_number(99.9, "99.9");
    assert_number(0.1, "0.1");
    assert_number(0.1 + 0.2, "0.30000000000000004");
    assert_number(1.0 / 3.0 * 100, "33.33333333333333");
    assert_number(33.333333333333336, "33.333333333333336");
    assert_number(2.0 / 3.0 * 100, "66.66666666666666");
    assert_number(12.5, "12.5");
    assert_number(99.99999999999999, "99.99999999999999");
    assert_number(1e-6, "0.000001");
    assert_number(1.0 / 9223372036854775807.0 * 100, "1.0842021724855044e-17");
    assert_number(1e14, "100000000000000");
    assert_number(-0.5, "-0.5");
}

/* Beyond the usual range the exponent stays. Its spelling is C's, which JSON takes. */
static void test_decimals_with_exponent(void **state)
{
    (void)state;
    assert_number(1e-7, "1e-07");
    assert_number(1.5e300, "1.5e+300");
    assert_number(DBL_MAX, "1.7976931348623157e+308");
    assert_number(DBL_MIN, "2.2250738585072014e-308");
    assert_number(-2.5e-10, "-2.5e-10");
}

/* Of the digits that a decimal shows, none can be spared. */
static void assert_shortest(double value)
{
    char shorter[400];
    struct json_object *json = text_json_number(value);
    const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
    int digits = 0;
    for (const char *p = text + strspn(text, "0."); *p && *p != 'e'; p++)
        digits += *p >= '0' && *p <= '9';
    assert_true(strtod(text, NULL) == value);
    /* In a whole number zeros at the end hold their place. */
    if (digits > 1 && strchr(text, '.')) {
        snprintf(shorter, sizeof shorter, "%.*g", digits - 1, value);
        assert_true(strtod(shorter, NULL) != value);
    }
    json_object_put(json);
}

static void test_decimals_are_shortest(void **state)
{
    (void)state;
    for (int total = 1; total <= 400; total++) {
        for (int done = 0; done < total; done++)
            assert_shortest((double)done / total * 100);
    }
}

/* ---- times ---- */

#define SECOND INT64_C(1000000)

static void assert_time(int64_t micros, const char *expected)
{
    char text[32];
    memset(text, 'x', sizeof text);
    assert_true(text_rfc3339(micros, text));
    assert_string_equal(text, expected);
}

/* The seconds are those that date(1) gives: date -u -d 2024-02-29T23:59:59Z +%s */
static void test_times(void **state)
{
    (void)state;
    assert_time(0, "1970-01-01T00:00:00Z");
    assert_time(1709251199 * SECOND, "2024-02-29T23:59:59Z");
    assert_time(1709251200 * SECOND, "2024-03-01T00:00:00Z");
    assert_time(946684800 * SECOND, "2000-01-01T00:00:00Z");
    assert_time(4107542400 * SECOND, "2100-03-01T00:00:00Z");
    assert_time(2147483648 * SECOND, "2038-01-19T03:14:08Z");
}

static void test_times_with_fraction(void **state)
{
    (void)state;
    assert_time(1, "1970-01-01T00:00:00.000001Z");
    assert_time(1500000, "1970-01-01T00:00:01.500000Z");
    assert_time(1709251199 * SECOND + 999999, "2024-02-29T23:59:59.999999Z");
}

static void test_times_before_1970(void **state)
{
    (void)state;
    assert_time(-1, "1969-12-31T23:59:59.999999Z");
    assert_time(-SECOND, "1969-12-31T23:59:59Z");
    assert_time(-SECOND - 1, "1969-12-31T23:59:58.999999Z");
    assert_time(-11644473600 * SECOND, "1601-01-01T00:00:00Z");
}

static void test_year_bounds(void **state)
{
    static const int64_t beyond[] = {
        253402300800 * SECOND,
        -62167219200 * SECOND - 1,
        INT64_MAX,
        INT64_MIN,
    };
    (void)state;
    assert_time(253402300800 * SECOND - 1, "9999-12-31T23:59:59.999999Z");
    assert_time(-62167219200 * SECOND, "0000-01-01T00:00:00Z");
    for (size_t i = 0; i < COUNT(beyond); i++) {
        char text[32] = "x";
        assert_false(text_rfc3339(beyond[i], text));
        assert_string_equal(text, "");
    }
}

/* The next day, by the rules as they are taught. */
static void next_day(int *year, int *month, int *day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = *year % 4 == 0 && (*year % 100 != 0 || *year % 400 == 0);
    int length = *month == 2 && leap ? 29 : lengths[*month - 1];
    if (++*day <= length)
        return;
    *day = 1;
    if (++*month <= 12)
        return;
    *month = 1;
    ++*year;
}

/* Each day that can be written, at a moment that wanders through the day. */
static void test_every_day(void **state)
{
    int year = 0;
    int month = 1;
    int day = 1;
    int64_t days = -719528; /* from 0000-01-01 to 1970-01-01 */
    (void)state;
    for (; year <= 9999; days++, next_day(&year, &month, &day)) {
        char text[32];
        char expected[64];
        int second = (int)((days + 719528) * 7919 % 86400);
        int fraction = (int)((days + 719528) * 104729 % 1000000);
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", year, month, day,
                 second / 3600, second / 60 % 60, second % 60, fraction);
        if (fraction == 0)
            snprintf(expected + 19, sizeof expected - 19, "Z");
        if (!text_rfc3339((days * 86400 + second) * SECOND + fraction, text) ||
            strcmp(text, expected) != 0)
            fail_msg("%s came out as \"%s\"", expected, text);
    }
    assert_int_equal(days * 86400, INT64_C(253402300800));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_is_utf8),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_decimals_with_exponent),
        cmocka_unit_test(test_decimals_are_shortest),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_times_with_fraction),
        cmocka_unit_test(test_times_before_1970),
        cmocka_unit_test(test_year_bounds),
        cmocka_unit_test(test_every_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
