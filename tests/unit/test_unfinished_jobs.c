/* SPDX-License-Identifier: MIT
 * unfinished_jobs: a set that is found by id. */
#include "unit.h"

#include "store/unfinished_jobs.h"

static void test_an_empty_set(void **state)
{
    struct unfinished_jobs jobs = {0};
    (void)state;
    unfinished_jobs_sort(&jobs);
    assert_null(unfinished_jobs_find(&jobs, 0));
    unfinished_jobs_free(&jobs);
}

/* Ids far apart, whose difference no 64 bits hold; and more jobs than the first room takes. */
static void test_any_order(void **state)
{
    static const int64_t extremes[] = {INT64_MAX, INT64_MIN, 0, -1, INT64_MAX - 1, INT64_MIN + 1};
    struct unfinished_jobs jobs = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(extremes); i++) {
        const struct unfinished_job job = {extremes[i], (int64_t)i, 3};
        assert_true(unfinished_jobs_add(&jobs, &job));
    }
    for (int64_t i = 1000; i > 0; i--) {
        const struct unfinished_job job = {i * 2, -i, i % 2 ? 1 : 3};
        assert_true(unfinished_jobs_add(&jobs, &job));
    }
    unfinished_jobs_sort(&jobs);
    assert_int_equal(jobs.count, 1000 + COUNT(extremes));
    for (size_t i = 1; i < jobs.count; i++)
        assert_true(jobs.rows[i - 1].id < jobs.rows[i].id);
    for (size_t i = 0; i < COUNT(extremes); i++) {
        const struct unfinished_job *job = unfinished_jobs_find(&jobs, extremes[i]);
        assert_non_null(job);
        assert_int_equal(job->migration_id, i);
    }
    for (int64_t i = 1; i <= 1000; i++) {
        const struct unfinished_job *job = unfinished_jobs_find(&jobs, i * 2);
        assert_non_null(job);
        assert_int_equal(job->migration_id, -i);
        assert_int_equal(job->status, i % 2 ? 1 : 3);
        assert_null(unfinished_jobs_find(&jobs, i * 2 - 1));
    }
    unfinished_jobs_free(&jobs);
    assert_int_equal(jobs.count, 0);
    assert_null(unfinished_jobs_find(&jobs, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_set),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
