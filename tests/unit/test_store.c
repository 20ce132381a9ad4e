/* SPDX-License-Identifier: MIT
 * store: the contract's words for the numbers in the tables. */
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

static void test_job_status_names(void **state)
{
    static const int64_t others[] = {0, -1, 4, 99, INT64_MAX, INT64_MIN};
    (void)state;
    assert_string_equal(store_job_status_name(JOB_ACTIVE), "active");
    assert_string_equal(store_job_status_name(JOB_FINISHED), "finished");
    assert_string_equal(store_job_status_name(JOB_FAILED), "failed");
    for (size_t i = 0; i < COUNT(others); i++)
        assert_string_equal(store_job_status_name(others[i]), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_job_status_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
