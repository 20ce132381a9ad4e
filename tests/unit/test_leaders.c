/* SPDX-License-Identifier: MIT
 * leaders: never more than may, and never none while somebody could. */
#include "leaders.h"

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static struct leaders leaders;

struct thread {
    pthread_t id;
    atomic_bool has_joined;
    bool leads;
    bool result;
};

static void *join(void *argument)
{
    struct thread *thread = argument;
    thread->result = leaders_join(&leaders, &thread->leads);
    atomic_store(&thread->has_joined, true);
    return NULL;
}

static void start(struct thread *thread)
{
    *thread = (struct thread){0};
    assert_int_equal(pthread_create(&thread->id, NULL, join, thread), 0);
}

static void await(struct thread *thread, bool result)
{
    pthread_join(thread->id, NULL);
    assert_int_equal(thread->result, result);
    assert_int_equal(thread->leads, result);
}

/* Follows, as far as can be told within a moment. */
static void assert_follows(struct thread *thread)
{
    usleep(20000);
    assert_false(atomic_load(&thread->has_joined));
}

static int setup(void **state)
{
    (void)state;
    leaders_init(&leaders, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    leaders_destroy(&leaders);
    return 0;
}

static void test_one_that_leads_goes_on(void **state)
{
    bool leads = false;
    (void)state;
    assert_true(leaders_join(&leaders, &leads));
    assert_true(leads);
    assert_true(leaders_join(&leaders, &leads));
    assert_int_equal(leaders.count, 1);
}

static void test_the_last_who_steps_down_is_followed(void **state)
{
    bool first = false;
    bool second = false;
    struct thread third;
    (void)state;
    leaders_join(&leaders, &first);
    leaders_join(&leaders, &second);
    start(&third);
    assert_follows(&third);
    leaders_step_down(&leaders, &first);
    assert_false(first);
    assert_follows(&third);
    leaders_step_down(&leaders, &second);
    await(&third, true);
    assert_true(leaders_join(&leaders, &first));
    assert_int_equal(leaders.count, 2);
}

static void test_who_does_not_lead_does_not_step_down(void **state)
{
    bool first = false;
    bool second = false;
    (void)state;
    leaders_join(&leaders, &first);
    leaders_step_down(&leaders, &second);
    assert_int_equal(leaders.count, 1);
    leaders_step_down(&leaders, &first);
    leaders_step_down(&leaders, &first);
    assert_int_equal(leaders.count, 0);
}

static void test_the_end_is_the_end_for_all(void **state)
{
    bool first = false;
    bool second = false;
    struct thread following[2];
    (void)state;
    leaders_join(&leaders, &first);
    leaders_join(&leaders, &second);
    for (size_t i = 0; i < COUNT(following); i++)
        start(&following[i]);
    assert_follows(&following[0]);
    leaders_end(&leaders);
    for (size_t i = 0; i < COUNT(following); i++)
        await(&following[i], false);
    assert_false(leaders_join(&leaders, &first));
    leaders_step_down(&leaders, &second);
    assert_false(leaders_join(&leaders, &second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_that_leads_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_who_steps_down_is_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_does_not_lead_does_not_step_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_is_the_end_for_all, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
