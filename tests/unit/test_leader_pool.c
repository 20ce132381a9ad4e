/* SPDX-License-Identifier: MIT
 * The leader/followers pool: never more leaders than allowed, and never none. */
#include "server/leader_pool.h"

#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define THREADS (LEADER_POOL_LEADERS + 3)

static struct leader_pool *leader_pool;

/* A thread that joins when there are as many leaders as usually allowed. */
struct late {
    pthread_t id;
    _Atomic pid_t tid;
    size_t number;
    atomic_bool leads;
    bool result;
};

static void *join(void *argument)
{
    struct late *late = argument;
    atomic_store(&late->tid, gettid());
    late->result = leader_pool_join(leader_pool, late->number);
    atomic_store(&late->leads, true);
    return NULL;
}

static void start(struct late *late, size_t number)
{
    *late = (struct late){.number = number};
    assert_int_equal(pthread_create(&late->id, NULL, join, late), 0);
}

static void await(struct late *late, bool result)
{
    pthread_join(late->id, NULL);
    assert_int_equal(late->result, result);
}

/* It sleeps in the pool: there is nothing else that it could wait for. */
static void assert_follows(struct late *late)
{
    while (!atomic_load(&late->leads) && !thread_sleeps(atomic_load(&late->tid)))
        sched_yield();
    assert_false(atomic_load(&late->leads));
}

/* As many threads lead as usually allowed. */
static int setup(void **state)
{
    (void)state;
    leader_pool = leader_pool_new(THREADS);
    for (size_t i = 0; i < LEADER_POOL_LEADERS; i++)
        assert_true(leader_pool_join(leader_pool, i));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    leader_pool_free(leader_pool);
    return 0;
}

static void all_but_one_step_down(void)
{
    for (size_t i = 1; i < LEADER_POOL_LEADERS; i++)
        leader_pool_step_down(leader_pool, i);
}

static void test_leader_stays_leader(void **state)
{
    struct late late;
    (void)state;
    assert_true(leader_pool_join(leader_pool, 0));
    assert_true(leader_pool_join(leader_pool, 0));
    start(&late, LEADER_POOL_LEADERS);
    assert_follows(&late);
    all_but_one_step_down();
    assert_true(leader_pool_join(leader_pool, 1));
    assert_follows(&late);
    leader_pool_end(leader_pool);
    await(&late, false);
}

static void test_last_leader_wakes_first_follower(void **state)
{
    struct late late[2];
    (void)state;
    start(&late[1], LEADER_POOL_LEADERS + 1);
    assert_follows(&late[1]);
    start(&late[0], LEADER_POOL_LEADERS);
    assert_follows(&late[0]);
    all_but_one_step_down();
    assert_follows(&late[0]);
    leader_pool_step_down(leader_pool, 0);
    await(&late[0], true);
    assert_follows(&late[1]);
    leader_pool_step_down(leader_pool, LEADER_POOL_LEADERS);
    await(&late[1], true);
}

static void test_follower_cannot_step_down(void **state)
{
    struct late late;
    (void)state;
    start(&late, LEADER_POOL_LEADERS);
    assert_follows(&late);
    for (size_t i = 0; i < LEADER_POOL_LEADERS; i++)
        leader_pool_step_down(leader_pool, THREADS - 1);
    all_but_one_step_down();
    all_but_one_step_down();
    assert_follows(&late);
    leader_pool_step_down(leader_pool, 0);
    await(&late, true);
}

static void test_all_may_lead_while_one_is_blocked(void **state)
{
    struct late late[2];
    (void)state;
    start(&late[0], LEADER_POOL_LEADERS);
    start(&late[1], LEADER_POOL_LEADERS + 1);
    assert_follows(&late[0]);
    leader_pool_set_blocked(leader_pool, true);
    await(&late[0], true);
    await(&late[1], true);
    assert_true(leader_pool_join(leader_pool, THREADS - 1));
    leader_pool_set_blocked(leader_pool, false);
    start(&late[0], LEADER_POOL_LEADERS);
    assert_follows(&late[0]);
    all_but_one_step_down();
    for (size_t i = 0; i < THREADS; i++)
        leader_pool_step_down(leader_pool, i);
    await(&late[0], true);
}

static void test_end_wakes_all(void **state)
{
    struct late late[2];
    (void)state;
    start(&late[0], LEADER_POOL_LEADERS);
    start(&late[1], LEADER_POOL_LEADERS + 1);
    assert_follows(&late[0]);
    leader_pool_end(leader_pool);
    await(&late[0], false);
    await(&late[1], false);
    assert_false(leader_pool_join(leader_pool, 0));
    leader_pool_step_down(leader_pool, 1);
    assert_false(leader_pool_join(leader_pool, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leader_stays_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_leader_wakes_first_follower, setup, teardown),
        cmocka_unit_test_setup_teardown(test_follower_cannot_step_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_may_lead_while_one_is_blocked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_wakes_all, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
