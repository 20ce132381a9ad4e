/* SPDX-License-Identifier: MIT
 * jobs: pages of jobs, and where the next one starts. */
#include "fake_db.h"

#include "store/jobs.h"
#include "store/store_private.h"

#define COLUMNS                                                                                    \
    "id min_value max_value status attempts failure_error_code created_at updated_at started_at "  \
    "finished_at"

static struct store store;
static struct jobs jobs;
static struct error error;

/* A page with these ids, of a table without other values; `beyond` is a filtered page's. */
static PGresult *page_of(const int64_t *ids, size_t count, struct cell beyond)
{
    PGresult *result = fake_result("beyond id");
    for (size_t i = 0; i < count; i++)
        FAKE_ROW(result, beyond, INTEGER(ids[i]));
    if (count == 0)
        FAKE_ROW(result, beyond, NOTHING);
    return result;
}

/* Reads the page of at most `n` jobs; with any status, and then with one. */
static void read_page(PGresult *result, int64_t n)
{
    fake_reads(&SQL_JOBS, result);
    assert_true(store_jobs(&store, 7, NULL, NULL, n, 5, &jobs, &error));
    store_jobs_free(&jobs);
}

static void read_filtered(PGresult *result, int64_t n)
{
    const int64_t status = JOB_FAILED;
    fake_reads(&SQL_JOBS_FILTERED, result);
    assert_true(store_jobs(&store, 7, NULL, &status, n, 5, &jobs, &error));
}

static void test_each_column_has_its_field(void **state)
{
    PGresult *result = fake_result(COLUMNS);
    (void)state;
    FAKE_ROW(result, INTEGER(9), INTEGER(-2), INTEGER(INT64_MAX), SMALL(3), SMALL(4), SMALL(5),
             MOMENT(6), MOMENT(7), MOMENT(8), MOMENT(-9));
    FAKE_ROW(result, INTEGER(8), INTEGER(1), INTEGER(2), SMALL(2), SMALL(0), NOTHING, NOTHING,
             NOTHING, NOTHING, NOTHING);
    fake_reads(&SQL_JOBS, result);
    assert_true(store_jobs(&store, 7, NULL, NULL, 10, 5, &jobs, &error));
    assert_int_equal(jobs.count, 2);
    assert_false(jobs.more);
    const struct job *job = &jobs.rows[0];
    assert_int_equal(job->id, 9);
    assert_int_equal(job->min_value, -2);
    assert_true(job->max_value == INT64_MAX);
    assert_int_equal(job->status, JOB_FAILED);
    assert_int_equal(job->attempts, 4);
    assert_int_equal(job->failure_error_code.value, 5);
    assert_int_equal(job->created_at.value, 6);
    assert_int_equal(job->updated_at.value, 7);
    assert_int_equal(job->started_at.value, 8);
    assert_int_equal(job->finished_at.value, -9);
    job = &jobs.rows[1];
    assert_int_equal(job->id, 8);
    assert_false(job->failure_error_code.given || job->created_at.given || job->updated_at.given ||
                 job->started_at.given || job->finished_at.given);
    store_jobs_free(&jobs);
    assert_int_equal(jobs.count, 0);
}

/* The page, one row short of it, and the one row more that is no part of it. */
static void test_where_a_page_ends(void **state)
{
    static const int64_t ids[] = {90, 70, 50};
    (void)state;
    for (size_t found = 1; found <= 3; found++) {
        fake_reads(&SQL_JOBS, page_of(ids, found, NOTHING));
        assert_true(store_jobs(&store, 7, NULL, NULL, 2, 5, &jobs, &error));
        assert_int_equal(jobs.count, found < 2 ? found : 2);
        assert_int_equal(jobs.more, found == 3);
        assert_int_equal(jobs.rows[0].id, 90);
        if (found == 3)
            assert_int_equal(jobs.last, 70);
        store_jobs_free(&jobs);
    }
}

/* A filtered page looks at some of the jobs; what lies beyond is another page's, if this one holds
 * all that was found. */
static void test_where_a_filtered_page_ends(void **state)
{
    static const int64_t ids[] = {90, 70, 50};
    (void)state;
    read_filtered(page_of(ids, 2, NOTHING), 2);
    assert_false(jobs.more);
    store_jobs_free(&jobs);
    read_filtered(page_of(ids, 2, INTEGER(41)), 2);
    assert_int_equal(jobs.count, 2);
    assert_true(jobs.more);
    assert_int_equal(jobs.last, 41);
    store_jobs_free(&jobs);
    read_filtered(page_of(ids, 3, INTEGER(41)), 2);
    assert_int_equal(jobs.count, 2);
    assert_true(jobs.more);
    assert_int_equal(jobs.last, 70);
    store_jobs_free(&jobs);
    read_filtered(page_of(NULL, 0, INTEGER(41)), 2);
    assert_int_equal(jobs.count, 0);
    assert_true(jobs.more);
    assert_int_equal(jobs.last, 41);
    store_jobs_free(&jobs);
    read_filtered(page_of(NULL, 0, NOTHING), 2);
    assert_int_equal(jobs.count, 0);
    assert_false(jobs.more);
    store_jobs_free(&jobs);
}

static void test_parameters(void **state)
{
    static const int64_t lasts[] = {INT64_MAX, 5, -5, INT64_MIN + 1, INT64_MIN};
    static const char *const firsts[] = {"9223372036854775806", "4", "-6", "-9223372036854775808",
                                         "-9223372036854775808"};
    (void)state;
    read_page(page_of(NULL, 0, NOTHING), 100);
    assert_string_equal(fake_param(&fake_answers[0], SQL_JOBS_ID), "7");
    assert_string_equal(fake_param(&fake_answers[0], SQL_JOBS_FIRST), "9223372036854775807");
    assert_string_equal(fake_param(&fake_answers[0], SQL_JOBS_N), "100");
    assert_int_equal(fake_answers[0].deadline, 5);
    for (size_t i = 0; i < COUNT(lasts); i++) {
        const struct fake_answer *answer = fake_reads(&SQL_JOBS, page_of(NULL, 0, NOTHING));
        assert_true(store_jobs(&store, 7, &lasts[i], NULL, 1, 5, &jobs, &error));
        assert_string_equal(fake_param(answer, SQL_JOBS_FIRST), firsts[i]);
        store_jobs_free(&jobs);
    }
    const int64_t status = JOB_ACTIVE;
    const struct fake_answer *answer = fake_reads(&SQL_JOBS_FILTERED, page_of(NULL, 0, NOTHING));
    assert_true(store_jobs(&store, 7, &lasts[1], &status, 3, 5, &jobs, &error));
    assert_string_equal(fake_param(answer, SQL_JOBS_FILTERED_ID), "7");
    assert_string_equal(fake_param(answer, SQL_JOBS_FILTERED_FIRST), "4");
    assert_string_equal(fake_param(answer, SQL_JOBS_FILTERED_N), "3");
    assert_string_equal(fake_param(answer, SQL_JOBS_FILTERED_STATUS), "1");
    assert_true(strtoll(fake_param(answer, SQL_JOBS_FILTERED_LOOK), NULL, 10) > 0);
    store_jobs_free(&jobs);
}

static void test_an_unknown_migration(void **state)
{
    const int64_t status = 1;
    (void)state;
    fake_reads(&SQL_JOBS, fake_result(COLUMNS));
    assert_false(store_jobs(&store, 7, NULL, NULL, 1, 5, &jobs, &error));
    assert_int_equal(error.status, 404);
    error_free(&error);
    store_jobs_free(&jobs);
    fake_reads(&SQL_JOBS_FILTERED, fake_result("beyond id"));
    assert_false(store_jobs(&store, 7, NULL, &status, 1, 5, &jobs, &error));
    assert_int_equal(error.status, 404);
    error_free(&error);
    store_jobs_free(&jobs);
}

static void test_no_answer(void **state)
{
    (void)state;
    memset(&jobs, 0xA5, sizeof jobs);
    fake_fails(&SQL_JOBS, false);
    assert_false(store_jobs(&store, 7, NULL, NULL, 1, 5, &jobs, &error));
    assert_int_equal(error.status, 503);
    error_free(&error);
    store_jobs_free(&jobs);
}

/* Many more rows than asked for, no column that is known, values that are no numbers. */
static void test_hostile_answers(void **state)
{
    (void)state;
    PGresult *result = fake_result("id");
    for (int i = 0; i < 50; i++)
        FAKE_ROW(result, INTEGER(100 - i));
    fake_reads(&SQL_JOBS, result);
    assert_true(store_jobs(&store, 7, NULL, NULL, 2, 5, &jobs, &error));
    assert_int_equal(jobs.count, 2);
    assert_int_equal(jobs.last, 99);
    store_jobs_free(&jobs);

    result = fake_result("ID ids");
    FAKE_ROW(result, INTEGER(1), INTEGER(2));
    fake_reads(&SQL_JOBS, result);
    assert_true(store_jobs(&store, 7, NULL, NULL, 2, 5, &jobs, &error));
    assert_int_equal(jobs.count, 0);
    assert_false(jobs.more);
    store_jobs_free(&jobs);

    result = fake_result("id status created_at");
    FAKE_ROW(result, TEXT(""), TEXT("a text that is longer than any number"), TEXT("\xFF\xFE"));
    fake_reads(&SQL_JOBS, result);
    assert_true(store_jobs(&store, 7, NULL, NULL, 2, 5, &jobs, &error));
    assert_int_equal(jobs.count, 1);
    assert_int_equal(jobs.rows[0].id, 0);
    assert_int_equal(jobs.rows[0].attempts, 0);
    store_jobs_free(&jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake_db_test(test_each_column_has_its_field),
        fake_db_test(test_where_a_page_ends),
        fake_db_test(test_where_a_filtered_page_ends),
        fake_db_test(test_parameters),
        fake_db_test(test_an_unknown_migration),
        fake_db_test(test_no_answer),
        fake_db_test(test_hostile_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
