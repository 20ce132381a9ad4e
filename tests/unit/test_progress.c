/* SPDX-License-Identifier: MIT
 * Progress, to its edges. */
#include "unit.h"

#include "api/progress.h"

static struct migration migration(int64_t status, int64_t finished, int64_t batch, int64_t total)
{
    return (struct migration){
        .status = status,
        .finished_jobs = finished,
        .batch_size = batch,
        .total_tuple_count = {true, total},
    };
}

static void assert_percent(int64_t finished, int64_t batch, int64_t total, double percent)
{
    struct migration m = migration(MIGRATION_RUNNING, finished, batch, total);
    struct progress progress = progress_of(&m);
    assert_true(progress.known);
    assert_false(progress.capped);
    assert_true(progress.percent == percent);
}

static void assert_capped(int64_t finished, int64_t batch, int64_t total)
{
    struct migration m = migration(MIGRATION_RUNNING, finished, batch, total);
    struct progress progress = progress_of(&m);
    assert_true(progress.known);
    assert_true(progress.capped);
    assert_true(progress.percent == 99.9);
}

static void test_between(void **state)
{
    (void)state;
    assert_percent(0, 1000, 5000, 0);
    assert_percent(1, 1000, 4000, 25);
    assert_percent(1, 1, 3, 1.0 / 3.0 * 100);
    assert_percent(7, 100, 1000, 0.7 * 100);
    assert_percent(999, 1, 1000, 0.999 * 100);
    /* Above the cap without having reached 100: shown as it is. */
    assert_percent(9999, 1, 10000, 0.9999 * 100);
    assert_percent(1, 1, INT64_MAX, 1.0 / 9223372036854775807.0 * 100);
}

static void test_capped(void **state)
{
    (void)state;
    assert_capped(5, 1000, 5000);
    assert_capped(6, 1000, 5000);
    assert_capped(1, 1, 1);
    assert_capped(1, INT32_MAX, 1);
}

static void test_products_beyond_64_bits(void **state)
{
    (void)state;
    assert_capped(INT64_MAX, INT32_MAX, INT64_MAX);
    /* As 64-bit products these would come out as 0 and as -2. */
    assert_capped(INT64_C(1) << 62, 4, 1000);
    assert_capped(INT64_MAX, 2, INT64_MAX);
    assert_percent(INT64_C(1) << 31, INT64_C(1) << 30, INT64_C(1) << 62, 50);
}

static void test_rounding_to_100_is_capped(void **state)
{
    (void)state;
    /* One short of the total, which as a double equals the total. */
    assert_capped(INT64_MAX - 1, 1, INT64_MAX);
    assert_capped(INT64_C(1) << 53, 1, (INT64_C(1) << 53) + 1);
    /* Different as doubles. */
    struct migration m = migration(MIGRATION_ACTIVE, (INT64_C(1) << 53) - 1, 1, INT64_C(1) << 53);
    assert_true(progress_of(&m).percent < 100);
}

static void test_unknown(void **state)
{
    struct migration m = migration(MIGRATION_ACTIVE, 5, 10, 0);
    (void)state;
    assert_false(progress_of(&m).known);
    m.total_tuple_count.value = -1;
    assert_false(progress_of(&m).known);
    m.total_tuple_count.value = INT64_MIN;
    assert_false(progress_of(&m).known);
    m.total_tuple_count = (struct opt_int64){false, 1000};
    assert_false(progress_of(&m).known);
    assert_false(progress_of(&m).capped);
}

static void test_finished_is_100(void **state)
{
    static const int64_t totals[] = {INT64_MIN, -1, 0, 1, 1000000, INT64_MAX};
    (void)state;
    for (size_t i = 0; i < COUNT(totals); i++) {
        struct migration m = migration(MIGRATION_FINISHED, 3, 10, totals[i]);
        struct progress progress = progress_of(&m);
        assert_true(progress.known);
        assert_false(progress.capped);
        assert_true(progress.percent == 100);
        m.total_tuple_count.given = false;
        progress = progress_of(&m);
        assert_true(progress.known && !progress.capped && progress.percent == 100);
    }
}

static void test_only_finished_is_100(void **state)
{
    static const int64_t statuses[] = {
        MIGRATION_PAUSED, MIGRATION_ACTIVE, MIGRATION_FAILED, MIGRATION_RUNNING, 5, -1};
    (void)state;
    for (size_t i = 0; i < COUNT(statuses); i++) {
        struct migration m = migration(statuses[i], 10, 10, 100);
        assert_true(progress_of(&m).capped);
        assert_true(progress_of(&m).percent == 99.9);
    }
}

/* Nothing in the schema keeps a batch size from being negative. */
static void test_never_below_0(void **state)
{
    (void)state;
    assert_percent(5, -10, 100, 0);
    assert_percent(-5, 10, 100, 0);
    assert_percent(INT64_MAX, INT32_MIN, 100, 0);
    assert_percent(5, 0, 100, 0);
}

/* ---- the remaining time ---- */

/* An active migration whose jobs follow each other at this pace. */
static struct migration paced(int64_t finished, int64_t batch, int64_t total, int64_t micros)
{
    struct migration m = migration(MIGRATION_ACTIVE, finished, batch, total);
    m.pace = (struct opt_int64){true, micros};
    return m;
}

static void assert_remaining(struct migration m, int64_t seconds)
{
    struct opt_int64 remaining = progress_seconds_remaining(&m);
    assert_true(remaining.given);
    assert_int_equal(remaining.value, seconds);
}

static void assert_remaining_unknown(struct migration m)
{
    assert_false(progress_seconds_remaining(&m).given);
}

static void test_remaining(void **state)
{
    (void)state;
    assert_remaining(paced(0, 1000, 5000, 60000000), 300);
    assert_remaining(paced(4, 1000, 5000, 60000000), 60);
    /* A batch that is begun takes as long as a whole one, and a second as well. */
    assert_remaining(paced(4, 1000, 5001, 60000000), 120);
    assert_remaining(paced(4, 1000, 4001, 60000000), 60);
    assert_remaining(paced(0, 1, 3, 500000), 2);
    assert_remaining(paced(0, 1, 1, 1), 1);
    struct migration m = paced(1, 10, 20, 2000000);
    m.status = MIGRATION_RUNNING;
    assert_remaining(m, 2);
}

static void test_remaining_unknown(void **state)
{
    static const int64_t resting[] = {MIGRATION_PAUSED, MIGRATION_FINISHED, MIGRATION_FAILED, 5};
    struct migration m = paced(1, 10, 100, 1000000);
    (void)state;
    for (size_t i = 0; i < COUNT(resting); i++) {
        m.status = resting[i];
        assert_remaining_unknown(m);
    }
    m = paced(1, 10, 100, 1000000);
    m.pace.given = false;
    assert_remaining_unknown(m);
    m = paced(1, 10, 100, 1000000);
    m.total_tuple_count.given = false;
    assert_remaining_unknown(m);
    assert_remaining_unknown(paced(1, 10, 0, 1000000));
    assert_remaining_unknown(paced(1, 10, 100, 0));
    assert_remaining_unknown(paced(1, 10, 100, -1));
    assert_remaining_unknown(paced(1, 0, 100, 1000000));
    assert_remaining_unknown(paced(1, -10, 100, 1000000));
    /* The estimate is used up, and the migration goes on. */
    assert_remaining_unknown(paced(10, 10, 100, 1000000));
    assert_remaining_unknown(paced(11, 10, 100, 1000000));
}

/* More seconds than the bound, and than 64 bits hold. */
static void test_remaining_beyond_the_bound(void **state)
{
    (void)state;
    assert_remaining_unknown(paced(0, 1, INT64_MAX, INT64_MAX));
    assert_remaining_unknown(paced(0, 1, INT64_MAX, 1000000));
    assert_remaining(paced(0, INT32_MAX, INT64_MAX, 60000000), INT64_C(257698037880));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between),
        cmocka_unit_test(test_capped),
        cmocka_unit_test(test_products_beyond_64_bits),
        cmocka_unit_test(test_rounding_to_100_is_capped),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_finished_is_100),
        cmocka_unit_test(test_only_finished_is_100),
        cmocka_unit_test(test_never_below_0),
        cmocka_unit_test(test_remaining),
        cmocka_unit_test(test_remaining_unknown),
        cmocka_unit_test(test_remaining_beyond_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
