/* SPDX-License-Identifier: MIT
 * job_counters: which thread counts all jobs, and what the others do meanwhile. */
#include "store/job_counters.h"

#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define HOUR_MS 3600000

/* A full count that finds so many jobs of migration 1, all finished. */
static void count(struct job_counters *counters, int64_t jobs, int64_t ms)
{
    assert_true(job_tally_add_jobs(job_counters_fresh(counters), 1, jobs, jobs));
    job_counters_commit(counters, ms);
}

static int64_t finished(struct job_counters *counters)
{
    const int64_t id = 1;
    struct job_counts counts;
    job_counters_last(counters, &id, &counts, 1);
    return counts.finished;
}

/* While one thread counts because it is time to, the others are served from what there is. */
static void test_nobody_waits_for_a_due_count(void **state)
{
    struct job_counters *counters = job_counters_new(1000);
    struct job_lookup lookup;
    (void)state;
    alarm(30); /* ends a test that waits for itself */
    assert_int_equal(job_counters_take_turn(counters, 0, 1000), JOB_COUNTERS_NEEDED);
    count(counters, 1, 0);
    assert_int_equal(job_counters_take_turn(counters, 200, 1200), JOB_COUNTERS_DUE);
    assert_int_equal(job_counters_take_turn(counters, 201, 1201), JOB_COUNTERS_NO_TURN);
    assert_true(job_counters_look_up(counters, NULL, &lookup));
    job_lookup_free(&lookup);
    assert_int_equal(finished(counters), 1);
    count(counters, 2, 202);
    assert_int_equal(finished(counters), 2);
    alarm(0);
    job_counters_free(counters);
}

/* Another thread. */
struct waiter {
    struct job_counters *counters;
    int64_t deadline;
    _Atomic pid_t tid;
    enum job_counters_turn turn;
};

static void *wait_for_turn(void *argument)
{
    struct waiter *waiter = argument;
    atomic_store(&waiter->tid, gettid());
    waiter->turn = job_counters_take_turn(waiter->counters, 0, waiter->deadline);
    return NULL;
}

/* Starts a thread while this one counts. */
static pthread_t start_waiter(struct waiter *waiter)
{
    pthread_t thread;
    assert_int_equal(job_counters_take_turn(waiter->counters, 0, 1000), JOB_COUNTERS_NEEDED);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_turn, waiter), 0);
    return thread;
}

/* What another thread has counted meanwhile serves the one that waited, too. */
static void test_one_count_serves_all_that_wait(void **state)
{
    struct waiter waiter = {.counters = job_counters_new(HOUR_MS), .deadline = 30000};
    (void)state;
    pthread_t thread = start_waiter(&waiter);
    while (!thread_sleeps(atomic_load(&waiter.tid))) /* there is nothing else that it waits for */
        sched_yield();
    count(waiter.counters, 1, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiter.turn, JOB_COUNTERS_NO_TURN);
    job_counters_free(waiter.counters);
}

/* A count that hangs costs the others no more than their own time. */
static void test_wait_ends_at_the_deadline(void **state)
{
    struct waiter waiter = {.counters = job_counters_new(HOUR_MS), .deadline = 50};
    (void)state;
    alarm(30);
    pthread_t thread = start_waiter(&waiter);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiter.turn, JOB_COUNTERS_LATE);
    alarm(0);
    count(waiter.counters, 1, 0);
    job_counters_free(waiter.counters);
}

/* Counts, which takes `took` ms and is the first of a row of failures if `first`. */
static void fail_at(struct job_counters *counters, int64_t ms, int64_t took, bool first)
{
    assert_int_equal(job_counters_take_turn(counters, ms - 1, ms), JOB_COUNTERS_NO_TURN);
    assert_int_equal(job_counters_take_turn(counters, ms, ms), JOB_COUNTERS_DUE);
    job_counters_fresh(counters)->mark = 77;
    assert_int_equal(job_counters_failed(counters, ms + took), first);
}

/* The counts that are there serve on, and the next try comes after a pause that doubles. */
static void test_full_count_that_fails(void **state)
{
    struct job_counters *counters = job_counters_new(2500);
    (void)state;
    assert_int_equal(job_counters_take_turn(counters, 0, 1000), JOB_COUNTERS_NEEDED);
    count(counters, 1, 0);
    fail_at(counters, 200, 0, true);
    assert_int_equal(finished(counters), 1);
    fail_at(counters, 600, 0, false);  /* after 2 × 200 */
    fail_at(counters, 1400, 0, false); /* after 4 × 200 */
    fail_at(counters, 3000, 0, false); /* after 8 × 200 */
    fail_at(counters, 5500, 0, false); /* after recount_ms */
    assert_int_equal(job_counters_take_turn(counters, 8000, 8000), JOB_COUNTERS_DUE);
    assert_true(job_counters_commit(counters, 8000));
    fail_at(counters, 8200, 30, true);
    fail_at(counters, 8830, 0, false); /* after 2 × 10 × 30 */
    job_counters_free(counters);
}

/* Without counts to serve from, each request tries. */
static void test_first_count_that_fails(void **state)
{
    struct job_counters *counters = job_counters_new(1000);
    (void)state;
    assert_int_equal(job_counters_take_turn(counters, 0, 10), JOB_COUNTERS_NEEDED);
    job_counters_failed(counters, 5);
    assert_int_equal(job_counters_take_turn(counters, 6, 10), JOB_COUNTERS_NEEDED);
    job_counters_failed(counters, 7);
    assert_int_equal(job_counters_take_turn(counters, 11, 10), JOB_COUNTERS_LATE);
    job_counters_free(counters);
}

static void test_no_lookup_before_counting(void **state)
{
    struct job_counters *counters = job_counters_new(1000);
    struct job_lookup lookup;
    (void)state;
    assert_false(job_counters_look_up(counters, NULL, &lookup));
    assert_int_equal(lookup.generation, 0);
    job_counters_free(counters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_waits_for_a_due_count),
        cmocka_unit_test(test_one_count_serves_all_that_wait),
        cmocka_unit_test(test_wait_ends_at_the_deadline),
        cmocka_unit_test(test_full_count_that_fails),
        cmocka_unit_test(test_first_count_that_fails),
        cmocka_unit_test(test_no_lookup_before_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
