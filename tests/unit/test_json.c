/* SPDX-License-Identifier: MIT
 * JSON's text: what json-c writes where memory suffices. */
#include "json.h"
#include "text.h"
#include "unit.h"

#include <string.h>

#define FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* Takes over `json`. */
static void assert_written(struct json_object *json)
{
    size_t len;
    char *text = json_text(json, &len);
    assert_string_equal(text, json_object_to_json_string_ext(json, FLAGS));
    assert_int_equal(len, strlen(text));
    free(text);
    json_object_put(json);
}

static void test_values(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "true",
        "false",
        "-9223372036854775808",
        "[null,1,[2,{}],[[]]]",
        "{\"a\":null,\"b\":[true,false],\"c\":{\"d\":9223372036854775807}}",
        "{\"\":\"\",\"a\\\"b\\\\\":\"\\/\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_written(json_tokener_parse(texts[i]));
    assert_written(text_json_number(99.95));
    assert_written(text_json_number(-0.00001));
    assert_written(text_json_number(100));
}

/* Each byte by itself, and between others. */
static void test_strings(void **state)
{
    char text[3] = "x";
    (void)state;
    for (int c = 0; c < 256; c++) {
        text[1] = (char)c;
        text[2] = 'y';
        assert_written(json_object_new_string_len(text, 3));
        assert_written(json_object_new_string_len(text + 1, 1));
    }
    assert_written(json_object_new_string("\xE2\x82\xAC \xF0\x9F\x98\x80 \n\n \x7F"));
}

static void test_nothing(void **state)
{
    size_t len;
    (void)state;
    assert_null(json_text(NULL, &len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
