/* SPDX-License-Identifier: MIT
 * migrations: which statements a list takes, and the counts of jobs that come with it. */
#include "fake_db.h"
#include "fake_time.h"

#include "store/job_counters.h"
#include "store/job_status.h"
#include "store/list_version.h"
#include "store/store.h"
#include "store/store_private.h"

#define OWN  "id name status"
#define FULL OWN " job_id job_migration_id job_status job_created_at lock_is_held"

static struct store store;
static struct error error;
static struct migrations migrations;
static const int64_t one = 1;

static int begin(void **state)
{
    store.counters = job_counters_new(3600000);
    fake_db_elapse = fake_time_pass;
    return fake_db_begin(state);
}

static int end(void **state)
{
    store_migrations_free(&migrations);
    error_free(&error);
    job_counters_free(store.counters);
    return fake_db_end(state);
}

#define migrations_test(test) cmocka_unit_test_setup_teardown(test, begin, end)

static int64_t in_time(void)
{
    return clock_ms() + 10000;
}

/* Gives up what was read before. */
static bool read_list(const int64_t *id)
{
    store_migrations_free(&migrations);
    return store_migrations(&store, id, in_time(), &migrations, &error);
}

/* ---- what the database answers ---- */

/* All jobs are counted: migration 1 has `jobs` finished ones, the newest of which is 9. */
static void expect_count(int64_t jobs)
{
    PGresult *result = fake_result("migration_id job_id status jobs failed newest");
    if (jobs > 0)
        FAKE_ROW(result, INTEGER(1), NOTHING, NOTHING, INTEGER(jobs), NOTHING, INTEGER(9));
    fake_reads(&SQL_COUNTS, result);
    fake_reads(&SQL_RECENT, fake_result("migration_id created_at"));
}

/* The migrations 1 and 2, and the job at the mark where it is there. */
static PGresult *full_rows(bool with_mark, int lock_is_held)
{
    PGresult *result = fake_result(FULL);
    for (int id = 1; id <= 2; id++)
        FAKE_ROW(result, INTEGER(id), TEXT("name"), SMALL(MIGRATION_ACTIVE), NOTHING, NOTHING,
                 NOTHING, NOTHING, BOOLEAN(lock_is_held));
    if (with_mark)
        FAKE_ROW(result, NOTHING, NOTHING, NOTHING, INTEGER(9), INTEGER(1), SMALL(JOB_FINISHED),
                 MOMENT(5000000), BOOLEAN(lock_is_held));
    return result;
}

static void add_job(PGresult *result, int64_t id, int64_t status)
{
    FAKE_ROW(result, NOTHING, NOTHING, NOTHING, INTEGER(id), INTEGER(1), SMALL(status),
             MOMENT(id * 1000000), BOOLEAN(0));
}

static PGresult *cheap_rows(int jobs_unchanged, int lock_is_held)
{
    PGresult *result = fake_result(OWN " jobs_unchanged lock_is_held");
    for (int id = 1; id <= 2; id++)
        FAKE_ROW(result, INTEGER(id), TEXT("name"), SMALL(MIGRATION_ACTIVE),
                 BOOLEAN(jobs_unchanged), BOOLEAN(lock_is_held));
    return result;
}

static void expect_in_flight(int64_t migration_id)
{
    PGresult *result = fake_result("in_run migration_id since");
    FAKE_ROW(result, BOOLEAN(1), INTEGER(migration_id), MOMENT(7));
    fake_reads(&SQL_IN_FLIGHT, result);
}

/* The first list of a process, which counts. */
static void read_first(void)
{
    expect_count(7);
    fake_reads(&SQL_MIGRATIONS, full_rows(true, 0));
    assert_true(read_list(NULL));
}

static void assert_counts(int64_t finished, int64_t failed)
{
    assert_int_equal(migrations.count, 2);
    assert_int_equal(migrations.rows[0].id, 1);
    assert_int_equal(migrations.rows[0].finished_jobs, finished);
    assert_int_equal(migrations.rows[0].failed_jobs, failed);
    assert_int_equal(migrations.rows[1].finished_jobs, 0);
}

/* ---- a list ---- */

/* The first list counts all jobs; the next one only asks whether one has changed. */
static void test_the_first_list_and_the_next(void **state)
{
    (void)state;
    read_first();
    assert_counts(7, 0);
    assert_int_equal(migrations.rows[1].name.len, 4);
    assert_false(migrations.job_in_flight);
    const struct fake_answer *cheap = fake_reads(&SQL_UNCHANGED_FINISHED, cheap_rows(1, 0));
    assert_true(read_list(NULL));
    assert_counts(7, 0);
    assert_string_equal(fake_param(cheap, SQL_UNCHANGED_FINISHED_MARK), "9");
    assert_string_equal(fake_param(cheap, SQL_UNCHANGED_FINISHED_NEWEST), "{1970-01-01T00:00:05Z}");
    assert_null(fake_param(cheap, SQL_UNCHANGED_FINISHED_ID));
}

static void test_jobs_that_have_changed(void **state)
{
    PGresult *result = full_rows(true, 0);
    (void)state;
    read_first();
    fake_reads(&SQL_UNCHANGED_FINISHED, cheap_rows(0, 0));
    add_job(result, 10, JOB_FINISHED);
    add_job(result, 11, JOB_FAILED);
    const struct fake_answer *full = fake_reads(&SQL_MIGRATIONS, result);
    assert_true(read_list(NULL));
    assert_counts(8, 1);
    assert_string_equal(fake_param(full, SQL_MIGRATIONS_MARK), "9");
    assert_string_equal(fake_param(full, SQL_MIGRATIONS_UNFINISHED), "{}");
    /* A job that has failed is looked at from then on. */
    const struct fake_answer *cheap = fake_reads(&SQL_UNCHANGED, cheap_rows(1, 0));
    assert_true(read_list(NULL));
    assert_counts(8, 1);
    assert_string_equal(fake_param(cheap, SQL_UNCHANGED_MARK), "11");
    assert_string_equal(fake_param(cheap, SQL_UNCHANGED_UNFINISHED), "{11}");
    assert_string_equal(fake_param(cheap, SQL_UNCHANGED_FAILED), "1");
}

static void test_no_job_at_all(void **state)
{
    (void)state;
    expect_count(0);
    const struct fake_answer *cheap = fake_reads(&SQL_UNCHANGED_FINISHED, cheap_rows(1, 0));
    assert_true(read_list(NULL));
    assert_counts(0, 0);
    assert_string_equal(fake_param(cheap, SQL_UNCHANGED_FINISHED_NEWEST), "{}");
}

/* An active job is no worker's. The cheap statement knows failed ones only. */
static void test_an_active_job(void **state)
{
    PGresult *result = full_rows(true, 0);
    PGresult *counts = fake_result("migration_id job_id status jobs failed newest");
    (void)state;
    FAKE_ROW(counts, INTEGER(1), NOTHING, NOTHING, INTEGER(7), NOTHING, INTEGER(9));
    FAKE_ROW(counts, INTEGER(1), INTEGER(5), SMALL(JOB_ACTIVE), INTEGER(1), INTEGER(0), NOTHING);
    fake_reads(&SQL_COUNTS, counts);
    fake_reads(&SQL_RECENT, fake_result("migration_id created_at"));
    add_job(result, 5, JOB_ACTIVE);
    for (int i = 0; i < 2; i++) {
        PGresult *copy = PQcopyResult(result, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
        const struct fake_answer *full = fake_reads(&SQL_MIGRATIONS, copy);
        assert_true(read_list(NULL));
        assert_counts(6, 0);
        assert_string_equal(fake_param(full, SQL_MIGRATIONS_UNFINISHED), "{5}");
    }
    PQclear(result);
}

static void test_one_migration(void **state)
{
    PGresult *result = fake_result(OWN " jobs_unchanged lock_is_held");
    (void)state;
    read_first();
    FAKE_ROW(result, INTEGER(1), TEXT("name"), SMALL(1), BOOLEAN(1), BOOLEAN(0));
    const struct fake_answer *cheap = fake_reads(&SQL_UNCHANGED_FINISHED, result);
    assert_true(read_list(&one));
    assert_int_equal(migrations.count, 1);
    assert_int_equal(migrations.rows[0].finished_jobs, 7);
    assert_string_equal(fake_param(cheap, SQL_UNCHANGED_FINISHED_ID), "1");
    /* One that does not exist is no error here. */
    fake_reads(&SQL_UNCHANGED_FINISHED, fake_result(OWN " jobs_unchanged lock_is_held"));
    expect_in_flight(3);
    assert_true(read_list(&one));
    assert_int_equal(migrations.count, 0);
}

static void test_a_worker_in_a_run(void **state)
{
    (void)state;
    read_first();
    fake_reads(&SQL_UNCHANGED_FINISHED, cheap_rows(1, 1));
    expect_in_flight(2);
    assert_true(read_list(NULL));
    assert_true(migrations.job_in_flight);
    assert_false(migrations.rows[0].in_flight_since.given);
    assert_int_equal(migrations.rows[1].in_flight_since.value, 7);
}

/* ---- when counts cannot be had ---- */

/* What no worker does makes all jobs be counted again; a second time, that count serves. */
static void test_jobs_that_nobody_can_follow(void **state)
{
    (void)state;
    read_first();
    fake_reads(&SQL_UNCHANGED_FINISHED, cheap_rows(0, 0));
    fake_reads(&SQL_MIGRATIONS, full_rows(false, 0));
    expect_count(20);
    fake_reads(&SQL_MIGRATIONS, full_rows(true, 0));
    assert_true(read_list(NULL));
    assert_counts(20, 0);
    fake_reads(&SQL_UNCHANGED_FINISHED, cheap_rows(0, 0));
    for (int i = 0; i < 2; i++) {
        fake_reads(&SQL_MIGRATIONS, full_rows(false, 0));
        expect_count(30);
    }
    fake_reads(&SQL_MIGRATIONS, full_rows(false, 0));
    assert_true(read_list(NULL));
    assert_counts(30, 0);
}

static void test_no_time(void **state)
{
    (void)state;
    assert_false(store_migrations(&store, NULL, clock_ms() - 1, &migrations, &error));
    assert_int_equal(error.status, 503);
    assert_int_equal(migrations.count, 0);
    error_free(&error);
    read_first();
    store_migrations_free(&migrations);
    assert_false(store_migrations(&store, NULL, clock_ms() - 1, &migrations, &error));
    assert_int_equal(error.status, 503);
}

/* At each statement of a list. */
static void test_a_failure_at_each_statement(void **state)
{
    static const struct sql *const all[] = {&SQL_COUNTS, &SQL_RECENT, &SQL_MIGRATIONS,
                                            &SQL_IN_FLIGHT};
    for (size_t at = 0; at < COUNT(all); at++) {
        expect_count(7);
        fake_reads(&SQL_MIGRATIONS, full_rows(true, 1));
        for (size_t i = at; i < 3; i++)
            PQclear(fake_answers[--fake_count].result);
        fake_fails(all[at], false);
        assert_false(read_list(NULL));
        assert_int_equal(error.status, 503);
        assert_int_equal(migrations.count, 0);
        assert_null(migrations.result);
        end(state);
        begin(state);
    }
    read_first();
    fake_fails(&SQL_UNCHANGED_FINISHED, false);
    assert_false(read_list(NULL));
    assert_int_equal(error.status, 503);
}

/* ---- a list of which a version is known ---- */

#define MANY LIST_VERSION_MIN

/* Many migrations, the first of which has this version; without rows the one row that says so. */
static PGresult *list_rows_of(bool rows, int64_t first_version, int jobs_unchanged,
                              int rows_unchanged, int lock_is_held)
{
    PGresult *result = fake_result(OWN " row_version jobs_unchanged rows_unchanged lock_is_held");
    for (int i = 0; rows && i < MANY; i++)
        FAKE_ROW(result, INTEGER(i + 1), TEXT("name"), SMALL(1),
                 INTEGER(i == 0 ? first_version : 500), BOOLEAN(jobs_unchanged),
                 BOOLEAN(rows_unchanged), BOOLEAN(lock_is_held));
    if (!rows)
        FAKE_ROW(result, NOTHING, NOTHING, NOTHING, NOTHING, BOOLEAN(jobs_unchanged),
                 BOOLEAN(rows_unchanged), BOOLEAN(0));
    return result;
}

static PGresult *list_rows(bool rows, int64_t first_version, int jobs_unchanged, int rows_unchanged)
{
    return list_rows_of(rows, first_version, jobs_unchanged, rows_unchanged, 0);
}

/* Reads the list where this version is known, and returns the new one, which the caller frees. */
static struct list_version *read_version(const struct list_version *known, bool expect_unchanged)
{
    bool unchanged = !expect_unchanged;
    store_migrations_free(&migrations);
    assert_true(store_list(&store, known, in_time(), &migrations, &unchanged, &error));
    assert_int_equal(unchanged, expect_unchanged);
    struct list_version *version = migrations.version;
    migrations.version = NULL;
    return version;
}

static void test_a_long_list(void **state)
{
    PGresult *cheap = fake_result(OWN " jobs_unchanged lock_is_held");
    (void)state;
    for (int i = 0; i < MANY; i++)
        FAKE_ROW(cheap, INTEGER(i + 1), TEXT("name"), SMALL(1), BOOLEAN(1), BOOLEAN(0));
    expect_count(0);
    fake_reads(&SQL_UNCHANGED_FINISHED, cheap);
    struct list_version *first = read_version(NULL, false);
    assert_non_null(first);
    assert_int_equal(migrations.count, MANY);
    /* Of the first list no versions of rows are known: all rows come. */
    const struct fake_answer *second =
        fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows(true, 499, 1, 0));
    struct list_version *version = read_version(first, false);
    assert_non_null(version);
    assert_int_equal(migrations.count, MANY);
    assert_string_equal(fake_param(second, SQL_UNCHANGED_LIST_FINISHED_VERSIONS), "{}");
    /* Nothing has changed: no row comes. */
    const struct fake_answer *third =
        fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows(false, 0, 1, 1));
    assert_null(read_version(version, true));
    assert_int_equal(migrations.count, 0);
    assert_memory_equal(fake_param(third, SQL_UNCHANGED_LIST_FINISHED_VERSIONS), "{499,500,", 9);
    list_version_free(first);
    list_version_free(version);
}

/* A row has changed, or the table has another column since, which the rows' versions do not show.
 */
static void test_a_long_list_that_has_changed(void **state)
{
    static const char other_columns[] =
        "id name another status row_version jobs_unchanged rows_unchanged lock_is_held";
    PGresult *nothing = fake_result(other_columns);
    PGresult *rows = fake_result(other_columns);
    struct list_version *known = list_version_new();
    (void)state;
    expect_count(0);
    fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows(true, 499, 1, 0));
    struct list_version *version = read_version(known, false);
    fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows(true, 777, 1, 0));
    list_version_free(known);
    known = read_version(version, false);
    assert_memory_equal(known->rows, "{777,500,", 9);
    FAKE_ROW(nothing, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, BOOLEAN(1), BOOLEAN(1),
             BOOLEAN(0));
    for (int i = 0; i < MANY; i++)
        FAKE_ROW(rows, INTEGER(i + 1), TEXT("name"), NOTHING, SMALL(1), INTEGER(777), BOOLEAN(1),
                 BOOLEAN(0), BOOLEAN(0));
    fake_reads(&SQL_UNCHANGED_LIST_FINISHED, nothing);
    const struct fake_answer *again = fake_reads(&SQL_UNCHANGED_LIST_FINISHED, rows);
    list_version_free(version);
    version = read_version(known, false);
    assert_int_equal(migrations.count, MANY);
    assert_int_equal(migrations.columns, 4);
    assert_string_equal(fake_param(again, SQL_UNCHANGED_LIST_FINISHED_VERSIONS), "{}");
    list_version_free(known);
    list_version_free(version);
}

/* The rows are the same, and jobs are not, or a worker is in a run, or all jobs have been counted
 * again: the list is read. */
static void test_a_long_list_of_the_same_rows(void **state)
{
    struct list_version *known = list_version_new();
    PGresult *all = fake_result(FULL);
    (void)state;
    expect_count(0);
    fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows(true, 499, 1, 0));
    struct list_version *version = read_version(known, false);
    list_version_free(known);

    fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows_of(true, 499, 1, 1, 1));
    expect_in_flight(2);
    known = read_version(version, false);
    assert_int_equal(migrations.count, MANY);
    assert_true(migrations.job_in_flight);
    assert_null(known->rows); /* while a worker is in a run, each list looks at what it does */
    list_version_free(known);

    for (int i = 0; i < MANY; i++)
        FAKE_ROW(all, INTEGER(i + 1), TEXT("name"), SMALL(1), NOTHING, NOTHING, NOTHING, NOTHING,
                 BOOLEAN(0));
    add_job(all, 10, JOB_FINISHED);
    fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows(true, 499, 0, 1));
    fake_reads(&SQL_MIGRATIONS, all);
    known = read_version(version, false);
    assert_int_equal(migrations.rows[0].finished_jobs, 1);
    list_version_free(known);

    fake_time_pass(3600001);
    expect_count(0);
    const struct fake_answer *last =
        fake_reads(&SQL_UNCHANGED_LIST_FINISHED, list_rows(true, 499, 1, 0));
    known = read_version(version, false);
    assert_string_equal(fake_param(last, SQL_UNCHANGED_LIST_FINISHED_VERSIONS), "{}");
    list_version_free(known);
    list_version_free(version);
}

/* A short list costs less than to compare it: it has no version. */
static void test_a_short_list_has_no_version(void **state)
{
    (void)state;
    expect_count(0);
    fake_reads(&SQL_UNCHANGED_FINISHED, cheap_rows(1, 0));
    assert_null(read_version(NULL, false));
    assert_counts(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        migrations_test(test_the_first_list_and_the_next),
        migrations_test(test_jobs_that_have_changed),
        migrations_test(test_no_job_at_all),
        migrations_test(test_an_active_job),
        migrations_test(test_one_migration),
        migrations_test(test_a_worker_in_a_run),
        migrations_test(test_jobs_that_nobody_can_follow),
        migrations_test(test_no_time),
        migrations_test(test_a_failure_at_each_statement),
        migrations_test(test_a_long_list),
        migrations_test(test_a_long_list_that_has_changed),
        migrations_test(test_a_long_list_of_the_same_rows),
        migrations_test(test_a_short_list_has_no_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
