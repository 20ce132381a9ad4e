/* SPDX-License-Identifier: MIT
 * count_jobs: when all jobs are counted, what becomes of the rows, and what a failure costs. */
#include "fake_db.h"
#include "fake_time.h"

#include "base/log.h"
#include "store/count_jobs.h"
#include "store/job_counters.h"
#include "store/job_status.h"
#include "store/store_private.h"

#define HOUR_MS 3600000

static struct store store;
static struct error error;
static bool counted;

static int begin(void **state)
{
    store.counters = job_counters_new(HOUR_MS);
    fake_db_elapse = fake_time_pass;
    return fake_db_begin(state);
}

static int end(void **state)
{
    job_counters_free(store.counters);
    return fake_db_end(state);
}

#define counting_test(test) cmocka_unit_test_setup_teardown(test, begin, end)

static PGresult *count_rows(void)
{
    return fake_result("migration_id job_id status jobs failed newest");
}

static PGresult *recent_rows(void)
{
    return fake_result("migration_id created_at");
}

/* Counts a table in which migration 1 has `finished` finished jobs; 9 is the newest. */
static void expect_count(int64_t finished)
{
    PGresult *result = count_rows();
    FAKE_ROW(result, INTEGER(1), NOTHING, NOTHING, INTEGER(finished), NOTHING, INTEGER(9));
    fake_reads(&SQL_COUNTS, result);
    fake_reads(&SQL_RECENT, recent_rows());
}

static struct job_counts counts_of(int64_t migration_id)
{
    struct job_counts counts;
    job_counters_last(store.counters, &migration_id, &counts, 1);
    return counts;
}

static bool count(int64_t time_ms)
{
    return count_jobs(&store, clock_ms() + time_ms, &counted, &error);
}

/* So late that a count is due again, after any failure too. */
static void let_it_be_due(void)
{
    fake_time_pass(HOUR_MS + 1);
}

/* ---- a first count ---- */

static void test_rows_become_counts(void **state)
{
    PGresult *counts = count_rows();
    PGresult *recent = recent_rows();
    struct job_lookup lookup;
    (void)state;
    FAKE_ROW(counts, INTEGER(1), NOTHING, NOTHING, INTEGER(10), NOTHING, INTEGER(77));
    FAKE_ROW(counts, INTEGER(2), NOTHING, NOTHING, INTEGER(5), NOTHING, INTEGER(77));
    FAKE_ROW(counts, INTEGER(1), INTEGER(60), SMALL(JOB_FAILED), INTEGER(3), INTEGER(2), NOTHING);
    FAKE_ROW(counts, INTEGER(1), INTEGER(50), SMALL(JOB_ACTIVE), INTEGER(3), INTEGER(2), NOTHING);
    FAKE_ROW(counts, INTEGER(1), INTEGER(55), SMALL(JOB_FAILED), INTEGER(3), INTEGER(2), NOTHING);
    for (int i = 0; i < 4; i++)
        FAKE_ROW(recent, INTEGER(2), MOMENT(1000000 + i * 500));
    const struct fake_answer *counting = fake_reads(&SQL_COUNTS, counts);
    const struct fake_answer *recently = fake_reads(&SQL_RECENT, recent);
    assert_true(count(1000));
    assert_true(counted);
    assert_int_equal(counts_of(1).finished, 7);
    assert_int_equal(counts_of(1).failed, 2);
    assert_int_equal(counts_of(2).finished, 5);
    assert_int_equal(counts_of(2).failed, 0);
    assert_int_equal(counts_of(2).pace, 500);
    assert_int_equal(counts_of(3).finished, 0);
    assert_true(job_counters_look_up(store.counters, NULL, &lookup));
    assert_int_equal(lookup.mark, 77);
    assert_int_equal(lookup.unfinished_count, 3);
    assert_int_equal(lookup.unfinished[0], 50);
    assert_int_equal(lookup.unfinished[2], 60);
    job_lookup_free(&lookup);

    assert_string_equal(fake_param(counting, SQL_COUNTS_ALL), "256");
    assert_string_equal(fake_param(counting, SQL_COUNTS_KEPT), "32");
    assert_string_equal(fake_param(recently, SQL_RECENT_IDS), "{1,2}");
    assert_string_equal(fake_param(recently, SQL_RECENT_MARK), "77");
    assert_string_equal(fake_param(recently, SQL_RECENT_RECENT), "21");
}

static void test_no_job_at_all(void **state)
{
    struct job_lookup lookup;
    (void)state;
    fake_reads(&SQL_COUNTS, count_rows());
    const struct fake_answer *recently = fake_reads(&SQL_RECENT, recent_rows());
    assert_true(count(1000));
    assert_true(counted);
    assert_string_equal(fake_param(recently, SQL_RECENT_IDS), "{}");
    assert_true(job_counters_look_up(store.counters, NULL, &lookup));
    assert_true(lookup.mark == JOB_TALLY_NO_MARK);
    job_lookup_free(&lookup);
}

/* A time that is no moment says nothing about the pace, and is not taken for one. */
static void test_times_that_are_not_known(void **state)
{
    PGresult *counts = count_rows();
    PGresult *recent = recent_rows();
    (void)state;
    FAKE_ROW(counts, INTEGER(1), NOTHING, NOTHING, INTEGER(6), NOTHING, INTEGER(9));
    for (int i = 0; i < 3; i++) {
        FAKE_ROW(recent, INTEGER(1), MOMENT(1000000 + i * 500));
        FAKE_ROW(recent, INTEGER(1), i == 1 ? INTEGER(INT64_MAX) : NOTHING); /* infinity */
    }
    fake_reads(&SQL_COUNTS, counts);
    fake_reads(&SQL_RECENT, recent);
    assert_true(count(1000));
    assert_int_equal(counts_of(1).pace, 500);
}

/* With nothing to serve from, a failure is the caller's, and the next caller tries again. */
static void test_a_first_count_that_fails(void **state)
{
    (void)state;
    fake_fails(&SQL_COUNTS, false);
    counted = true;
    assert_false(count(1000));
    assert_false(counted);
    assert_int_equal(error.status, 503);
    error_free(&error);
    PGresult *result = count_rows();
    FAKE_ROW(result, INTEGER(1), NOTHING, NOTHING, INTEGER(6), NOTHING, INTEGER(9));
    fake_reads(&SQL_COUNTS, result);
    fake_fails(&SQL_RECENT, false);
    assert_false(count(1000));
    error_free(&error);
    expect_count(4);
    assert_true(count(1000));
    assert_true(counted);
    assert_int_equal(counts_of(1).finished, 4);
}

/* All of the request's time is the first count's; none is left after the deadline. */
static void test_the_time_of_a_first_count(void **state)
{
    (void)state;
    int64_t deadline = clock_ms() + 1000;
    expect_count(4);
    assert_true(count_jobs(&store, deadline, &counted, &error));
    assert_int_equal(fake_answers[0].deadline, deadline);
    assert_int_equal(fake_answers[1].deadline, deadline);
}

static void test_another_thread_counts_for_too_long(void **state)
{
    (void)state;
    assert_int_equal(job_counters_take_turn(store.counters, 0, 1), JOB_COUNTERS_NEEDED);
    assert_false(count(-1));
    assert_false(counted);
    assert_int_equal(error.status, 503);
    error_free(&error);
    job_counters_failed(store.counters, 1);
}

/* ---- later counts ---- */

static void test_no_count_before_it_is_due(void **state)
{
    (void)state;
    expect_count(4);
    assert_true(count(1000));
    counted = true;
    assert_true(count(1000)); /* nothing is sent */
    assert_false(counted);
    let_it_be_due();
    expect_count(5);
    assert_true(count(1000));
    assert_true(counted);
    assert_int_equal(counts_of(1).finished, 5);
}

/* A quarter of the request's time is left to serve the counts that there are. */
static void test_the_time_of_a_count_that_is_due(void **state)
{
    (void)state;
    expect_count(4);
    assert_true(count(1000));
    let_it_be_due();
    expect_count(5);
    int64_t before = clock_ms();
    assert_true(count_jobs(&store, before + 10000, &counted, &error));
    assert_in_range(fake_answers[2].deadline, before, before + 7500 + (clock_ms() - before));
    assert_int_equal(fake_answers[2].deadline, fake_answers[3].deadline);
}

static char *logged_by_count(bool *good)
{
    unit_stderr_begin();
    *good = count(1000);
    return unit_stderr_end();
}

/* The counts stay, the request is served, and the log says it once, and once that it is over. */
static void test_a_count_that_is_due_and_fails(void **state)
{
    bool good;
    (void)state;
    expect_count(4);
    assert_true(count(1000));
    for (int i = 0; i < 3; i++) {
        let_it_be_due();
        if (i == 1) {
            PGresult *result = count_rows();
            FAKE_ROW(result, INTEGER(1), NOTHING, NOTHING, INTEGER(66), NOTHING, INTEGER(9));
            fake_reads(&SQL_COUNTS, result);
        }
        fake_fails(i == 1 ? &SQL_RECENT : &SQL_COUNTS, false);
        char *log = logged_by_count(&good);
        assert_true(good);
        assert_false(counted);
        assert_int_equal(error.status, 0);
        assert_int_equal(strstr(log, "no database in this test") != NULL, i == 0);
        assert_int_equal(*log != '\0', i == 0);
        assert_int_equal(counts_of(1).finished, 4);
        free(log);
    }
    let_it_be_due();
    expect_count(5);
    char *log = logged_by_count(&good);
    assert_true(good);
    assert_true(counted);
    assert_non_null(strstr(log, "counted again"));
    free(log);
}

/* Rows that no statement of ours gives: without ids, without numbers, without columns. */
static void test_hostile_answers(void **state)
{
    PGresult *counts = count_rows();
    PGresult *recent = fake_result("something else");
    (void)state;
    FAKE_ROW(counts, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING);
    FAKE_ROW(counts, TEXT("?"), TEXT("a job"), TEXT(""), TEXT("far too many jobs"), NOTHING,
             NOTHING);
    FAKE_ROW(recent, TEXT("\xFF\xFF"), NOTHING);
    fake_reads(&SQL_COUNTS, counts);
    fake_reads(&SQL_RECENT, recent);
    assert_true(count(1000));
    assert_true(counted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        counting_test(test_rows_become_counts),
        counting_test(test_no_job_at_all),
        counting_test(test_times_that_are_not_known),
        counting_test(test_a_first_count_that_fails),
        counting_test(test_the_time_of_a_first_count),
        counting_test(test_another_thread_counts_for_too_long),
        counting_test(test_no_count_before_it_is_due),
        counting_test(test_the_time_of_a_count_that_is_due),
        counting_test(test_a_count_that_is_due_and_fails),
        counting_test(test_hostile_answers),
    };
    log_setup(LOG_INFO, LOG_TEXT);
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
