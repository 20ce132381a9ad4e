/* SPDX-License-Identifier: MIT
 * job_pace: medians, means, and times at the ends of 64 bits. SANITIZE=undefined finds an
 * overflow even where the result looks right. */
#include "store/job_pace.h"

#include "unit.h"

/* 4713 BC, 145000 and 294246, as PostgreSQL takes them, in microseconds since the Unix epoch. */
#define YEAR_4713_BC (-INT64_C(210866803200000000))
#define YEAR_145000  INT64_C(4513631558400000000)
#define YEAR_294246  INT64_C(9223371331200000000)

static int64_t pace_of_times(const int64_t *times, size_t count)
{
    struct job_pace pace = {0};
    for (size_t i = 0; i < count; i++)
        job_pace_add(&pace, times[i]);
    return job_pace_micros(&pace);
}

static int64_t pace_of_gaps(const int64_t *gaps, size_t count)
{
    int64_t times[64] = {1000};
    for (size_t i = 0; i < count; i++)
        times[i + 1] = times[i] + gaps[i];
    return pace_of_times(times, count + 1);
}

static void test_too_few_jobs(void **state)
{
    (void)state;
    assert_int_equal(pace_of_times(NULL, 0), 0);
    assert_int_equal(pace_of_gaps((int64_t[]){60}, 0), 0);
    assert_int_equal(pace_of_gaps((int64_t[]){60}, 1), 0);
}

static void test_median(void **state)
{
    (void)state;
    assert_int_equal(pace_of_gaps((int64_t[]){60, 70}, 2), 65);
    assert_int_equal(pace_of_gaps((int64_t[]){61, 63}, 2), 62);
    assert_int_equal(pace_of_gaps((int64_t[]){61, 62}, 2), 61);
    assert_int_equal(pace_of_gaps((int64_t[]){60, 999999, 61}, 3), 61);
}

static void test_mean_where_most_gaps_are_zero(void **state)
{
    (void)state;
    assert_int_equal(pace_of_gaps((int64_t[]){0, 0, 0, 80}, 4), 20);
    assert_int_equal(pace_of_gaps((int64_t[]){0, 0, 0}, 3), 0);
}

static void test_never_negative(void **state)
{
    (void)state;
    assert_int_equal(pace_of_gaps((int64_t[]){-60, -60, -60}, 3), 0);
}

static void test_only_the_latest_jobs_count(void **state)
{
    int64_t gaps[40];
    (void)state;
    for (size_t i = 0; i < 40; i++)
        gaps[i] = i < 20 ? 5000 : 60;
    assert_int_equal(pace_of_gaps(gaps, 40), 60);
}

static void test_times_far_apart(void **state)
{
    (void)state;
    const int64_t half = INT64_MAX / 2;
    assert_int_equal(pace_of_times((int64_t[]){YEAR_4713_BC, YEAR_145000, YEAR_294246}, 3),
                     (YEAR_294246 - YEAR_145000) / 2 + (YEAR_145000 - YEAR_4713_BC) / 2);
    assert_int_equal(pace_of_times((int64_t[]){INT64_MIN + 1, 0, INT64_MAX}, 3), INT64_MAX);
    assert_int_equal(pace_of_times((int64_t[]){INT64_MIN, INT64_MAX, INT64_MIN}, 3), 0);
    assert_int_equal(pace_of_times((int64_t[]){INT64_MAX, INT64_MIN, INT64_MAX}, 3), 0);
    assert_int_equal(pace_of_times((int64_t[]){0, 0, 0, INT64_MAX}, 4), INT64_MAX / 3);
    assert_in_range(pace_of_times((int64_t[]){-half, 0, half}, 3), half - 1, half);
}

/* The pace is computed again after each job. */
static void test_each_job_counts(void **state)
{
    struct job_pace pace = {0};
    (void)state;
    for (int64_t second = 0; second < 3; second++)
        job_pace_add(&pace, second * 1000);
    assert_int_equal(job_pace_micros(&pace), 1000);
    job_pace_add(&pace, 10000);
    job_pace_add(&pace, 20000);
    assert_int_equal(job_pace_micros(&pace), 4500); /* of 1000, 1000, 8000 and 10000 */
}

/* A gap that 64 bits cannot hold is as long as they can say. */
static void test_gap_beyond_64_bits(void **state)
{
    const int64_t times[] = {-INT64_C(9000000000000000000), INT64_C(9000000000000000000),
                             INT64_C(9000000000000000060)};
    (void)state;
    assert_int_equal(pace_of_times(times, COUNT(times)), INT64_MAX / 2 + 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_few_jobs),
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_mean_where_most_gaps_are_zero),
        cmocka_unit_test(test_never_negative),
        cmocka_unit_test(test_only_the_latest_jobs_count),
        cmocka_unit_test(test_times_far_apart),
        cmocka_unit_test(test_each_job_counts),
        cmocka_unit_test(test_gap_beyond_64_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
