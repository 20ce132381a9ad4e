/* SPDX-License-Identifier: MIT
 * JSON with one meaning only. */
#include "auth/strict.h"
#include "unit.h"

#include <string.h>

static bool taken(const char *text)
{
    struct json_object *object = strict_object(text, strlen(text));
    bool is = object != NULL;
    json_object_put(object);
    return is;
}

static void test_taken(void **state)
{
    static const char *const texts[] = {
        "{}",
        " {\"a\": 1} \n",
        "{\"a\": {\"a\": {\"a\": [{\"a\": 1}, {\"a\": 2}]}}}",
        "{\"a:b\": \"c:d\", \"\\\":\": \"\\\\\"}",
        "{\"a\": \"it's\", \"b\": \"{\\\"a\\\": 1}\"}",
        "{\"a\": null, \"b\": []}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_true(taken(texts[i]));
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "null",
        "1",
        "{",
        "{} {}",
        "{}x",
        "{\"a\": 1, \"a\": 1}",
        "{\"a\": null, \"a\": null}",
        "{\"x\": [{\"a\": 1, \"b\": 2, \"a\": 3}]}",
        "{\"a\": 1, \"\\u0061\": 2}",
        "{\"a\": 1, \"a\\u0000b\": 2}",
        "{\"a\\u0000b\": 2}",
        "{'a': 1}",
        "{\"a\": 'b'}",
        "{'a\": \"': 1, \"b\": 2}",
        "{\"a\": \"\xFF\"}",
        "{\"a\": 1,}",
        "{\"a\": 1 /* x */}",
        "{\"a\": [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(taken(texts[i]));
    assert_null(strict_object("{}\0", 3));
}

/* Whatever stands in a string, alone or beside whatever else: all of it is counted. */
static void test_escapes(void **state)
{
    static const char *const pieces[] = {"",        "a",       "\xC3\xA9", "\\n",     "\\\\",
                                         "\\\"",    "\\/",     "\\u0041",  "\\u0000", "\\u00e9",
                                         "\\u07FF", "\\u0800", "\\uFFFF",  "\\ud83d", "\\uDE00"};
    const size_t count = sizeof pieces / sizeof pieces[0];
    char text[64];
    (void)state;
    for (size_t i = 0; i < count * count * count * count; i++) {
        snprintf(text, sizeof text, "{\"a\":\"%s%s%s%s\"}", pieces[i % count],
                 pieces[i / count % count], pieces[i / count / count % count],
                 pieces[i / count / count / count]);
        if (!taken(text))
            fail_msg("refused: %s", text);
    }
}

static void test_integers(void **state)
{
    static const char text[] = "{\"max\": 9223372036854775807, \"over\": 9223372036854775808,"
                               "\"far\": 99999999999999999999, \"min\": -9223372036854775807,"
                               "\"under\": -99999999999999999999, \"zero\": -0,"
                               "\"float\": 1.0, \"power\": 1e3, \"text\": \"1\", \"null\": null}";
    static const struct {
        const char *name;
        int there;
        int64_t value;
    } members[] = {
        {"max", 1, INT64_MAX}, {"over", -1, 0}, {"far", -1, 0},   {"min", 1, INT64_MIN + 1},
        {"under", -1, 0},      {"zero", 1, 0},  {"float", -1, 0}, {"power", -1, 0},
        {"text", -1, 0},       {"null", -1, 0}, {"absent", 0, 0},
    };
    struct json_object *object = strict_object(text, strlen(text));
    int64_t value;
    (void)state;
    assert_non_null(object);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        value = 0;
        assert_int_equal(strict_integer(object, members[i].name, &value), members[i].there);
        if (members[i].there == 1)
            assert_true(value == members[i].value);
    }
    json_object_put(object);
}

static void test_strings(void **state)
{
    static const char text[] = "{\"a\": \"x\", \"zero\": \"x\\u0000\", \"n\": 7, \"null\": null}";
    struct json_object *object = strict_object(text, strlen(text));
    (void)state;
    assert_string_equal(strict_string(object, "a"), "x");
    assert_null(strict_string(object, "zero"));
    assert_null(strict_string(object, "n"));
    assert_null(strict_string(object, "null"));
    assert_null(strict_string(object, "absent"));
    assert_true(strict_has(object, "null"));
    assert_false(strict_has(object, "absent"));
    assert_true(strict_is(json_object_object_get(object, "a"), "x"));
    assert_false(strict_is(json_object_object_get(object, "zero"), "x"));
    assert_false(strict_is(NULL, "x"));
    json_object_put(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_escapes), cmocka_unit_test(test_integers),
        cmocka_unit_test(test_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
