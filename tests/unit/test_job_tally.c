/* SPDX-License-Identifier: MIT
 * job_tally: a full count, what a statement has to read after it, and what each row changes.
 * test_job_counters.c has long runs against a table. */
#include "unit.h"

#include "store/job_status.h"
#include "store/job_tally.h"

/* A job that is created at its id's second. */
static struct job_row job(int64_t id, int64_t migration_id, int64_t status)
{
    return (struct job_row){id, migration_id, status, id * 1000000};
}

/* Adds the unfinished job of a migration with these numbers of unfinished and failed jobs. */
static void add_unfinished(struct job_tally *tally, struct unfinished_job unfinished, int64_t count,
                           int64_t failed)
{
    assert_true(job_tally_add_unfinished(tally, &unfinished, count, failed));
}

/* Migration 1: ten jobs, of which 3 has failed and 5 is active. Migration 2: four jobs, of which 7
 * and 8 have failed. The newest job is 20, a finished one. */
static struct job_tally usual(void)
{
    struct job_tally tally;
    job_tally_init(&tally);
    add_unfinished(&tally, (struct unfinished_job){8, 2, JOB_FAILED}, 2, 2);
    add_unfinished(&tally, (struct unfinished_job){5, 1, JOB_ACTIVE}, 2, 1);
    assert_true(job_tally_add_jobs(&tally, 2, 4, 20));
    assert_true(job_tally_add_jobs(&tally, 1, 10, 20));
    add_unfinished(&tally, (struct unfinished_job){7, 2, JOB_FAILED}, 2, 2);
    add_unfinished(&tally, (struct unfinished_job){3, 1, JOB_FAILED}, 2, 1);
    job_tally_counted(&tally);
    return tally;
}

static void assert_counts(const struct job_tally *tally, int64_t migration_id, int64_t finished,
                          int64_t failed)
{
    const struct migration_tally *row = job_tally_find(tally, migration_id);
    assert_non_null(row);
    assert_int_equal(row->finished, finished);
    assert_int_equal(row->failed, failed);
}

/* The ids that a statement has to read are these, of which there are `count`. */
static void assert_reads(struct job_tally *tally, const int64_t *migration_id,
                         const int64_t *expected, size_t count)
{
    int64_t *ids = calloc(tally->unfinished.count + 1, sizeof *ids);
    assert_non_null(ids);
    assert_int_equal(job_tally_to_read(tally, migration_id, ids), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ids[i], expected[i]);
    free(ids);
}

/* ---- a full count ---- */

static void test_a_full_count(void **state)
{
    static const int64_t all[] = {3, 5, 7, 8};
    const int64_t one = 1;
    const int64_t three = 3;
    struct job_tally tally = usual();
    (void)state;
    assert_int_equal(tally.mark, 20);
    assert_counts(&tally, 1, 8, 1);
    assert_counts(&tally, 2, 2, 2);
    assert_null(job_tally_find(&tally, 0));
    assert_null(job_tally_find(&tally, 3));
    assert_reads(&tally, NULL, all, 4);
    assert_reads(&tally, &one, all, 2);
    assert_reads(&tally, &three, NULL, 0);
    job_tally_free(&tally);
    assert_true(tally.mark == JOB_TALLY_NO_MARK);
    assert_null(job_tally_find(&tally, 1));
}

static void test_an_empty_table(void **state)
{
    struct job_tally tally;
    const struct job_row first = {INT64_MIN + 1, 1, JOB_FINISHED, JOB_TALLY_NO_TIME};
    size_t above;
    (void)state;
    job_tally_init(&tally);
    job_tally_counted(&tally);
    assert_reads(&tally, NULL, NULL, 0);
    assert_true(job_tally_is_same_table(&tally, 0, NULL, 0, &above));
    assert_int_equal(above, 0);
    assert_true(job_tally_is_same_table(&tally, 0, &first, 1, &above));
    assert_int_equal(above, 1);
    assert_int_equal(job_tally_follow(&tally, &first, 1), JOB_TALLY_EXACT);
    assert_counts(&tally, 1, 1, 0);
    assert_true(tally.mark == first.id);
    job_tally_free(&tally);
}

/* Of very many unfinished jobs only the lowest failed ones of each migration are kept, and of those
 * the lowest are read; an active one is no worker's, and left to the next full count. */
static void test_very_many_unfinished_jobs(void **state)
{
    struct job_tally tally;
    int64_t expected[UNFINISHED_READ + 1];
    (void)state;
    job_tally_init(&tally);
    for (int64_t id = 100; id > 0; id--)
        add_unfinished(&tally, (struct unfinished_job){id * 2, 1, JOB_FAILED}, 1001, 1000);
    add_unfinished(&tally, (struct unfinished_job){1, 1, JOB_ACTIVE}, 1001, 1000);
    add_unfinished(&tally, (struct unfinished_job){3, 2, JOB_FAILED}, 1, 1);
    assert_true(job_tally_add_jobs(&tally, 1, 5000, 9999));
    assert_true(job_tally_add_jobs(&tally, 2, 1, 9999));
    job_tally_counted(&tally);
    assert_counts(&tally, 1, 3999, 1000);
    assert_int_equal(tally.unfinished.count, UNFINISHED_KEPT + 1);
    for (int i = 0; i < UNFINISHED_READ; i++)
        expected[i < 1 ? 0 : i + 1] = (i + 1) * 2;
    expected[1] = 3;
    assert_reads(&tally, NULL, expected, UNFINISHED_READ + 1);
    job_tally_free(&tally);
}

/* ---- the same table ---- */

/* The rows of a statement about all: the unfinished jobs, the one at the mark, one newer. */
static void set_rows(struct job_row rows[6])
{
    rows[0] = job(3, 1, JOB_FAILED);
    rows[1] = job(5, 1, JOB_ACTIVE);
    rows[2] = job(7, 2, JOB_FAILED);
    rows[3] = job(8, 2, JOB_FAILED);
    rows[4] = job(20, 1, JOB_FINISHED);
    rows[5] = job(21, 1, JOB_FINISHED);
}

static void test_the_same_table(void **state)
{
    struct job_tally tally = usual();
    struct job_row rows[6];
    size_t above = 9;
    (void)state;
    set_rows(rows);
    assert_true(job_tally_is_same_table(&tally, 5, rows, 5, &above));
    assert_int_equal(above, 0);
    assert_true(job_tally_is_same_table(&tally, 5, rows, 6, &above));
    assert_int_equal(above, 1);
    /* The time of the job at the mark is known since. */
    rows[4].created_at++;
    assert_false(job_tally_is_same_table(&tally, 5, rows, 6, &above));
    job_tally_free(&tally);
}

static void test_another_table(void **state)
{
    struct job_tally tally = usual();
    struct job_row rows[7];
    size_t above;
    (void)state;
    set_rows(rows + 1);
    rows[0] = rows[5]; /* the job at the mark, where no row is looked at */
    assert_false(job_tally_is_same_table(&tally, 5, rows + 1, 4, &above)); /* a row is missing */
    assert_false(job_tally_is_same_table(&tally, 5, rows + 2, 5, &above));
    assert_false(job_tally_is_same_table(&tally, 4, rows + 1, 5, &above)); /* or too many */
    assert_false(job_tally_is_same_table(&tally, 1, rows + 6, 1, &above));
    assert_false(job_tally_is_same_table(&tally, 1, NULL, 0, &above));
    assert_false(job_tally_is_same_table(&tally, 0, rows + 1, 0, &above)); /* none at all */
    assert_false(job_tally_is_same_table(&tally, 0, rows + 6, 1, &above));
    rows[5].id = 19; /* another one in its place */
    assert_false(job_tally_is_same_table(&tally, 5, rows + 1, 6, &above));
    job_tally_free(&tally);
}

/* ---- following ---- */

static void test_what_is_news(void **state)
{
    struct job_tally tally = usual();
    struct job_row rows[6];
    (void)state;
    set_rows(rows);
    assert_false(job_tally_is_news(&tally, rows, 0));
    assert_false(job_tally_is_news(&tally, rows, 5));
    assert_true(job_tally_is_news(&tally, rows, 6));
    rows[1].status = JOB_FINISHED;
    assert_true(job_tally_is_news(&tally, rows, 5));
    job_tally_free(&tally);
}

/* A job is retried and finishes; one that was active fails; one gets a status unknown to us; new
 * ones of each kind come. */
static void test_follow(void **state)
{
    static const int64_t left[] = {5, 7, 8, 22, 23, 24};
    struct job_tally tally = usual();
    struct job_row rows[10];
    (void)state;
    set_rows(rows);
    rows[0].status = JOB_FINISHED;
    rows[1].status = JOB_FAILED;
    rows[6] = job(22, 3, JOB_FAILED);
    rows[7] = job(23, 3, JOB_ACTIVE);
    rows[8] = job(24, 3, 99);
    rows[3].status = 99;
    rows[9] = job(25, 2, JOB_FINISHED);
    assert_int_equal(job_tally_follow(&tally, rows, 10), JOB_TALLY_EXACT);
    assert_counts(&tally, 1, 10, 1);
    assert_counts(&tally, 2, 3, 1);
    assert_counts(&tally, 3, 0, 1);
    assert_int_equal(tally.mark, 25);
    assert_reads(&tally, NULL, left, COUNT(left));
    /* The same rows again change nothing. */
    assert_false(job_tally_is_news(&tally, rows, 10));
    job_tally_free(&tally);
}

/* The job at the mark is counted already, whatever it has become. */
static void test_the_job_at_the_mark_is_counted(void **state)
{
    struct job_tally tally = usual();
    const struct job_row mark = job(20, 1, JOB_FAILED);
    (void)state;
    assert_int_equal(job_tally_follow(&tally, &mark, 1), JOB_TALLY_EXACT);
    assert_counts(&tally, 1, 8, 1);
    job_tally_free(&tally);
}

/* Jobs do not change their migration. */
static void test_a_job_of_another_migration(void **state)
{
    struct job_tally tally = usual();
    struct migration_tally result;
    const struct job_row other = job(3, 2, JOB_FAILED);
    (void)state;
    assert_int_equal(job_tally_follow_one(&tally, 1, &other, 1, &result), JOB_TALLY_OTHER);
    assert_int_equal(job_tally_follow(&tally, &other, 1), JOB_TALLY_OTHER);
    job_tally_free(&tally);
}

/* Where all failed jobs that were read are failed no more, those that were not may be too. */
static void test_failed_jobs_that_are_not_read(void **state)
{
    const int64_t one = 1;
    struct job_row rows[UNFINISHED_READ];
    struct migration_tally result;
    (void)state;
    for (size_t retried = UNFINISHED_READ - 1; retried <= UNFINISHED_READ; retried++) {
        struct job_tally tally;
        int64_t ids[UNFINISHED_KEPT];
        enum job_tally_verdict expected =
            retried < UNFINISHED_READ ? JOB_TALLY_EXACT : JOB_TALLY_OTHER;
        job_tally_init(&tally);
        for (int64_t id = 1; id <= UNFINISHED_KEPT; id++)
            add_unfinished(&tally, (struct unfinished_job){id, 1, JOB_FAILED}, 500, 500);
        assert_true(job_tally_add_jobs(&tally, 1, 500, 500));
        job_tally_counted(&tally);
        assert_int_equal(job_tally_to_read(&tally, &one, ids), UNFINISHED_READ);
        for (size_t i = 0; i < UNFINISHED_READ; i++)
            rows[i] = job(ids[i], 1, i < retried ? JOB_FINISHED : JOB_FAILED);
        assert_int_equal(job_tally_follow_one(&tally, 1, rows, UNFINISHED_READ, &result), expected);
        assert_int_equal(job_tally_follow(&tally, rows, UNFINISHED_READ), expected);
        if (expected == JOB_TALLY_EXACT)
            assert_counts(&tally, 1, (int64_t)retried, 500 - (int64_t)retried);
        job_tally_free(&tally);
    }
}

/* The counts of one migration; the tally, which has not seen the others' jobs, stays. */
static void test_follow_one(void **state)
{
    struct job_tally tally = usual();
    struct job_row rows[7];
    struct migration_tally result;
    (void)state;
    set_rows(rows);
    rows[0].status = JOB_FINISHED;
    rows[6] = job(22, 1, JOB_FAILED);
    assert_int_equal(job_tally_follow_one(&tally, 1, rows, 7, &result), JOB_TALLY_EXACT);
    assert_int_equal(result.finished, 10);
    assert_int_equal(result.failed, 1);
    assert_int_equal(job_tally_follow_one(&tally, 2, rows, 7, &result), JOB_TALLY_EXACT);
    assert_int_equal(result.finished, 2);
    assert_int_equal(result.failed, 2);
    assert_int_equal(job_tally_follow_one(&tally, 3, rows, 7, &result), JOB_TALLY_EXACT);
    assert_int_equal(result.migration_id, 3);
    assert_int_equal(result.finished, 0);
    assert_counts(&tally, 1, 8, 1);
    assert_int_equal(tally.mark, 20);
    assert_null(job_tally_find(&tally, 3));
    job_tally_free(&tally);
}

/* ---- the pace ---- */

/* A time that is no moment does not count for one. */
static void test_pace(void **state)
{
    struct job_tally tally;
    (void)state;
    job_tally_init(&tally);
    assert_true(job_tally_add_jobs(&tally, 1, 3, 3));
    for (int64_t id = 1; id <= 3; id++) {
        assert_true(job_tally_add_recent(&tally, 1, id * 1000000));
        assert_true(job_tally_add_recent(&tally, 1, JOB_TALLY_NO_TIME));
    }
    job_tally_counted(&tally);
    struct migration_tally *row = job_tally_find(&tally, 1);
    assert_int_equal(row->pace.count, 3);
    assert_int_equal(job_pace_micros(&row->pace), 1000000);
    const struct job_row rows[] = {{4, 1, JOB_FINISHED, JOB_TALLY_NO_TIME},
                                   {5, 1, JOB_FINISHED, 5000000}};
    assert_int_equal(job_tally_follow(&tally, rows, 2), JOB_TALLY_EXACT);
    row = job_tally_find(&tally, 1);
    assert_int_equal(row->pace.count, 4);
    assert_counts(&tally, 1, 5, 0);
    job_tally_free(&tally);
}

/* Migrations come in any order, and more than the first room takes. */
static void test_many_migrations(void **state)
{
    struct job_tally tally;
    (void)state;
    job_tally_init(&tally);
    for (int64_t i = 0; i < 100; i++)
        assert_true(job_tally_add_jobs(&tally, i * 37 % 100 - 50, i, 99 - i));
    job_tally_counted(&tally);
    for (int64_t i = 0; i < 100; i++)
        assert_counts(&tally, i * 37 % 100 - 50, i, 0);
    assert_int_equal(tally.count, 100);
    assert_int_equal(tally.mark, 99);
    job_tally_free(&tally);
}

/* However many fail, no more are kept. */
static void test_kept_failed_are_bounded(void **state)
{
    struct job_tally tally;
    (void)state;
    job_tally_init(&tally);
    job_tally_counted(&tally);
    for (int64_t id = 1; id <= 600; id++) {
        const struct job_row failed = job(id, 1, JOB_FAILED);
        assert_int_equal(job_tally_follow(&tally, &failed, 1), JOB_TALLY_EXACT);
        assert_in_range(tally.unfinished.count, 1, UNFINISHED_ALL_MAX);
    }
    assert_int_equal(tally.unfinished.count, UNFINISHED_KEPT);
    job_tally_free(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_count),
        cmocka_unit_test(test_an_empty_table),
        cmocka_unit_test(test_very_many_unfinished_jobs),
        cmocka_unit_test(test_the_same_table),
        cmocka_unit_test(test_another_table),
        cmocka_unit_test(test_what_is_news),
        cmocka_unit_test(test_follow),
        cmocka_unit_test(test_the_job_at_the_mark_is_counted),
        cmocka_unit_test(test_a_job_of_another_migration),
        cmocka_unit_test(test_failed_jobs_that_are_not_read),
        cmocka_unit_test(test_follow_one),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_many_migrations),
        cmocka_unit_test(test_kept_failed_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
