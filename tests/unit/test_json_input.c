/* SPDX-License-Identifier: MIT
 * JSON with one meaning only. */
#include "unit.h"

#include "base/json_input.h"

#include <string.h>

#define TEXT(literal) literal, sizeof(literal) - 1

/* Memory of exactly that length, so that a sanitizer sees a read beyond it. */
static enum json_input_fault read_bytes(const char *text, size_t len)
{
    struct json_input input = {0};
    const json_t *object = NULL;
    char *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, text, len);
    enum json_input_fault fault = json_input_read(&input, copy, len, &object);
    assert_int_equal(object != NULL, fault == JSON_INPUT_GOOD);
    free(copy);
    json_input_free(&input);
    return fault;
}

static void assert_fault(const char *text, enum json_input_fault expected)
{
    enum json_input_fault fault = read_bytes(text, strlen(text));
    if (fault != expected)
        fail_msg("fault %d, not %d: %s", (int)fault, (int)expected, text);
}

static void test_accepted(void **state)
{
    static const char *const texts[] = {
        "{}",
        " {\"a\": 1} \n",
        "{\"a\": {\"a\": {\"a\": [{\"a\": 1}, {\"a\": 2}]}}}",
        "{\"a:b\": \"c:d\", \"\\\":\": \"\\\\\"}",
        "{\"a\": \"it's\", \"b\": \"{\\\"a\\\": 1}\"}",
        "{\"a\": null, \"b\": []}",
        "{\"a\": 1e308, \"b\": 1e-400, \"c\": -0, \"d\": 1.0}",
        "{\"a\": \"\xEF\xBF\xBF \xF4\x8F\xBF\xBF\"}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_fault(texts[i], JSON_INPUT_GOOD);
}

static void test_no_object(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "null",
        "1",
        "{",
        "{} {}",
        "{}x",
        "{'a': 1}",
        "{\"a\": 'b'}",
        "{'a\": \"': 1, \"b\": 2}",
        "{\"a\": 1,}",
        "{\"a\": 1 /* x */}",
        "{\"a\": 01}",
        "{\"a\": NaN}",
        "{\"a\": \"\t\"}",
        "\xEF\xBB\xBF{}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_fault(texts[i], JSON_INPUT_NO_OBJECT);
    assert_int_equal(read_bytes(TEXT("{}\0")), JSON_INPUT_NO_OBJECT);
    assert_int_equal(read_bytes(TEXT("{\"a\": \"x\0\"}")), JSON_INPUT_NO_OBJECT);
    assert_int_equal(read_bytes(TEXT("{\"a\0\": 1}")), JSON_INPUT_NO_OBJECT);
}

/* Bytes above 127 that are no UTF-8: cut, overlong, a surrogate, beyond U+10FFFF. */
static void test_invalid_utf8(void **state)
{
    static const char *const bytes[] = {
        "\x80", "\xFF", "\xC3", "\xC0\xAF", "\xE2\x82", "\xED\xA0\x80", "\xF4\x90\x80\x80",
    };
    char text[32];
    (void)state;
    for (size_t i = 0; i < COUNT(bytes); i++) {
        snprintf(text, sizeof text, "{\"a\": \"%s\"}", bytes[i]);
        assert_fault(text, JSON_INPUT_NO_OBJECT);
        snprintf(text, sizeof text, "{\"%s\": 1}", bytes[i]);
        assert_fault(text, JSON_INPUT_NO_OBJECT);
        snprintf(text, sizeof text, "{}%s", bytes[i]);
        assert_fault(text, JSON_INPUT_NO_OBJECT);
    }
}

static void test_name_twice(void **state)
{
    static const char *const texts[] = {
        "{\"a\": 1, \"a\": 1}",
        "{\"a\": null, \"a\": null}",
        "{\"x\": [{\"a\": 1, \"b\": 2, \"a\": 3}]}",
        "{\"a\": 1, \"\\u0061\": 2}",
        "{\"\": 1, \"\": 2}",
        "{\"\xC3\xA9\": 1, \"\\u00e9\": 2}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_fault(texts[i], JSON_INPUT_NAME_TWICE);
}

/* libjwt's parser takes none of these, wherever they stand. */
static void test_what_jansson_does_not_take(void **state)
{
    static const struct {
        const char *value;
        enum json_input_fault fault;
    } cases[] = {
        {"9223372036854775808", JSON_INPUT_NUMBER},
        {"-9223372036854775809", JSON_INPUT_NUMBER},
        {"99999999999999999999999999", JSON_INPUT_NUMBER},
        {"1e400", JSON_INPUT_NUMBER},
        {"-1e400", JSON_INPUT_NUMBER},
        {"\"\\u0000\"", JSON_INPUT_ZERO},
        {"\"a\\u0000b\"", JSON_INPUT_ZERO},
        {"{\"a\\u0000b\": 1}", JSON_INPUT_ZERO},
        {"\"\\ud83d\"", JSON_INPUT_SURROGATE},
        {"\"\\ud83dx\"", JSON_INPUT_SURROGATE},
        {"\"\\ude00\"", JSON_INPUT_SURROGATE},
        {"\"\\ud83d\\ud83d\"", JSON_INPUT_SURROGATE},
    };
    char text[80];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof text, "{\"a\": %s}", cases[i].value);
        assert_fault(text, cases[i].fault);
        snprintf(text, sizeof text, "{\"a\": [{\"b\": %s}]}", cases[i].value);
        assert_fault(text, cases[i].fault);
    }
}

/* An object that holds nested lists, `depth` levels in all. */
static void nested(size_t depth, char *text)
{
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', depth - 1);
    memset(text + 4 + depth, ']', depth - 1);
    memcpy(text + 3 + 2 * depth, "}", 2); /* with its zero */
}

static void test_depth(void **state)
{
    static char text[300000];
    (void)state;
    nested(JSON_INPUT_DEPTH, text);
    assert_fault(text, JSON_INPUT_GOOD);
    nested(JSON_INPUT_DEPTH + 1, text);
    assert_fault(text, JSON_INPUT_DEEP);
    nested(100000, text);
    assert_fault(text, JSON_INPUT_DEEP);
    /* Side by side, and in strings, they are not nested. */
    assert_fault("{\"a\":[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]}",
                 JSON_INPUT_GOOD);
    assert_fault("{\"[[[[[[[[[[[[[[[[[[\":\"{{{{{{{{{{{{\\\"{{{{{{{{{{\"}", JSON_INPUT_GOOD);
    assert_fault("{\"a\":\"\\\\\",\"b\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}", JSON_INPUT_DEEP);
}

/* Each piece alone and beside every other: what is well written is accepted. */
static void test_escapes(void **state)
{
    static const char *const pieces[] = {
        "",        "a",       "\xC3\xA9", "\\n",     "\\\\",    "\\\"",          "\\/",
        "\\u0041", "\\u00e9", "\\u07FF",  "\\u0800", "\\uFFFF", "\\ud83d\\uDE00"};
    const size_t count = COUNT(pieces);
    char text[80];
    (void)state;
    for (size_t i = 0; i < count * count * count * count; i++) {
        snprintf(text, sizeof text, "{\"a\":\"%s%s%s%s\"}", pieces[i % count],
                 pieces[i / count % count], pieces[i / count / count % count],
                 pieces[i / count / count / count]);
        assert_fault(text, JSON_INPUT_GOOD);
    }
}

static void test_values(void **state)
{
    static const char text[] =
        "{\"max\": 9223372036854775807, \"min\": -9223372036854775808,"
        "\"real\": 1.0, \"power\": 1e3, \"escaped\": \"\\u00e9\\ud83d\\ude00\","
        "\"n\": 7, \"null\": null}";
    struct json_input input = {0};
    const json_t *object;
    (void)state;
    assert_int_equal(json_input_read(&input, TEXT(text), &object), JSON_INPUT_GOOD);
    assert_true(json_integer_value(json_input_member(object, "max")) == INT64_MAX);
    assert_true(json_integer_value(json_input_member(object, "min")) == INT64_MIN);
    assert_false(json_is_integer(json_input_member(object, "real")));
    assert_false(json_is_integer(json_input_member(object, "power")));
    assert_string_equal(json_input_string(object, "escaped"), "\xC3\xA9\xF0\x9F\x98\x80");
    assert_null(json_input_string(object, "n"));
    assert_null(json_input_string(object, "null"));
    assert_null(json_input_string(object, "absent"));
    assert_true(json_is_null(json_input_member(object, "null")));
    assert_null(json_input_member(object, "absent"));
    assert_null(json_input_member(json_input_member(object, "n"), "x"));
    assert_null(json_input_member(NULL, "x"));
    json_input_free(&input);
}

/* Larger than a block of its memory, in one value and in many; and two texts in one memory. */
static void test_large_texts(void **state)
{
    static char text[200000];
    struct json_input input = {0};
    const json_t *object;
    const json_t *other;
    size_t len;
    (void)state;
    len = (size_t)snprintf(text, sizeof text, "{\"a\":\"%0100000d\"}", 7);
    assert_int_equal(json_input_read(&input, text, len, &object), JSON_INPUT_GOOD);
    len = (size_t)snprintf(text, sizeof text, "{\"a\":[1");
    for (int i = 2; i <= 20000; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, ",%d", i);
    len += (size_t)snprintf(text + len, sizeof text - len, "]}");
    assert_int_equal(json_input_read(&input, text, len, &other), JSON_INPUT_GOOD);
    assert_int_equal(strlen(json_input_string(object, "a")), 100000);
    assert_int_equal(json_array_size(json_input_member(other, "a")), 20000);
    assert_int_equal(json_integer_value(json_array_get(json_input_member(other, "a"), 19999)),
                     20000);
    json_input_free(&input);
    assert_null(input.blocks);
    json_input_free(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_no_object),
        cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_name_twice),
        cmocka_unit_test(test_what_jansson_does_not_take),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_large_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
