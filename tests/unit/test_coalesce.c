/* SPDX-License-Identifier: MIT
 * Request coalescing: which requests share a batch, and that each is in one. */
#include "http/coalesce.h"

#include "unit.h"

#include <pthread.h>

#define NOW INT64_C(1000000)

/* The requests of a batch, in their order. */
static void assert_batch(const struct coalesce_waiter *batch, const struct coalesce_waiter *first,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(batch, first + i);
        batch = batch->next;
    }
    assert_null(batch);
}

/* Starts a batch of one request. */
static void start(struct coalesce *coalesce, struct coalesce_waiter *waiter)
{
    assert_batch(coalesce_join(coalesce, waiter, NOW), waiter, 1);
}

static void test_requests_wait_for_running_batch(void **state)
{
    struct coalesce *coalesce = coalesce_new();
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    start(coalesce, &first);
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    for (size_t i = 0; i < COUNT(later); i++)
        assert_null(coalesce_join(coalesce, &later[i], NOW));
    assert_int_equal(coalesce_age(coalesce, NOW), 0);
    assert_null(coalesce_begin(coalesce, NOW)); /* not yet */

    assert_true(coalesce_end(coalesce));
    assert_batch(coalesce_begin(coalesce, NOW), later, COUNT(later));
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    assert_null(coalesce_begin(coalesce, NOW)); /* nobody waits */
    assert_false(coalesce_end(coalesce));
    coalesce_free(coalesce);
}

static void test_next_request_starts_batch_for_all_waiting(void **state)
{
    struct coalesce *coalesce = coalesce_new();
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    start(coalesce, &first);
    assert_null(coalesce_join(coalesce, &later[0], NOW));
    assert_null(coalesce_join(coalesce, &later[1], NOW));
    assert_true(coalesce_end(coalesce));
    assert_batch(coalesce_join(coalesce, &later[2], NOW), later, 3);
    coalesce_free(coalesce);
}

static void test_slow_batch_is_not_waited_for(void **state)
{
    struct coalesce *coalesce = coalesce_new();
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    start(coalesce, &first);
    assert_null(coalesce_join(coalesce, &later[0], NOW));
    assert_null(coalesce_begin(coalesce, NOW + COALESCE_PATIENCE_MS - 1));
    assert_int_equal(coalesce_age(coalesce, NOW + COALESCE_PATIENCE_MS), COALESCE_PATIENCE_MS);
    assert_batch(coalesce_join(coalesce, &later[1], NOW + COALESCE_PATIENCE_MS), later, 2);
    /* The new batch has only just started. */
    assert_null(coalesce_join(coalesce, &later[2], NOW + COALESCE_PATIENCE_MS + 1));
    assert_batch(coalesce_begin(coalesce, NOW + 2 * COALESCE_PATIENCE_MS), &later[2], 1);
    coalesce_free(coalesce);
}

static void test_clear_starts_no_batch(void **state)
{
    struct coalesce *coalesce = coalesce_new();
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    assert_null(coalesce_clear(coalesce));
    start(coalesce, &first);
    assert_null(coalesce_join(coalesce, &later[0], NOW));
    assert_null(coalesce_join(coalesce, &later[1], NOW));
    assert_batch(coalesce_clear(coalesce), later, 2);
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    assert_false(coalesce_end(coalesce));
    assert_batch(coalesce_join(coalesce, &later[2], NOW), &later[2], 1);
    coalesce_free(coalesce);
}

/* ---- threads ---- */

#define ASKS 20000

struct client {
    struct coalesce *coalesce;
    size_t answered; /* by this thread */
    struct coalesce_waiter asks[ASKS];
};

static size_t length(const struct coalesce_waiter *batch)
{
    size_t count = 0;
    for (; batch; batch = batch->next)
        count++;
    return count;
}

/* Sends request after request, and answers each batch that it starts. */
static void *ask(void *argument)
{
    struct client *client = argument;
    for (size_t i = 0; i < ASKS; i++) {
        struct coalesce_waiter *batch = coalesce_join(client->coalesce, &client->asks[i], NOW);
        while (batch) {
            client->answered += length(batch);
            batch = coalesce_end(client->coalesce) ? coalesce_begin(client->coalesce, NOW) : NULL;
        }
    }
    return NULL;
}

static void test_each_request_is_answered_once(void **state)
{
    struct coalesce *coalesce = coalesce_new();
    struct client *clients = calloc(4, sizeof *clients);
    pthread_t threads[4];
    size_t answered = 0;
    (void)state;
    assert_non_null(clients);
    for (size_t i = 0; i < COUNT(threads); i++) {
        clients[i].coalesce = coalesce;
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &clients[i]), 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < COUNT(threads); i++)
        answered += clients[i].answered;
    assert_int_equal(answered, COUNT(threads) * ASKS);
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    free(clients);
    coalesce_free(coalesce);
    coalesce_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_wait_for_running_batch),
        cmocka_unit_test(test_next_request_starts_batch_for_all_waiting),
        cmocka_unit_test(test_slow_batch_is_not_waited_for),
        cmocka_unit_test(test_clear_starts_no_batch),
        cmocka_unit_test(test_each_request_is_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
