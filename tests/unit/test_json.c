/* SPDX-License-Identifier: MIT
 * JSON, whole or not at all. What happens where memory runs out, tests/http/test_injection.py
 * shows. */
#include "base/json.h"
#include "unit.h"

#include <stdbool.h>

static void test_whole(void **state)
{
    size_t len;
    struct json_object *list = json_object_new_array();
    struct json_object *object = json_object_new_object();
    (void)state;
    json_append(&list, json_object_new_int64(INT64_MIN));
    json_append(&list, json_object_new_boolean(true));
    json_add(&object, "path", json_object_new_string("/a\"b\n\xE2\x82\xAC"));
    json_add(&object, "list", list);
    const char *text = json_text(object, &len);
    assert_string_equal(
        text, "{\"path\":\"/a\\\"b\\n\xE2\x82\xAC\",\"list\":[-9223372036854775808,true]}");
    assert_int_equal(len, strlen(text));
    json_object_put(object);
}

/* A part that could not be made is missed by the whole. */
static void test_not_at_all(void **state)
{
    size_t len;
    struct json_object *list = json_object_new_array();
    struct json_object *object = json_object_new_object();
    (void)state;
    json_append(&list, NULL);
    assert_null(list);
    json_append(&list, json_object_new_int64(1));
    assert_null(list);
    json_add(&object, "list", list);
    assert_null(object);
    json_add(&object, "more", json_object_new_int64(1));
    assert_null(object);
    assert_null(json_text(object, &len));
}

/* A flat part reads as the part does. */
static void test_flat(void **state)
{
    size_t len;
    struct json_object *object = json_object_new_object();
    struct json_object *list = json_object_new_array();
    (void)state;
    json_add(&object, "path", json_object_new_string("/a\"b\n\xE2\x82\xAC"));
    json_append(&list, json_flat(object));
    json_append(&list, json_flat(json_object_new_int64(7)));
    assert_string_equal(json_text(list, &len), "[{\"path\":\"/a\\\"b\\n\xE2\x82\xAC\"},7]");
    json_object_put(list);
    assert_null(json_flat(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_not_at_all),
        cmocka_unit_test(test_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
