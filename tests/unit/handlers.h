/* SPDX-License-Identifier: MIT
 *
 * handlers: a call as a handler gets it, for the tests of api/. The store's functions are the
 * test's own (the Makefile links what starts with __wrap_ in the other's place).
 */
#ifndef BBM_UNIT_HANDLERS_H
#define BBM_UNIT_HANDLERS_H

#include "unit.h"

#include "http/handler.h"

#define TEXT(s)      ((struct str_view){(s), sizeof(s) - 1})
#define GIVEN(value) ((struct opt_int64){true, (value)})

#define DEADLINE INT64_C(123456)

/* Never looked into: the store's functions are the test's. */
#define STORE ((struct store *)(uintptr_t)&handlers_store)
static char handlers_store;

static struct call call;

/* cmocka's setup and teardown of each test. */
static inline int handlers_setup(void **state)
{
    (void)state;
    call = (struct call){.store = STORE, .path = "/v1/gitlab/path/", .deadline = DEADLINE};
    call.params.n = 100;
    return 0;
}

/* What a handler has left. */
static inline void handlers_clear(void)
{
    json_object_put(call.body);
    json_object_put(call.changed);
    cached_body_drop(call.cached_body);
    error_free(&call.error);
    free(call.text);
    call.body = call.changed = NULL;
    call.cached_body = NULL;
    call.text = NULL;
    call.link[0] = '\0';
}

static inline int handlers_teardown(void **state)
{
    (void)state;
    handlers_clear();
    return 0;
}

#define HANDLER_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, handlers_setup, handlers_teardown)

static inline void assert_json(struct json_object *json, const char *expected)
{
    assert_non_null(json);
    assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN), expected);
}

static inline void assert_body(const char *expected)
{
    assert_json(call.body, expected);
}

#endif
