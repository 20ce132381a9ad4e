/* SPDX-License-Identifier: MIT
 * db: a statement that is sent along with the one before it. Whatever becomes of it, the one before
 * is sent as often as without it, and reports the same. */
#include "db_server.h"
#include "fake_server.h"
#include "fake_time.h"

static const struct sql along_sql = {.name = "unit_along", .text = "SELECT along", .number = 2};

static int read_along(void)
{
    return answered_by(db_read(db, &along_sql, NULL, in_time(), &error));
}

static int along_runs(void)
{
    return fake_runs(&server, along_sql.text, 0);
}

/* ---- as usual ---- */

static void test_with_a_read(void **state)
{
    (void)state;
    db_send_along(db, &along_sql);
    assert_int_equal(along_runs(), 0);
    assert_int_equal(read_once(), 1);
    assert_int_equal(along_runs(), 1);
    assert_int_equal(read_along(), 1);
    assert_int_equal(along_runs(), 1);
    /* The answer is there once, and the wish is for one statement. */
    assert_int_equal(read_once(), 1);
    assert_int_equal(read_along(), 1);
    assert_int_equal(along_runs(), 2);
}

/* Behind the transaction, and no part of it. */
static void test_with_a_change(void **state)
{
    (void)state;
    db_send_along(db, &along_sql);
    assert_int_equal(change_once(), 1);
    assert_int_equal(fake_number(&server, &server.run_count), 4);
    assert_true(fake_ran(&server, 2, "COMMIT"));
    assert_true(fake_ran(&server, 3, along_sql.text));
    assert_int_equal(read_along(), 1);
    assert_int_equal(fake_number(&server, &server.run_count), 4);
}

/* An answer is of use right after the statement that it came with. */
static void test_an_answer_that_is_not_asked_for(void **state)
{
    (void)state;
    db_send_along(db, &along_sql);
    assert_int_equal(read_once(), 1);
    assert_int_equal(change_once(), 1);
    assert_int_equal(read_along(), 1);
    assert_int_equal(along_runs(), 2);
    db_send_along(db, &along_sql);
    assert_int_equal(read_once(), 1);
    db_send_along(db, NULL);
    assert_int_equal(read_along(), 1);
    assert_int_equal(along_runs(), 4);
}

static void test_a_wish_that_is_taken_back(void **state)
{
    (void)state;
    db_send_along(db, &along_sql);
    db_send_along(db, NULL);
    assert_int_equal(read_once(), 1);
    assert_int_equal(along_runs(), 0);
}

static void test_it_is_prepared_too(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        db_send_along(db, &along_sql);
        assert_int_equal(read_once(), 1);
        assert_int_equal(read_along(), 1);
    }
    assert_int_equal(along_runs(), 3);
    assert_int_equal(fake_number(&server, &server.parsed), 2);
}

/* ---- a connection that is lost ---- */

/* After each byte: the change is sent once. Where its own answer is whole it is made, and everybody
 * knows it, even if the rest is lost; and what was sent along is sent again where it is lost. */
static void change_that_is_cut(void **state, int (*begin)(void **))
{
    int lost = 0;
    int a_part = 0;
    for (bool whole = false; !whole;) {
        fake_cut(&server, 1, lost + a_part);
        db_send_along(db, &along_sql);
        bool made = change_once() == 1;
        if (made) {
            int before = along_runs();
            int answered = read_along();
            whole = answered == 1;
            assert_int_equal(answered, whole ? 1 : 2);
            assert_int_equal(along_runs() - before, !whole);
            a_part++;
        } else {
            assert_fails(503, true, "lost");
            assert_int_equal(a_part, 0);
            assert_int_equal(connections(), 1);
            assert_int_equal(read_along(), 2);
            lost++;
        }
        assert_int_equal(change_runs(), 1);
        end(state);
        begin(state);
    }
    assert_in_range(lost, 50, 500);
    assert_in_range(a_part, 10, 500);
}

static void test_a_change_that_is_lost(void **state)
{
    change_that_is_cut(state, begin_plain);
}

static void test_a_prepared_change_that_is_lost(void **state)
{
    change_that_is_cut(state, begin_prepared);
}

/* A read on an old connection is sent once more, and not a third time. */
static void test_a_read_that_is_lost(void **state)
{
    for (int64_t after = 0; after < 200; after++) {
        assert_int_equal(read_once(), 1);
        fake_cut(&server, 1, after);
        db_send_along(db, &along_sql);
        int answered = read_once();
        assert_in_range(answered, 1, 2);
        assert_int_equal(read_runs(), answered + 1);
        assert_int_not_equal(read_along(), 0);
        end(state);
        begin_plain(state);
    }
}

/* ---- late, and refused ---- */

static void test_it_is_late(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .statement = "SELECT along", .event = FAKE_SILENCE, .times = 1,
              .elapses = 10001);
    db_send_along(db, &along_sql);
    assert_int_equal(change_once(), 1);
    assert_true(db_settle(clock_ms() + 600000));
    assert_int_equal(fake_number(&server, &server.cancelled), 1);
    assert_int_equal(read_along(), 2);
    assert_int_equal(change_runs(), 1);
}

static void test_it_is_refused(void **state)
{
    static const char *const codes[] = {"42501", "42703", "25006", "26000", "22P05", "0A000"};
    for (size_t i = 0; i < COUNT(codes); i++) {
        FAKE_RULE(&server, .type = 'E', .statement = "SELECT along", .event = FAKE_ERROR,
                  .text = codes[i], .times = 1);
        db_send_along(db, &along_sql);
        assert_int_equal(change_once(), 1);
        assert_int_equal(change_runs(), 1);
        assert_int_equal(commits(), 1);
        assert_int_not_equal(read_along(), 0);
        assert_int_equal(along_runs(), 1);
        end(state);
        begin_plain(state);
    }
    FAKE_RULE(&server, .type = 'E', .statement = "SELECT along", .event = FAKE_ERROR,
              .text = "42501", .times = 2);
    db_send_along(db, &along_sql);
    assert_int_equal(read_once(), 1);
    assert_int_equal(read_along(), 0);
    assert_true(error.is_setup);
    assert_fails(503, false, "42501");
}

/* Where the statement itself is refused, the answer to what was sent along does not count. */
static void test_the_statement_is_refused(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "40001",
              .times = 1);
    db_send_along(db, &along_sql);
    assert_int_equal(change_once(), 0);
    assert_fails(503, false, "40001");
    assert_int_equal(along_runs(), 0);
    assert_int_equal(read_along(), 2);
    assert_int_equal(along_runs(), 1);
}

/* Of a change that is gone from the session: the second try takes it along. */
static void test_the_statement_is_gone(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'B', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "26000",
              .times = 1);
    db_send_along(db, &along_sql);
    assert_int_equal(change_once(), 2);
    assert_int_equal(change_runs(), 1);
    assert_int_equal(commits(), 1);
    assert_int_equal(read_along(), 2);
    assert_int_equal(along_runs(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_with_a_read),
        plain_test(test_with_a_change),
        plain_test(test_an_answer_that_is_not_asked_for),
        plain_test(test_a_wish_that_is_taken_back),
        prepared_test(test_it_is_prepared_too),
        plain_test(test_a_change_that_is_lost),
        prepared_test(test_a_prepared_change_that_is_lost),
        plain_test(test_a_read_that_is_lost),
        plain_test(test_it_is_late),
        plain_test(test_it_is_refused),
        plain_test(test_the_statement_is_refused),
        prepared_test(test_the_statement_is_gone),
    };
    alarm(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
