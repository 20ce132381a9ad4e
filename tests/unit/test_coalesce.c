/* SPDX-License-Identifier: MIT
 * Request coalescing: which requests share a batch, and that each is in one. */
#include "http/coalesce.h"

#include "unit.h"

#include <pthread.h>

#define NOW INT64_C(1000000)

static bool list(struct call *call)
{
    (void)call;
    return true;
}

static bool one(struct call *call)
{
    (void)call;
    return true;
}

static struct coalesce *coalesce;

static int setup(void **state)
{
    (void)state;
    coalesce = coalesce_new();
    return coalesce ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    coalesce_free(coalesce);
    return 0;
}

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

static struct coalesce_waiter *join(struct coalesce_waiter *waiter, handler *asked, int64_t id,
                                    int64_t now)
{
    *waiter = (struct coalesce_waiter){.handler = asked, .id = id};
    return coalesce_join(coalesce, waiter, now);
}

static struct coalesce_waiter *begin(int64_t now)
{
    bool more;
    struct coalesce_waiter *batch = coalesce_begin(coalesce, now, &more);
    assert_false(more);
    return batch;
}

static void assert_starts(struct coalesce_waiter *waiter, handler *asked, int64_t id)
{
    assert_batch(join(waiter, asked, id, NOW), waiter, 1);
}

static void assert_waits(struct coalesce_waiter *waiter, handler *asked, int64_t id)
{
    assert_null(join(waiter, asked, id, NOW));
}

static void test_requests_wait_for_running_batch(void **state)
{
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    assert_starts(&first, list, 0);
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    for (size_t i = 0; i < COUNT(later); i++)
        assert_waits(&later[i], list, 0);
    assert_int_equal(coalesce_age(coalesce, NOW), 0);
    assert_null(begin(NOW)); /* not yet */

    assert_true(coalesce_end(coalesce, first.group));
    assert_batch(begin(NOW), later, COUNT(later));
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    assert_null(begin(NOW)); /* nobody waits */
    assert_false(coalesce_end(coalesce, later[0].group));
}

static void test_next_request_starts_batch_for_all_waiting(void **state)
{
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    assert_starts(&first, list, 0);
    assert_waits(&later[0], list, 0);
    assert_waits(&later[1], list, 0);
    assert_true(coalesce_end(coalesce, first.group));
    assert_batch(join(&later[2], list, 0, NOW), later, 3);
}

static void test_slow_batch_is_not_waited_for(void **state)
{
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    assert_starts(&first, list, 0);
    assert_waits(&later[0], list, 0);
    assert_null(begin(NOW + COALESCE_PATIENCE_MS - 1));
    assert_int_equal(coalesce_age(coalesce, NOW + COALESCE_PATIENCE_MS), COALESCE_PATIENCE_MS);
    assert_batch(join(&later[1], list, 0, NOW + COALESCE_PATIENCE_MS), later, 2);
    /* The new batch has only just started. */
    assert_null(join(&later[2], list, 0, NOW + COALESCE_PATIENCE_MS + 1));
    assert_batch(begin(NOW + 2 * COALESCE_PATIENCE_MS), &later[2], 1);
}

/* Another handler, or another id, is another answer. */
static void test_other_answers_are_not_waited_for(void **state)
{
    struct coalesce_waiter first[4];
    struct coalesce_waiter later[2];
    (void)state;
    assert_starts(&first[0], list, 0);
    assert_starts(&first[1], one, 0);
    assert_starts(&first[2], one, 7);
    assert_starts(&first[3], one, INT64_MAX);
    assert_waits(&later[0], one, 7);
    assert_waits(&later[1], one, 7);
    assert_false(coalesce_end(coalesce, first[3].group));
    assert_false(coalesce_end(coalesce, first[1].group));
    assert_null(begin(NOW));
    assert_true(coalesce_end(coalesce, first[2].group));
    assert_batch(begin(NOW), later, 2);
}

static void test_group_that_waits_longest_begins(void **state)
{
    struct coalesce_waiter first[2];
    struct coalesce_waiter later[2];
    bool more;
    (void)state;
    for (int64_t i = 0; i < 2; i++)
        assert_starts(&first[i], one, i);
    assert_null(join(&later[1], one, 1, NOW + 1));
    assert_null(join(&later[0], one, 0, NOW + 2));
    assert_true(coalesce_end(coalesce, first[0].group));
    assert_true(coalesce_end(coalesce, first[1].group));
    assert_int_equal(coalesce_age(coalesce, NOW + 3), 2);
    assert_batch(coalesce_begin(coalesce, NOW + 3, &more), &later[1], 1);
    assert_true(more);
    assert_batch(coalesce_begin(coalesce, NOW + 3, &more), &later[0], 1);
    assert_false(more);
}

/* Those that find no group do not share, and do not disturb the groups when they end. */
static void test_more_answers_than_groups(void **state)
{
    static struct coalesce_waiter first[COALESCE_GROUPS];
    struct coalesce_waiter alone[2];
    struct coalesce_waiter later;
    (void)state;
    for (size_t i = 0; i < COUNT(first); i++)
        assert_starts(&first[i], one, (int64_t)i);
    assert_starts(&alone[0], one, COALESCE_GROUPS);
    assert_starts(&alone[1], one, COALESCE_GROUPS);
    assert_waits(&later, one, COALESCE_GROUPS - 1);
    assert_false(coalesce_end(coalesce, alone[0].group));
    assert_false(coalesce_end(coalesce, alone[1].group));
    for (size_t i = 0; i + 1 < COUNT(first); i++)
        assert_false(coalesce_end(coalesce, first[i].group));
    assert_true(coalesce_end(coalesce, first[COALESCE_GROUPS - 1].group));
    assert_batch(begin(NOW), &later, 1);
    /* The groups are free again. */
    assert_starts(&alone[0], one, COALESCE_GROUPS);
    assert_waits(&alone[1], one, COALESCE_GROUPS);
}

/* All but the first are answered each in a batch of its own, and before those that wait. */
static void test_split_batch(void **state)
{
    struct coalesce_waiter first;
    struct coalesce_waiter later[4];
    bool more;
    (void)state;
    assert_starts(&first, list, 0);
    for (size_t i = 0; i < 3; i++)
        assert_waits(&later[i], list, 0);
    assert_true(coalesce_end(coalesce, first.group));
    struct coalesce_waiter *batch = begin(NOW);
    assert_batch(batch, later, 3);
    coalesce_split(coalesce, batch);
    assert_batch(batch, later, 1);
    assert_false(batch->made);
    assert_waits(&later[3], list, 0);
    assert_int_equal(coalesce_age(coalesce, NOW + 5), 5);
    assert_batch(coalesce_begin(coalesce, NOW, &more), &later[1], 1);
    assert_true(more && later[1].made);
    assert_null(coalesce_clear(coalesce, NOW - 1));
    assert_batch(begin(NOW), &later[2], 1);
    assert_true(later[2].made);
    assert_null(begin(NOW)); /* the batch runs on */
    assert_false(coalesce_end(coalesce, later[2].group));
    assert_true(coalesce_end(coalesce, batch->group));
    assert_batch(begin(NOW), &later[3], 1);
    assert_false(later[3].made);
}

/* Where no thread takes them, they are rejected. */
static void test_clear_of_a_split_batch(void **state)
{
    struct coalesce_waiter first;
    struct coalesce_waiter later[3];
    (void)state;
    assert_starts(&first, list, 0);
    for (int64_t i = 0; i < 3; i++)
        assert_null(join(&later[i], list, 0, NOW + i));
    assert_true(coalesce_end(coalesce, first.group));
    coalesce_split(coalesce, begin(NOW));
    assert_batch(coalesce_clear(coalesce, NOW + 1), &later[1], 1);
    assert_batch(coalesce_clear(coalesce, NOW + 2), &later[2], 1);
}

static void test_clear_starts_no_batch(void **state)
{
    struct coalesce_waiter first[2];
    struct coalesce_waiter later[4];
    (void)state;
    assert_null(coalesce_clear(coalesce, NOW));
    assert_starts(&first[0], list, 0);
    assert_starts(&first[1], one, 1);
    assert_waits(&later[0], list, 0);
    assert_null(join(&later[2], one, 1, NOW + 1));
    assert_null(join(&later[1], list, 0, NOW + 2));
    /* The group of later[2] has not waited for that long. */
    assert_batch(coalesce_clear(coalesce, NOW), later, 2);
    assert_batch(coalesce_clear(coalesce, NOW + 1), &later[2], 1);
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    assert_false(coalesce_end(coalesce, first[0].group));
    assert_starts(&later[3], list, 0);
}

static void test_clear_of_several_groups(void **state)
{
    struct coalesce_waiter first[2];
    struct coalesce_waiter later[4];
    (void)state;
    assert_starts(&first[0], list, 0);
    assert_starts(&first[1], one, 1);
    assert_waits(&later[0], list, 0);
    assert_waits(&later[1], list, 0);
    assert_waits(&later[2], one, 1);
    assert_waits(&later[3], one, 1);
    assert_batch(coalesce_clear(coalesce, NOW), later, 4);
}

/* ---- threads ---- */

#define ASKS 20000

struct client {
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

/* Sends request after request, for two answers, and answers each batch that it starts. */
static void *ask(void *argument)
{
    struct client *client = argument;
    for (size_t i = 0; i < ASKS; i++) {
        bool more = true;
        struct coalesce_waiter *batch = join(&client->asks[i], one, (int64_t)(i % 2), NOW);
        while (batch) {
            client->answered += length(batch);
            coalesce_end(coalesce, batch->group);
            batch = coalesce_begin(coalesce, NOW, &more);
        }
    }
    return NULL;
}

static void test_each_request_is_answered_once(void **state)
{
    struct client *clients = calloc(4, sizeof *clients);
    pthread_t threads[4];
    size_t answered = 0;
    (void)state;
    assert_non_null(clients);
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &clients[i]), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < COUNT(threads); i++)
        answered += clients[i].answered;
    assert_int_equal(answered, COUNT(threads) * ASKS);
    assert_int_equal(coalesce_age(coalesce, NOW), -1);
    free(clients);
    coalesce_free(NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_wait_for_running_batch),
        TEST(test_next_request_starts_batch_for_all_waiting),
        TEST(test_slow_batch_is_not_waited_for),
        TEST(test_other_answers_are_not_waited_for),
        TEST(test_group_that_waits_longest_begins),
        TEST(test_more_answers_than_groups),
        TEST(test_split_batch),
        TEST(test_clear_of_a_split_batch),
        TEST(test_clear_starts_no_batch),
        TEST(test_clear_of_several_groups),
        TEST(test_each_request_is_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
