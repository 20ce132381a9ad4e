/* SPDX-License-Identifier: MIT
 * counts: against a table kept in memory and counted afresh at every step. The statement
 * sql/migrations.sql is played by `ask`. */
#include "base/clock.h"
#include "store/job_counters.h"
#include "store/store.h"

#include "unit.h"

#define MIGRATIONS 5
#define JOBS_MOST  8000

/* The jobs table, ascending by id. */
static struct job_counters_job table[JOBS_MOST];
static size_t table_count;
static int64_t next_id;
static int64_t now = 1000000;

static void table_reset(void)
{
    table_count = 0;
    next_id = 1;
}

static void table_add(int64_t migration_id, int64_t status)
{
    now += 60000000;
    table[table_count++] = (struct job_counters_job){next_id++, migration_id, status, now};
}

static void table_remove(size_t at)
{
    table_count--;
    memmove(table + at, table + at + 1, (table_count - at) * sizeof *table);
}

/* What a worker retries: the failed job of lowest id. NULL: none failed. */
static struct job_counters_job *lowest_failed(int64_t migration_id)
{
    for (size_t i = 0; i < table_count; i++) {
        if (table[i].migration_id == migration_id && table[i].status == JOB_FAILED)
            return &table[i];
    }
    return NULL;
}

static int64_t fresh_count(int64_t migration_id, int64_t status)
{
    int64_t count = 0;
    for (size_t i = 0; i < table_count; i++)
        count += table[i].migration_id == migration_id && table[i].status == status;
    return count;
}

/* ---- the statements ---- */

static void count_anew(struct job_counters *counts)
{
    job_counters_begin(counts);
    for (size_t i = 0; i < table_count; i++) {
        const struct job_counters_job *job = &table[i];
        assert_true(job_counters_add_jobs(counts, job->migration_id, 1, job->id));
        assert_true(job->status == JOB_FINISHED || job_counters_add_open(counts, job));
    }
    for (size_t i = 0; i < table_count; i++)
        assert_true(job_counters_add_recent(counts, table[i].migration_id, table[i].created_at));
    job_counters_commit(counts);
}

static bool is_asked_for(const char *open, int64_t id)
{
    char text[32];
    const char *at = open;
    snprintf(text, sizeof text, "%lld", (long long)id);
    while ((at = strstr(at, text))) {
        char after = at[strlen(text)];
        if ((at[-1] == '{' || at[-1] == ',') && (after == '}' || after == ','))
            return true;
        at++;
    }
    return false;
}

static enum job_counters_verdict ask(struct job_counters *counts, const int64_t *id,
                                     const int64_t *ids, struct job_counters_of *told,
                                     size_t id_count)
{
    static struct job_counters_job seen[JOBS_MOST];
    struct job_counters_base base;
    size_t count = 0;
    size_t new = 0;
    assert_true(job_counters_base(counts, id, &base));
    for (size_t i = 0; i < table_count; i++) {
        const struct job_counters_job *job = &table[i];
        bool ours = !id || job->migration_id == *id || job->id == base.mark;
        if (ours && (job->id >= base.mark ? new ++ <= JOB_COUNTERS_NEW_MOST
                                          : is_asked_for(base.open, job->id)))
            seen[count++] = *job;
    }
    enum job_counters_verdict verdict =
        job_counters_apply(counts, &base, id, seen, count, ids, told, id_count);
    if (verdict == JOB_COUNTERS_LOST)
        job_counters_forget(counts, base.generation);
    job_counters_base_free(&base);
    return verdict;
}

/* Asks as store_migrations does; returns how often all had to be counted. */
static int ask_until_exact(struct job_counters *counts, const int64_t *id, const int64_t *ids,
                           struct job_counters_of *told, size_t id_count)
{
    int counted = 0;
    for (int tries = 0; tries < 20; tries++) {
        bool late;
        if (job_counters_my_turn(counts, clock_ms() + 1000, &late)) {
            count_anew(counts);
            job_counters_end_turn(counts);
            counted++;
        }
        if (ask(counts, id, ids, told, id_count) == JOB_COUNTERS_EXACT)
            return counted;
    }
    fail_msg("never exact");
    return -1;
}

static void assert_fresh(struct job_counters *counts)
{
    int64_t ids[MIGRATIONS];
    struct job_counters_of told[MIGRATIONS];
    for (int64_t i = 0; i < MIGRATIONS; i++)
        ids[i] = i + 1;
    ask_until_exact(counts, NULL, ids, told, MIGRATIONS);
    for (size_t i = 0; i < MIGRATIONS; i++) {
        struct job_counters_of one;
        assert_int_equal(told[i].finished, fresh_count(ids[i], JOB_FINISHED));
        assert_int_equal(told[i].failed, fresh_count(ids[i], JOB_FAILED));
        ask_until_exact(counts, &ids[i], &ids[i], &one, 1);
        assert_memory_equal(&one, &told[i], sizeof one);
    }
}

/* ---- tests ---- */

/* One step of a worker, on a migration or other. */
static void work(unsigned random)
{
    int64_t migration_id = 1 + random % MIGRATIONS;
    struct job_counters_job *failed = lowest_failed(migration_id);
    switch (random / MIGRATIONS % 6) {
    case 0:
    case 1:
        table_add(migration_id, JOB_FINISHED);
        break;
    case 2:
        table_add(migration_id, JOB_FAILED);
        break;
    case 3:
        table_add(migration_id, JOB_ACTIVE);
        break;
    default:
        if (failed)
            failed->status = JOB_FINISHED;
    }
}

static void test_random_work(void **state)
{
    struct job_counters *counts = job_counters_new(3600000);
    unsigned seed = (unsigned)clock_us();
    (void)state;
    print_message("seed %u\n", seed);
    srand(seed);
    table_reset();
    for (int step = 0; step < 1500; step++) {
        for (int n = rand() % 4; n > 0; n--)
            work((unsigned)rand());
        assert_fresh(counts);
    }
    job_counters_free(counts);
}

/* After the first count a worker's doing never makes all be counted again. */
static void test_work_needs_no_new_count(void **state)
{
    struct job_counters *counts = job_counters_new(3600000);
    int64_t id = 1;
    struct job_counters_of told;
    (void)state;
    table_reset();
    table_add(1, JOB_FAILED);
    assert_int_equal(ask_until_exact(counts, NULL, &id, &told, 1), 1);
    for (int i = 0; i < 100; i++) {
        table_add(1, i % 3 ? JOB_FINISHED : JOB_FAILED);
        if (i % 5 == 0)
            lowest_failed(1)->status = JOB_FINISHED;
        assert_int_equal(ask(counts, NULL, &id, &told, 1), JOB_COUNTERS_EXACT);
        assert_int_equal(told.finished, fresh_count(1, JOB_FINISHED));
    }
    job_counters_free(counts);
}

/* More unfinished jobs than are asked for one by one. */
static void test_many_failed(void **state)
{
    struct job_counters *counts = job_counters_new(3600000);
    int64_t ids[] = {1, 2};
    struct job_counters_of told[2];
    (void)state;
    table_reset();
    for (int i = 0; i < 2000; i++)
        table_add(1 + i % 2, JOB_FAILED);
    assert_int_equal(ask_until_exact(counts, NULL, ids, told, 2), 1);
    for (int retried = 1; retried < 40; retried++) {
        for (int n = 0; n < retried % 20; n++)
            lowest_failed(1)->status = JOB_FINISHED;
        ask_until_exact(counts, NULL, ids, told, 2);
        assert_int_equal(told[0].finished, fresh_count(1, JOB_FINISHED));
        assert_int_equal(told[0].failed, fresh_count(1, JOB_FAILED));
        assert_int_equal(told[1].failed, 1000);
    }
    job_counters_free(counts);
}

/* More new jobs than are read at a time. */
static void test_many_new(void **state)
{
    struct job_counters *counts = job_counters_new(3600000);
    int64_t id = 1;
    struct job_counters_of told;
    (void)state;
    table_reset();
    table_add(1, JOB_FINISHED);
    assert_int_equal(ask_until_exact(counts, NULL, &id, &told, 1), 1);
    for (int i = 0; i < 5000; i++)
        table_add(1 + i % 2, i % 7 ? JOB_FINISHED : JOB_FAILED);
    assert_int_equal(ask_until_exact(counts, NULL, &id, &told, 1), 0);
    assert_int_equal(told.finished, fresh_count(1, JOB_FINISHED));
    job_counters_free(counts);
}

/* What no worker does, and shows at once: the newest job gone, or another in its place;
 * an unfinished one gone. */
static void test_another_table(void **state)
{
    struct job_counters *counts = job_counters_new(3600000);
    int64_t id = 1;
    struct job_counters_of told;
    (void)state;
    table_reset();
    for (int i = 0; i < 10; i++)
        table_add(1, i == 4 ? JOB_FAILED : JOB_FINISHED);
    ask_until_exact(counts, NULL, &id, &told, 1);

    table_remove(9);
    assert_int_equal(ask(counts, NULL, &id, &told, 1), JOB_COUNTERS_LOST);
    ask_until_exact(counts, NULL, &id, &told, 1);
    assert_int_equal(told.finished, 8);
    table_remove(4);
    assert_int_equal(ask(counts, &id, &id, &told, 1), JOB_COUNTERS_LOST);
    ask_until_exact(counts, &id, &id, &told, 1);
    assert_int_equal(told.failed, 0);

    ask_until_exact(counts, NULL, &id, &told, 1);
    table_reset();
    for (int i = 0; i < 12; i++)
        table_add(1, JOB_FINISHED);
    assert_int_equal(ask(counts, NULL, &id, &told, 1), JOB_COUNTERS_LOST);
    table_reset();
    ask_until_exact(counts, NULL, &id, &told, 1);
    assert_int_equal(told.finished, 0);
    job_counters_free(counts);
}

/* What shows only when all is counted anew: that it is, and when. */
static void test_counted_anew_when_due(void **state)
{
    struct job_counters *counts = job_counters_new(1);
    int64_t id = 1;
    struct job_counters_of told;
    (void)state;
    table_reset();
    for (int i = 0; i < 10; i++)
        table_add(1, JOB_FINISHED);
    ask_until_exact(counts, NULL, &id, &told, 1);
    table[3].status = JOB_FAILED;
    usleep(5000);
    assert_int_equal(ask_until_exact(counts, NULL, &id, &told, 1), 1);
    assert_int_equal(told.finished, 9);
    job_counters_free(counts);
}

/* Another thread's changes between the statement and its rows: they are not mixed. */
static void test_base_out_of_date(void **state)
{
    struct job_counters *counts = job_counters_new(3600000);
    struct job_counters_base base;
    struct job_counters_of told;
    int64_t id = 1;
    (void)state;
    table_reset();
    table_add(1, JOB_FINISHED);
    ask_until_exact(counts, NULL, &id, &told, 1);
    assert_true(job_counters_base(counts, NULL, &base));
    table_add(1, JOB_FINISHED);
    ask_until_exact(counts, NULL, &id, &told, 1);
    assert_int_equal(job_counters_apply(counts, &base, NULL, table, 2, &id, &told, 1),
                     JOB_COUNTERS_AGAIN);
    job_counters_base_free(&base);
    job_counters_free(counts);
}

static void test_no_base_before_counting(void **state)
{
    struct job_counters *counts = job_counters_new(1000);
    struct job_counters_base base;
    (void)state;
    assert_false(job_counters_base(counts, NULL, &base));
    job_counters_free(counts);
}

static int64_t pace_of_gaps(const int64_t *gaps, size_t count)
{
    struct job_counters *counts = job_counters_new(3600000);
    int64_t id = 1;
    struct job_counters_of told;
    table_reset();
    table_add(1, JOB_FINISHED);
    for (size_t i = 0; i < count; i++) {
        table_add(1, JOB_FINISHED);
        table[i + 1].created_at = table[i].created_at + gaps[i];
    }
    ask_until_exact(counts, NULL, &id, &told, 1);
    job_counters_free(counts);
    return told.pace;
}

static void test_pace(void **state)
{
    (void)state;
    assert_int_equal(pace_of_gaps((int64_t[]){60}, 0), 0);
    assert_int_equal(pace_of_gaps((int64_t[]){60}, 1), 0);
    assert_int_equal(pace_of_gaps((int64_t[]){60, 70}, 2), 65);
    assert_int_equal(pace_of_gaps((int64_t[]){60, 999999, 61}, 3), 61);
    assert_int_equal(pace_of_gaps((int64_t[]){0, 0, 0, 80}, 4), 20);
    assert_int_equal(pace_of_gaps((int64_t[]){0, 0, 0}, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_work),
        cmocka_unit_test(test_work_needs_no_new_count),
        cmocka_unit_test(test_many_failed),
        cmocka_unit_test(test_many_new),
        cmocka_unit_test(test_another_table),
        cmocka_unit_test(test_counted_anew_when_due),
        cmocka_unit_test(test_base_out_of_date),
        cmocka_unit_test(test_no_base_before_counting),
        cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
