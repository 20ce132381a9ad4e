/* SPDX-License-Identifier: MIT
 * The contract's words for the numbers in the table. What the store does with a database
 * is tested through real servers, in tests/http. */
#include "unit.h"

#include "store/store.h"

static void test_status_names(void **state)
{
    static const char *const names[] = {"paused", "active", "finished", "failed", "running"};
    static const int64_t others[] = {-1, 5, 99, INT32_MAX, INT64_MAX, INT64_MIN};
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        assert_string_equal(store_status_name((int64_t)i), names[i]);
    for (size_t i = 0; i < COUNT(others); i++)
        assert_string_equal(store_status_name(others[i]), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
