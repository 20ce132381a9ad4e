/* SPDX-License-Identifier: MIT
 * job_counters: against a table kept in memory and counted again at every step. `ask` plays the
 * statement sql/migrations.sql, `count_all` plays sql/counts.sql and sql/recent.sql. */
#include "base/clock.h"
#include "store/job_counters.h"
#include "store/job_status.h"

#include "unit.h"

#define MIGRATIONS 5
#define JOBS_MAX   8000
#define HOUR_MS    3600000

/* The jobs table, ascending by id. */
static struct job_row table[JOBS_MAX];
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
    table[table_count++] = (struct job_row){next_id++, migration_id, status, now};
}

static void table_remove(size_t at)
{
    table_count--;
    memmove(table + at, table + at + 1, (table_count - at) * sizeof *table);
}

/* What a worker retries: the failed job of lowest id. NULL: none failed. */
static struct job_row *lowest_failed(int64_t migration_id)
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

static int64_t unfinished_count(int64_t migration_id)
{
    int64_t count = 0;
    for (size_t i = 0; i < table_count; i++)
        count += table[i].status != JOB_FINISHED &&
                 (migration_id == 0 || table[i].migration_id == migration_id);
    return count;
}

/* How many unfinished jobs of the same kind stand before this one. */
static int64_t place_of(size_t at)
{
    int64_t place = 0;
    for (size_t i = 0; i < at; i++)
        place += table[i].migration_id == table[at].migration_id &&
                 table[i].status != JOB_FINISHED &&
                 (table[i].status == JOB_FAILED) == (table[at].status == JOB_FAILED);
    return place;
}

static void count_all(struct job_counters *counters)
{
    struct job_tally *tally = job_counters_fresh(counters);
    int64_t unfinished = unfinished_count(0);
    for (size_t i = 0; i < table_count; i++) {
        const struct job_row *job = &table[i];
        assert_true(job_tally_add_jobs(tally, job->migration_id, 1, job->id));
        if (job->status == JOB_FINISHED ||
            (unfinished > UNFINISHED_ALL_MAX &&
             place_of(i) >= (job->status == JOB_FAILED ? UNFINISHED_KEPT : 1)))
            continue;
        const struct unfinished_job open = {job->id, job->migration_id, job->status};
        assert_true(job_tally_add_unfinished(tally, &open, unfinished_count(job->migration_id),
                                             fresh_count(job->migration_id, JOB_FAILED)));
    }
    for (size_t i = 0; i < table_count; i++)
        assert_true(job_tally_add_recent(tally, table[i].migration_id, table[i].created_at));
}

static bool is_read(const struct job_lookup *lookup, int64_t id)
{
    for (size_t i = 0; i < lookup->unfinished_count; i++) {
        if (lookup->unfinished[i] == id)
            return true;
    }
    return false;
}

static enum job_counters_verdict ask(struct job_counters *counters, const int64_t *id,
                                     const int64_t *ids, struct job_counts *counts, size_t id_count)
{
    static struct job_row seen[JOBS_MAX];
    struct job_lookup lookup;
    size_t count = 0;
    size_t new = 0;
    assert_true(job_counters_look_up(counters, id, &lookup));
    for (size_t i = 0; i < table_count; i++) {
        const struct job_row *job = &table[i];
        bool ours = !id || job->migration_id == *id || job->id == lookup.mark;
        if (job->id >= lookup.mark ? ours && new ++ <= JOB_COUNTERS_NEW_MAX
                                   : is_read(&lookup, job->id))
            seen[count++] = *job;
    }
    enum job_counters_verdict verdict =
        job_counters_follow(counters, &lookup, id, seen, count, ids, counts, id_count);
    job_lookup_free(&lookup);
    return verdict;
}

/* Asks as store_migrations does, at the time `ms`; returns how often all had to be counted. */
static int ask_at(int64_t ms, struct job_counters *counters, const int64_t *id, const int64_t *ids,
                  struct job_counts *counts, size_t id_count)
{
    int counted = 0;
    for (int tries = 0; tries < 20; tries++) {
        enum job_counters_turn turn = job_counters_take_turn(counters, ms, ms + 1000);
        assert_int_not_equal(turn, JOB_COUNTERS_LATE);
        if (turn != JOB_COUNTERS_NO_TURN) {
            count_all(counters);
            job_counters_commit(counters, ms);
            counted++;
        }
        if (ask(counters, id, ids, counts, id_count) == JOB_COUNTERS_EXACT)
            return counted;
    }
    fail_msg("never exact");
    return -1;
}

static int ask_until_exact(struct job_counters *counters, const int64_t *id, const int64_t *ids,
                           struct job_counts *counts, size_t id_count)
{
    return ask_at(0, counters, id, ids, counts, id_count);
}

static void assert_fresh(struct job_counters *counters)
{
    int64_t ids[MIGRATIONS];
    struct job_counts counts[MIGRATIONS];
    for (int64_t i = 0; i < MIGRATIONS; i++)
        ids[i] = i + 1;
    ask_until_exact(counters, NULL, ids, counts, MIGRATIONS);
    for (size_t i = 0; i < MIGRATIONS; i++) {
        struct job_counts one;
        assert_int_equal(counts[i].finished, fresh_count(ids[i], JOB_FINISHED));
        assert_int_equal(counts[i].failed, fresh_count(ids[i], JOB_FAILED));
        ask_until_exact(counters, &ids[i], &ids[i], &one, 1);
        assert_memory_equal(&one, &counts[i], sizeof one);
    }
}

/* ---- tests ---- */

/* One step of a worker, on a migration or other. */
static void work(unsigned random)
{
    int64_t migration_id = 1 + random % MIGRATIONS;
    struct job_row *failed = lowest_failed(migration_id);
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
    struct job_counters *counters = job_counters_new(HOUR_MS);
    unsigned seed = (unsigned)clock_us();
    (void)state;
    print_message("seed %u\n", seed);
    srand(seed);
    table_reset();
    for (int step = 0; step < 1500; step++) {
        for (int n = rand() % 4; n > 0; n--)
            work((unsigned)rand());
        assert_fresh(counters);
    }
    job_counters_free(counters);
}

/* After the first count a worker's doing never makes all be counted again. */
static void test_work_needs_no_new_count(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    int64_t id = 1;
    struct job_counts counts;
    (void)state;
    table_reset();
    table_add(1, JOB_FAILED);
    assert_int_equal(ask_until_exact(counters, NULL, &id, &counts, 1), 1);
    for (int i = 0; i < 100; i++) {
        table_add(1, i % 3 ? JOB_FINISHED : JOB_FAILED);
        if (i % 5 == 0)
            lowest_failed(1)->status = JOB_FINISHED;
        assert_int_equal(ask(counters, NULL, &id, &counts, 1), JOB_COUNTERS_EXACT);
        assert_int_equal(counts.finished, fresh_count(1, JOB_FINISHED));
    }
    job_counters_free(counters);
}

static struct job_lookup look_up(struct job_counters *counters)
{
    struct job_lookup lookup;
    assert_true(job_counters_look_up(counters, NULL, &lookup));
    return lookup;
}

/* More unfinished jobs than are read one by one: a few of each migration are, and the rest is
 * counted again when they are used up. */
static void test_many_failed(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    int64_t ids[] = {1, 2};
    struct job_counts counts[2];
    int counted = 0;
    (void)state;
    table_reset();
    for (int i = 0; i < 2000; i++)
        table_add(1 + i % 2, JOB_FAILED);
    assert_int_equal(ask_until_exact(counters, NULL, ids, counts, 2), 1);
    struct job_lookup lookup = look_up(counters);
    assert_int_equal(lookup.unfinished_count, 2 * UNFINISHED_READ);
    job_lookup_free(&lookup);
    for (int retried = 1; retried < 40; retried++) {
        for (int n = 0; n < retried % 20; n++)
            lowest_failed(1)->status = JOB_FINISHED;
        ask_until_exact(counters, NULL, ids, counts, 2);
        assert_int_equal(counts[0].finished, fresh_count(1, JOB_FINISHED));
        assert_int_equal(counts[0].failed, fresh_count(1, JOB_FAILED));
        assert_int_equal(counts[1].failed, 1000);
    }
    for (int retried = 0; retried < 2 * UNFINISHED_KEPT; retried++) {
        lowest_failed(2)->status = JOB_FINISHED;
        counted += ask_until_exact(counters, NULL, ids, counts, 2);
        assert_int_equal(counts[1].failed, fresh_count(2, JOB_FAILED));
    }
    assert_in_range(counted, 1, 2);
    job_counters_free(counters);
}

/* Failed jobs of which only the lowest are kept: a new one does not take the place of one that was
 * retried, since those between the two would be missing. */
static void test_new_failed_beside_many(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    int64_t id = 1;
    struct job_counts counts;
    (void)state;
    table_reset();
    for (int i = 0; i < 600; i++)
        table_add(1, JOB_FAILED);
    for (int i = 0; i < 3 * UNFINISHED_KEPT; i++) {
        ask_until_exact(counters, NULL, &id, &counts, 1);
        assert_int_equal(counts.finished, i);
        assert_int_equal(counts.failed, 600);
        lowest_failed(1)->status = JOB_FINISHED;
        table_add(1, JOB_FAILED);
    }
    job_counters_free(counters);
}

/* Jobs whose time is not known have no part in the pace. */
static void test_times_that_are_no_moment(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    int64_t id = 1;
    struct job_counts counts;
    (void)state;
    table_reset();
    for (int i = 0; i < 3; i++)
        table_add(1, JOB_FINISHED);
    table[1].created_at = JOB_TALLY_NO_TIME;
    ask_until_exact(counters, NULL, &id, &counts, 1);
    assert_int_equal(counts.pace, 0);
    table_add(1, JOB_FINISHED);
    ask_until_exact(counters, NULL, &id, &counts, 1);
    assert_int_equal(counts.pace, 90000000); /* of 120 and 60 seconds */
    table_add(1, JOB_FINISHED);
    table[4].created_at = JOB_TALLY_NO_TIME;
    ask_until_exact(counters, NULL, &id, &counts, 1);
    assert_int_equal(counts.pace, 90000000);
    job_counters_free(counters);
}

/* Failed jobs become many only while they are followed. */
static void test_failed_become_many(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    int64_t ids[] = {1, 2};
    struct job_counts counts[2];
    (void)state;
    table_reset();
    table_add(1, JOB_FINISHED);
    assert_int_equal(ask_until_exact(counters, NULL, ids, counts, 2), 1);
    for (int i = 0; i < 600; i++) {
        table_add(1, JOB_FAILED);
        if (i % 7 == 0)
            table_add(1 + i % 2, JOB_ACTIVE);
        assert_int_equal(ask_until_exact(counters, NULL, ids, counts, 2), 0);
        assert_int_equal(counts[0].failed, i + 1);
    }
    struct job_lookup lookup = look_up(counters);
    assert_int_equal(lookup.unfinished_count, UNFINISHED_READ);
    assert_true(lookup.all_failed);
    job_lookup_free(&lookup);
    /* A migration without failed jobs before has all of its own kept. */
    table_add(2, JOB_FAILED);
    assert_int_equal(ask_until_exact(counters, NULL, ids, counts, 2), 0);
    lowest_failed(2)->status = JOB_FINISHED;
    assert_int_equal(ask_until_exact(counters, NULL, ids, counts, 2), 0);
    assert_int_equal(counts[1].finished, 1);
    job_counters_free(counters);
}

/* More new jobs than are read at a time. */
static void test_many_new(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    int64_t id = 1;
    struct job_counts counts;
    (void)state;
    table_reset();
    table_add(1, JOB_FINISHED);
    assert_int_equal(ask_until_exact(counters, NULL, &id, &counts, 1), 1);
    for (int i = 0; i < 5000; i++)
        table_add(1 + i % 2, i % 7 ? JOB_FINISHED : JOB_FAILED);
    assert_int_equal(ask_until_exact(counters, NULL, &id, &counts, 1), 0);
    assert_int_equal(counts.finished, fresh_count(1, JOB_FINISHED));
    job_counters_free(counters);
}

/* What no worker does, and shows at once: the newest job gone, or another in its place;
 * an unfinished one gone. */
static void test_another_table(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    int64_t id = 1;
    struct job_counts counts;
    (void)state;
    table_reset();
    for (int i = 0; i < 10; i++)
        table_add(1, i == 4 ? JOB_FAILED : JOB_FINISHED);
    ask_until_exact(counters, NULL, &id, &counts, 1);

    table_remove(9);
    assert_int_equal(ask(counters, NULL, &id, &counts, 1), JOB_COUNTERS_LOST);
    ask_until_exact(counters, NULL, &id, &counts, 1);
    assert_int_equal(counts.finished, 8);
    table_remove(4);
    assert_int_equal(ask(counters, &id, &id, &counts, 1), JOB_COUNTERS_LOST);
    ask_until_exact(counters, &id, &id, &counts, 1);
    assert_int_equal(counts.failed, 0);

    ask_until_exact(counters, NULL, &id, &counts, 1);
    table_reset();
    for (int i = 0; i < 12; i++)
        table_add(1, JOB_FINISHED);
    assert_int_equal(ask(counters, NULL, &id, &counts, 1), JOB_COUNTERS_LOST);
    table_reset();
    ask_until_exact(counters, NULL, &id, &counts, 1);
    assert_int_equal(counts.finished, 0);
    job_counters_free(counters);
}

/* An unfinished job that is another migration's now. */
static void test_job_of_another_migration(void **state)
{
    const int64_t ids[] = {1, 2};
    const int64_t *const asked[] = {NULL, &ids[0]};
    struct job_counts counts[2];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct job_counters *counters = job_counters_new(HOUR_MS);
        table_reset();
        for (int n = 0; n < 10; n++)
            table_add(1, n == 4 ? JOB_FAILED : JOB_FINISHED);
        ask_until_exact(counters, NULL, ids, counts, 2);
        table[4].migration_id = 2;
        table[4].status = JOB_FINISHED;
        assert_int_equal(ask(counters, asked[i], ids, counts, asked[i] ? 1 : 2), JOB_COUNTERS_LOST);
        ask_until_exact(counters, NULL, ids, counts, 2);
        assert_int_equal(counts[0].finished, 9);
        assert_int_equal(counts[1].finished, 1);
        job_counters_free(counters);
    }
}

/* What only a full count shows, and when that comes. */
static void test_full_count_when_due(void **state)
{
    struct job_counters *counters = job_counters_new(1000);
    int64_t id = 1;
    struct job_counts counts;
    (void)state;
    table_reset();
    for (int i = 0; i < 10; i++)
        table_add(1, JOB_FINISHED);
    assert_int_equal(ask_at(5000, counters, NULL, &id, &counts, 1), 1);
    table[3].status = JOB_FAILED;
    assert_int_equal(ask_at(5199, counters, NULL, &id, &counts, 1), 0);
    assert_int_equal(counts.finished, 10);
    assert_int_equal(ask_at(5200, counters, NULL, &id, &counts, 1), 1);
    assert_int_equal(counts.finished, 9);
    job_counters_free(counters);
}

/* Another thread's changes between a statement and its rows: the two are not mixed. */
static void test_lookup_out_of_date(void **state)
{
    struct job_counters *counters = job_counters_new(HOUR_MS);
    struct job_counts counts;
    int64_t id = 1;
    (void)state;
    table_reset();
    table_add(1, JOB_FINISHED);
    ask_until_exact(counters, NULL, &id, &counts, 1);
    struct job_lookup lookup = look_up(counters);
    assert_true(job_counters_unchanged(counters, &lookup, &id, &counts, 1));
    table_add(1, JOB_FINISHED);
    ask_until_exact(counters, NULL, &id, &counts, 1);
    assert_int_equal(job_counters_follow(counters, &lookup, NULL, table, 2, &id, &counts, 1),
                     JOB_COUNTERS_AGAIN);
    assert_false(job_counters_unchanged(counters, &lookup, &id, &counts, 1));
    job_lookup_free(&lookup);
    job_counters_free(counters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_work),
        cmocka_unit_test(test_work_needs_no_new_count),
        cmocka_unit_test(test_many_failed),
        cmocka_unit_test(test_new_failed_beside_many),
        cmocka_unit_test(test_times_that_are_no_moment),
        cmocka_unit_test(test_failed_become_many),
        cmocka_unit_test(test_many_new),
        cmocka_unit_test(test_another_table),
        cmocka_unit_test(test_job_of_another_migration),
        cmocka_unit_test(test_full_count_when_due),
        cmocka_unit_test(test_lookup_out_of_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
