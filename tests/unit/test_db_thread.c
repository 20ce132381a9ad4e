/* SPDX-License-Identifier: MIT
 * db_thread: how many run at once, and how long the end of the program waits for them. */
#include "store/db_thread.h"
#include "unit.h"

#include "base/clock.h"

#include <sched.h>

static atomic_int count;
static atomic_int other_count;
static atomic_bool may_end;

static void wait_for_the_end(void *argument)
{
    (void)argument;
    while (!atomic_load(&may_end))
        sched_yield();
}

/* Those of another count are not hindered. When one has ended, there is room for another one. */
static void test_threads_are_bounded_and_waited_for(void **state)
{
    (void)state;
    assert_true(db_thread_start(&count, 2, 65536, wait_for_the_end, NULL));
    assert_true(db_thread_start(&count, 2, 65536, wait_for_the_end, NULL));
    assert_false(db_thread_start(&count, 2, 65536, wait_for_the_end, NULL));
    assert_true(db_thread_start(&other_count, 1, 65536, wait_for_the_end, NULL));
    assert_false(db_thread_settle(clock_ms()));
    atomic_store(&may_end, true);
    assert_true(db_thread_settle(clock_ms() + 10000));
    assert_int_equal(atomic_load(&count), 0);
    assert_int_equal(atomic_load(&other_count), 0);
    assert_true(db_thread_start(&count, 1, 65536, wait_for_the_end, NULL));
    assert_true(db_thread_settle(clock_ms() + 10000));
}

static void set_true(void *argument)
{
    atomic_store((atomic_bool *)argument, true);
}

/* The thread gets its argument, and a stack of any size that the system takes. */
static void test_the_argument(void **state)
{
    atomic_bool has_run = false;
    atomic_int runs = 0;
    (void)state;
    assert_true(db_thread_start(&runs, 1, (size_t)1024 * 1024, set_true, &has_run));
    assert_true(db_thread_settle(clock_ms() + 10000));
    assert_true(atomic_load(&has_run));
}

/* Where the system has no such thread, nothing has run and nobody is waited for. */
static void test_no_more_threads(void **state)
{
    atomic_bool has_run = false;
    atomic_int runs = 0;
    (void)state;
    assert_false(db_thread_start(&runs, 1, SIZE_MAX / 2 + 1, set_true, &has_run));
    assert_int_equal(atomic_load(&runs), 0);
    assert_true(db_thread_settle(clock_ms()));
    assert_false(atomic_load(&has_run));
}

static void test_nothing_to_wait_for(void **state)
{
    (void)state;
    assert_true(db_thread_settle(clock_ms() - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_are_bounded_and_waited_for),
        cmocka_unit_test(test_the_argument),
        cmocka_unit_test(test_no_more_threads),
        cmocka_unit_test(test_nothing_to_wait_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
