/* SPDX-License-Identifier: MIT
 * At most half of the threads verify at the same time, and a flood does not make the others wait.
 */
#include "threads.h"

#include "auth/signature_limit.h"
#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* More refusals in a row than any limit calls a flood. */
#define FLOOD 1000

static void end_all(struct signature_limit *limit, unsigned count, bool good)
{
    for (unsigned i = 0; i < count; i++)
        signature_limit_end(limit, good);
}

static void make_flood(struct signature_limit *limit)
{
    for (unsigned i = 0; i < FLOOD; i++) {
        assert_true(signature_limit_begin(limit));
        signature_limit_end(limit, false);
    }
}

/* How many may verify at the same time: counted in a flood, in which nobody waits. */
static unsigned count_places(unsigned threads)
{
    struct signature_limit *limit = signature_limit_new(threads);
    unsigned count = 0;
    assert_non_null(limit);
    make_flood(limit);
    while (signature_limit_begin(limit))
        count++;
    assert_false(signature_limit_begin(limit));
    end_all(limit, count, false);
    signature_limit_free(limit);
    return count;
}

static void test_half_of_the_threads(void **state)
{
    (void)state;
    assert_int_equal(count_places(1), 1);
    assert_int_equal(count_places(2), 1);
    assert_int_equal(count_places(3), 1);
    assert_int_equal(count_places(8), 4);
    assert_int_equal(count_places(64), 32);
    signature_limit_free(NULL);
}

static void test_place_is_free_again(void **state)
{
    struct signature_limit *limit = signature_limit_new(2);
    (void)state;
    make_flood(limit);
    for (int i = 0; i < 3; i++) {
        assert_true(signature_limit_begin(limit));
        assert_false(signature_limit_begin(limit));
        signature_limit_end(limit, false);
    }
    signature_limit_free(limit);
}

static struct {
    struct signature_limit *limit;
    atomic_uint inside;
    atomic_uint most;
    atomic_uint refused;
    bool good;
} shared;

static void *verify(void *argument)
{
    (void)argument;
    for (int i = 0; i < 2000; i++) {
        if (!signature_limit_begin(shared.limit)) {
            atomic_fetch_add(&shared.refused, 1);
            continue;
        }
        unsigned inside = atomic_fetch_add(&shared.inside, 1) + 1;
        unsigned most = atomic_load(&shared.most);
        while (inside > most && !atomic_compare_exchange_weak(&shared.most, &most, inside))
            ;
        sched_yield();
        atomic_fetch_sub(&shared.inside, 1);
        signature_limit_end(shared.limit, shared.good);
    }
    return NULL;
}

static void run_threads(unsigned count)
{
    pthread_t threads[16];
    atomic_store(&shared.most, 0);
    atomic_store(&shared.refused, 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify, NULL), 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* Good tokens wait for their turn, however many come at once; and one that is bad changes nothing.
 */
static void test_good_tokens_wait(void **state)
{
    (void)state;
    shared.limit = signature_limit_new(8);
    shared.good = true;
    assert_true(signature_limit_begin(shared.limit));
    signature_limit_end(shared.limit, false);
    run_threads(16);
    assert_int_equal(atomic_load(&shared.refused), 0);
    assert_in_range(atomic_load(&shared.most), 1, 4);
    signature_limit_free(shared.limit);
}

static void test_flood_is_bounded(void **state)
{
    (void)state;
    shared.limit = signature_limit_new(8);
    shared.good = false;
    make_flood(shared.limit);
    run_threads(16);
    assert_in_range(atomic_load(&shared.most), 1, 4);
    signature_limit_free(shared.limit);
}

static void *begin_one(void *argument)
{
    (void)argument;
    return signature_limit_begin(shared.limit) ? &shared : NULL;
}

/* In a flood the next one does not wait; after a good token it does. */
static void test_flood_ends_the_waiting_and_a_good_token_the_flood(void **state)
{
    pthread_t thread;
    void *began;
    (void)state;
    shared.limit = signature_limit_new(4);
    assert_true(signature_limit_begin(shared.limit));
    for (unsigned i = 0; i < FLOOD; i++) {
        assert_true(signature_limit_begin(shared.limit));
        signature_limit_end(shared.limit, false);
    }
    assert_true(signature_limit_begin(shared.limit));
    assert_int_equal(pthread_create(&thread, NULL, begin_one, NULL), 0);
    assert_int_equal(pthread_join(thread, &began), 0);
    assert_null(began);
    /* A good one ends it. */
    signature_limit_end(shared.limit, true);
    assert_true(signature_limit_begin(shared.limit));
    assert_int_equal(pthread_create(&thread, NULL, begin_one, NULL), 0);
    signature_limit_end(shared.limit, true);
    assert_int_equal(pthread_join(thread, &began), 0);
    assert_non_null(began);
    end_all(shared.limit, 2, true);
    signature_limit_free(shared.limit);
}

/* Refusals in a row with two places, of which one more is a flood. */
#define ALMOST_A_FLOOD 11

static atomic_int answered;

static void *begin_and_say(void *argument)
{
    _Atomic pid_t *tid = argument;
    atomic_store(tid, gettid());
    signature_limit_begin(shared.limit);
    atomic_fetch_add(&answered, 1);
    return NULL;
}

static bool is_answered(int count)
{
    for (int64_t end = clock_ms() + 10000; clock_ms() < end; sched_yield()) {
        if (atomic_load(&answered) == count)
            return true;
    }
    return false;
}

/* When a flood begins, all waiting threads are refused, and not only the next one. */
static void test_beginning_of_a_flood_ends_all_waiting(void **state)
{
    pthread_t threads[3];
    _Atomic pid_t tids[3] = {0};
    (void)state;
    shared.limit = signature_limit_new(4);
    for (int i = 0; i < ALMOST_A_FLOOD; i++) {
        assert_true(signature_limit_begin(shared.limit));
        signature_limit_end(shared.limit, false);
    }
    assert_true(signature_limit_begin(shared.limit));
    assert_true(signature_limit_begin(shared.limit));
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, begin_and_say, &tids[i]), 0);
        while (atomic_load(&answered) == 0 && !thread_sleeps(atomic_load(&tids[i])))
            sched_yield();
    }
    assert_int_equal(atomic_load(&answered), 0);
    signature_limit_end(shared.limit, false);
    assert_true(is_answered(COUNT(threads)));
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    signature_limit_free(shared.limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_of_the_threads),
        cmocka_unit_test(test_place_is_free_again),
        cmocka_unit_test(test_good_tokens_wait),
        cmocka_unit_test(test_flood_is_bounded),
        cmocka_unit_test(test_flood_ends_the_waiting_and_a_good_token_the_flood),
        cmocka_unit_test(test_beginning_of_a_flood_ends_all_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
