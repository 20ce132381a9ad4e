/* SPDX-License-Identifier: MIT
 * rounds: who waits for whom, and that nobody is forgotten. */
#include "rounds.h"

#include "unit.h"

#include <pthread.h>

#define NOW INT64_C(1000000)

/* The askers of a round, in their order. */
static void assert_round(const struct rounds_asker *round, const struct rounds_asker *first,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(round, first + i);
        round = round->next;
    }
    assert_null(round);
}

/* As many rounds as are usual, each of one. */
static void fill(struct rounds *rounds, struct rounds_asker askers[ROUNDS_USUAL])
{
    for (int i = 0; i < ROUNDS_USUAL; i++)
        assert_round(rounds_join(rounds, &askers[i], NOW), &askers[i], 1);
}

static void test_those_who_come_meanwhile_wait(void **state)
{
    struct rounds *rounds = rounds_new();
    struct rounds_asker first[ROUNDS_USUAL];
    struct rounds_asker later[3];
    (void)state;
    assert_int_equal(rounds_age(rounds, NOW), -1);
    fill(rounds, first);
    assert_int_equal(rounds_age(rounds, NOW), -1);
    for (size_t i = 0; i < COUNT(later); i++)
        assert_null(rounds_join(rounds, &later[i], NOW));
    assert_int_equal(rounds_age(rounds, NOW), 0);
    assert_null(rounds_begin(rounds, NOW)); /* not yet */

    assert_true(rounds_end(rounds));
    assert_round(rounds_begin(rounds, NOW), later, COUNT(later));
    assert_int_equal(rounds_age(rounds, NOW), -1);
    assert_null(rounds_begin(rounds, NOW)); /* nobody waits */
    for (int i = 0; i < ROUNDS_USUAL; i++)
        assert_false(rounds_end(rounds));
    rounds_free(rounds);
}

static void test_who_comes_next_takes_the_others_along(void **state)
{
    struct rounds *rounds = rounds_new();
    struct rounds_asker first[ROUNDS_USUAL];
    struct rounds_asker later[3];
    (void)state;
    fill(rounds, first);
    assert_null(rounds_join(rounds, &later[0], NOW));
    assert_null(rounds_join(rounds, &later[1], NOW));
    assert_true(rounds_end(rounds));
    assert_round(rounds_join(rounds, &later[2], NOW), later, 3);
    rounds_free(rounds);
}

static void test_slow_rounds_are_not_waited_for(void **state)
{
    struct rounds *rounds = rounds_new();
    struct rounds_asker first[ROUNDS_USUAL];
    struct rounds_asker later[3];
    (void)state;
    fill(rounds, first);
    assert_null(rounds_join(rounds, &later[0], NOW));
    assert_null(rounds_begin(rounds, NOW + ROUNDS_PATIENCE - 1));
    assert_int_equal(rounds_age(rounds, NOW + ROUNDS_PATIENCE), ROUNDS_PATIENCE);
    assert_round(rounds_join(rounds, &later[1], NOW + ROUNDS_PATIENCE), later, 2);
    /* That one is quick, for all that is known. */
    assert_null(rounds_join(rounds, &later[2], NOW + ROUNDS_PATIENCE + 1));
    assert_round(rounds_begin(rounds, NOW + 2 * ROUNDS_PATIENCE), &later[2], 1);
    rounds_free(rounds);
}

static void test_clearing_begins_nothing(void **state)
{
    struct rounds *rounds = rounds_new();
    struct rounds_asker first[ROUNDS_USUAL];
    struct rounds_asker later[3];
    (void)state;
    assert_null(rounds_clear(rounds));
    fill(rounds, first);
    assert_null(rounds_join(rounds, &later[0], NOW));
    assert_null(rounds_join(rounds, &later[1], NOW));
    assert_round(rounds_clear(rounds), later, 2);
    assert_int_equal(rounds_age(rounds, NOW), -1);
    for (int i = 0; i < ROUNDS_USUAL; i++)
        assert_false(rounds_end(rounds));
    assert_round(rounds_join(rounds, &later[2], NOW), &later[2], 1);
    rounds_free(rounds);
}

/* ---- threads ---- */

#define ASKS 20000

struct client {
    struct rounds *rounds;
    size_t answered; /* by this thread */
    struct rounds_asker asks[ASKS];
};

static size_t length(const struct rounds_asker *round)
{
    size_t count = 0;
    for (; round; round = round->next)
        count++;
    return count;
}

/* Asks again and again, and answers each round that it begins. */
static void *ask(void *argument)
{
    struct client *client = argument;
    for (size_t i = 0; i < ASKS; i++) {
        struct rounds_asker *round = rounds_join(client->rounds, &client->asks[i], NOW);
        while (round) {
            client->answered += length(round);
            round = rounds_end(client->rounds) ? rounds_begin(client->rounds, NOW) : NULL;
        }
    }
    return NULL;
}

static void test_each_is_answered_once(void **state)
{
    struct rounds *rounds = rounds_new();
    struct client *clients = calloc(4, sizeof *clients);
    pthread_t threads[4];
    size_t answered = 0;
    (void)state;
    assert_non_null(clients);
    for (size_t i = 0; i < COUNT(threads); i++) {
        clients[i].rounds = rounds;
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &clients[i]), 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < COUNT(threads); i++)
        answered += clients[i].answered;
    assert_int_equal(answered, COUNT(threads) * ASKS);
    assert_int_equal(rounds_age(rounds, NOW), -1);
    free(clients);
    rounds_free(rounds);
    rounds_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_who_come_meanwhile_wait),
        cmocka_unit_test(test_who_comes_next_takes_the_others_along),
        cmocka_unit_test(test_slow_rounds_are_not_waited_for),
        cmocka_unit_test(test_clearing_begins_nothing),
        cmocka_unit_test(test_each_is_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
