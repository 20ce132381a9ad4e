/* SPDX-License-Identifier: MIT
 * db: what is sent when, against a server that fails at every point. A change is never sent twice;
 * a read is sent once more where its connection was an old one. */
#include "db_server.h"
#include "fake_server.h"
#include "fake_time.h"

#define BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

/* ---- as usual ---- */

static void test_a_connection_is_made_once(void **state)
{
    (void)state;
    assert_int_equal(connections(), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_once(), 1);
        assert_int_equal(change_once(), 1);
        assert_int_equal(change_once(), 1);
    }
    assert_int_equal(connections(), 1);
    assert_int_equal(read_runs(), 3);
    assert_int_equal(change_runs(), 6);
}

/* A read is no transaction that anybody has to end; a change is one of its own. */
static void test_transactions(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    assert_int_equal(fake_number(&server, &server.run_count), 1);
    assert_int_equal(change_once(), 1);
    assert_int_equal(fake_number(&server, &server.run_count), 4);
    assert_true(fake_ran(&server, 1, BEGIN));
    assert_true(fake_ran(&server, 2, change_sql.text));
    assert_true(fake_ran(&server, 3, "COMMIT"));
}

/* A lock is taken in the change's own transaction, before it. */
static void test_a_change_that_takes_a_lock(void **state)
{
    static const struct sql lock_sql = {.text = "SELECT lock($1)", .params = 1};
    const char *const params[] = {"key"};
    const struct db_lock lock = {&lock_sql, params};
    (void)state;
    assert_int_equal(answered_by(db_change(db, &lock, &change_sql, NULL, in_time(), &error)), 1);
    assert_int_equal(fake_number(&server, &server.run_count), 4);
    assert_true(fake_ran(&server, 0, BEGIN));
    assert_true(fake_ran(&server, 1, lock_sql.text));
    assert_true(fake_ran(&server, 2, change_sql.text));
    assert_true(fake_ran(&server, 3, "COMMIT"));
    FAKE_RULE(&server, .type = 'E', .statement = lock_sql.text, .event = FAKE_ERROR,
              .text = "55P03", .times = 1);
    assert_null(db_change(db, &lock, &change_sql, NULL, in_time(), &error));
    assert_fails(503, false, "55P03");
    assert_int_equal(change_runs(), 1);
}

static void test_parameters(void **state)
{
    static const struct sql sql = {.text = "SELECT $1, $2", .params = 2};
    const char *const params[] = {NULL, "a \xFF text"};
    (void)state;
    assert_int_equal(answered_by(db_read(db, &sql, params, in_time(), &error)), 1);
    assert_int_equal(fake_runs(&server, sql.text, 0), 1);
}

/* ---- a connection that ends ---- */

/* After each byte of the answer: as long as the answer is not whole, the read is sent once more, on
 * a new connection. */
static void test_a_read_on_an_old_connection(void **state)
{
    int64_t after = 0;
    (void)state;
    for (bool whole = false; !whole; after++) {
        int old = read_once();
        int before = read_runs();
        fake_cut(&server, old, after);
        int answered = read_once();
        whole = answered == old;
        assert_int_equal(answered, whole ? old : old + 1);
        assert_int_equal(read_runs() - before, whole ? 1 : 2);
        fake_cut(&server, 0, -1);
        if (after % 40 == 39) { /* of the server's notes there are so many */
            end(state);
            begin_plain(state);
        }
    }
    assert_in_range(after, 50, 500);
}

/* A new connection that is lost at once is no old one: the server itself is in trouble. */
static void test_a_read_on_a_new_connection(void **state)
{
    (void)state;
    for (int64_t after = 0; after < 60; after += 3) {
        fake_cut(&server, 0, after);
        assert_int_equal(read_once(), 0);
        assert_fails(503, false, "lost");
        assert_int_equal(read_runs(), after / 3 + 1);
    }
}

/* Where the second connection is lost too, the read is not sent a third time. */
static void test_a_read_is_sent_no_third_time(void **state)
{
    (void)state;
    for (int64_t after = 0; after < 60; after += 3) {
        assert_int_not_equal(read_once(), 0);
        int before = read_runs();
        fake_cut(&server, 0, after);
        assert_int_equal(read_once(), 0);
        assert_fails(503, false, "lost");
        assert_int_equal(read_runs() - before, 2);
        fake_cut(&server, 0, -1);
    }
}

static void test_a_server_that_was_started_again(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    fake_hang_up(&server);
    assert_int_equal(read_once(), 2);
    assert_int_equal(connections(), 2);
}

/* After each byte of the answer to a change: it is sent once, and nobody knows whether it was made,
 * until the answer is whole. */
static void change_that_is_cut(void **state, int (*begin)(void **), bool on_old)
{
    int64_t after = 0;
    for (bool whole = false; !whole; after++) {
        if (on_old)
            assert_int_equal(change_once(), 1);
        int before = change_runs();
        fake_cut(&server, 0, after);
        whole = change_once() == 1;
        if (!whole)
            assert_fails(503, true, "lost");
        assert_int_equal(change_runs() - before, 1);
        assert_int_equal(connections(), 1);
        end(state);
        begin(state);
    }
    assert_in_range(after, 50, 500);
}

static void test_a_change_on_a_new_connection(void **state)
{
    change_that_is_cut(state, begin_plain, false);
}

static void test_a_change_on_an_old_connection(void **state)
{
    change_that_is_cut(state, begin_plain, true);
}

static void test_a_prepared_change(void **state)
{
    change_that_is_cut(state, begin_prepared, false);
}

static void test_a_change_that_was_prepared_before(void **state)
{
    change_that_is_cut(state, begin_prepared, true);
}

/* Lost before it reached the server, or as the server carried it out: that looks the same. */
static void test_a_change_at_each_message(void **state)
{
    static const char types[] = "PBES";
    static const char *const statements[] = {BEGIN, "UPDATE n", "COMMIT"};
    for (size_t type = 0; types[type]; type++) {
        for (size_t i = 0; i < COUNT(statements); i++) {
            FAKE_RULE(&server, .type = types[type],
                      .statement = types[type] == 'S' ? NULL : statements[i], .event = FAKE_CLOSE,
                      .times = INT32_MAX);
            assert_int_equal(change_once(), 0);
            assert_fails(503, true, "lost");
            assert_in_range(change_runs(), 0, 1);
            assert_int_equal(connections(), 1);
            end(state);
            begin_plain(state);
        }
    }
}

static void test_a_change_on_a_dead_connection(void **state)
{
    (void)state;
    assert_int_equal(change_once(), 1);
    fake_hang_up(&server);
    assert_int_equal(change_once(), 0);
    assert_fails(503, true, "lost");
    assert_int_equal(change_runs(), 1);
    assert_int_equal(connections(), 1);
    assert_int_equal(change_once(), 2);
}

/* ---- deadlines ---- */

/* The statement is cancelled, its connection is not used again, and it is not sent again. */
static void test_no_answer_in_time(void **state)
{
    (void)state;
    for (int old = 0; old < 2; old++) {
        if (old)
            assert_int_equal(read_once(), 2);
        int before = read_runs();
        FAKE_RULE(&server, .type = 'S', .event = FAKE_SILENCE, .times = 1, .elapses = 10001);
        assert_int_equal(read_once(), 0);
        assert_fails(503, false, "waiting for the database: not in time");
        assert_int_equal(read_runs() - before, 1);
        assert_true(db_settle(clock_ms() + 600000));
        assert_int_equal(fake_number(&server, &server.cancels), old + 1);
        assert_int_equal(fake_number(&server, &server.cancelled), old + 1);
        assert_int_equal(connections(), old + 1);
    }
    assert_int_equal(read_once(), 3);
}

/* At each point of a change: nobody knows whether it was made, and it is not sent again. */
static void test_a_change_that_is_late(void **state)
{
    static const char *const statements[] = {BEGIN, "UPDATE n", "COMMIT", NULL};
    for (size_t i = 0; i < COUNT(statements); i++) {
        FAKE_RULE(&server, .type = statements[i] ? 'E' : 'S', .statement = statements[i],
                  .event = FAKE_SILENCE, .times = INT32_MAX, .elapses = 10001);
        assert_int_equal(change_once(), 0);
        assert_fails(503, true, "waiting for the database: not in time");
        assert_in_range(change_runs(), 0, 1);
        assert_true(db_settle(clock_ms() + 600000));
        assert_int_equal(fake_number(&server, &server.cancelled), 1);
        assert_int_equal(connections(), 1);
        end(state);
        begin_plain(state);
    }
}

/* A server that reads nothing: what does not fit into the socket cannot be sent. */
static void test_a_server_that_does_not_read(void **state)
{
    static const struct sql sql = {.text = "SELECT $1", .params = 1};
    size_t size = (size_t)16 * 1024 * 1024;
    char *text = malloc(size);
    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    text[size - 1] = '\0';
    const char *const params[] = {text};
    assert_int_equal(read_once(), 1);
    pthread_mutex_lock(&server.lock);
    server.deaf = true;
    pthread_mutex_unlock(&server.lock);
    assert_null(db_change(db, NULL, &sql, params, in_time(), &error));
    assert_fails(503, true, "sending to the database: not in time");
    free(text);
}

/* A change that was not sent was not made: its outcome is known. */
static void test_no_connection_in_time(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = FAKE_STARTUP, .event = FAKE_SILENCE, .times = 2, .elapses = 10001);
    assert_int_equal(change_once(), 0);
    assert_fails(503, false, "connecting to the database: not in time");
    assert_int_equal(read_once(), 0);
    assert_fails(503, false, "connecting to the database: not in time");
    assert_int_equal(connections(), 2);
    assert_int_equal(fake_number(&server, &server.run_count), 0);
}

/* What became of an earlier change says nothing about this one. */
static void test_no_connection_after_a_change_that_was_lost(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .statement = "UPDATE n", .event = FAKE_CLOSE, .times = 1);
    assert_int_equal(change_once(), 0);
    assert_fails(503, true, "lost");
    FAKE_RULE(&server, .type = FAKE_STARTUP, .event = FAKE_CLOSE, .times = INT32_MAX);
    assert_int_equal(change_once(), 0);
    assert_fails(503, false, "cannot connect");
}

/* An idle connection is looked at first. One that says nothing takes a part of the time only. */
static void test_an_idle_connection_that_says_nothing(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    fake_time_pass(5000);
    FAKE_RULE(&server, .type = 'E', .statement = "SELECT", .event = FAKE_SILENCE, .times = 1,
              .elapses = 2600);
    assert_int_equal(read_once(), 2);
    assert_int_equal(read_runs(), 2);
    assert_int_equal(fake_runs(&server, read_sql.text, 1), 1);
}

static void test_an_idle_connection_that_is_alive(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    assert_int_equal(fake_runs(&server, "SELECT", 0), 0);
    fake_time_pass(5000);
    assert_int_equal(read_once(), 1);
    assert_int_equal(fake_runs(&server, "SELECT", 0), 1);
    assert_int_equal(connections(), 1);
}

/* ---- what the server refuses ---- */

/* An error of a read, and the connection that the next read is on. */
static void test_errors_of_reads(void **state)
{
    static const struct {
        const char *sqlstate;
        int status;
        bool is_setup;
        int next; /* connection */
        int runs;
    } cases[] = {
        {"42703", 500, false, 1, 0}, /* no such column */
        {"42501", 503, true, 1, 0},  /* a right is missing */
        {"53100", 503, false, 1, 0}, /* disk full */
        {"57014", 503, false, 1, 0}, /* cancelled */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(read_once(), 1);
        FAKE_RULE(&server, .type = 'E', .event = FAKE_ERROR, .text = cases[i].sqlstate, .times = 1);
        assert_null(db_read(db, &read_sql, NULL, in_time(), &error));
        assert_int_equal(error.is_setup, cases[i].is_setup);
        assert_int_equal(error.remedy != NULL, cases[i].is_setup);
        assert_fails(cases[i].status, false, cases[i].sqlstate);
        assert_int_equal(read_runs(), 1);
        assert_int_equal(read_once(), cases[i].next);
        end(state);
        begin_plain(state);
    }
}

/* The session is in a state in which another client has left it: a new one is made. */
static void test_a_session_that_cannot_be_used(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    FAKE_RULE(&server, .type = 'E', .event = FAKE_ERROR, .text = "25001", .times = 1);
    assert_int_equal(read_once(), 2);
    assert_int_equal(read_runs(), 2);
}

/* A server that was demoted says so with an answer: its rows may be old. */
static void test_a_server_that_was_demoted(void **state)
{
    static const char *const says[] = {"in_hot_standby=on", "default_transaction_read_only=on"};
    for (size_t i = 0; i < COUNT(says); i++) {
        assert_int_equal(read_once(), 1);
        FAKE_RULE(&server, .type = 'E', .event = FAKE_STATUS, .text = says[i], .times = 1);
        assert_int_equal(read_once(), 2);
        end(state);
        begin_plain(state);
    }
    assert_int_equal(read_once(), 1);
    FAKE_RULE(&server, .type = 'E', .event = FAKE_STATUS, .text = says[0], .times = 1);
    fake_set_standby(&server, "on");
    assert_int_equal(read_once(), 0);
    assert_fails(503, false, "cannot connect");
}

/* A change that is refused was not made: its outcome is known. The next one is made. */
static void test_errors_of_changes(void **state)
{
    static const struct {
        const char *statement;
        const char *sqlstate;
        int status;
        bool outcome_unknown;
    } cases[] = {
        {BEGIN, "53300", 503, false},      {BEGIN, "0A000", 503, false}, /* a standby */
        {BEGIN, "25006", 503, false},      {"UPDATE n", "40001", 503, false},
        {"UPDATE n", "23505", 500, false}, {"UPDATE n", "26000", 500, false},
        {"UPDATE n", "57014", 503, false}, {"COMMIT", "40001", 503, false},
        {"COMMIT", "23503", 500, false},   {"COMMIT", "40003", 503, true},
        {"COMMIT", "08007", 503, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        FAKE_RULE(&server, .type = 'E', .statement = cases[i].statement, .event = FAKE_ERROR,
                  .text = cases[i].sqlstate, .times = 1);
        assert_int_equal(change_once(), 0);
        if (strcmp(cases[i].sqlstate, "0A000") != 0)
            assert_non_null(strstr(error.reason, cases[i].sqlstate));
        assert_fails(cases[i].status, cases[i].outcome_unknown, "database");
        assert_int_equal(change_runs(), strcmp(cases[i].statement, "COMMIT") == 0);
        assert_int_equal(commits(), 0);
        assert_int_not_equal(change_once(), 0);
        assert_int_equal(commits(), 1);
        end(state);
        begin_plain(state);
    }
}

/* No transaction stays open on a connection that is used again. */
static void test_a_transaction_is_given_up_with_its_connection(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "40001",
              .times = 1);
    assert_int_equal(change_once(), 0);
    assert_fails(503, false, "40001");
    assert_int_equal(read_once(), 2);
}

/* A database that holds bytes of another encoding refuses to send them as UTF-8; it has changed
 * nothing then, and sends them raw. */
static void test_bytes_that_are_no_text(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "22P05",
              .times = 1);
    assert_int_equal(read_once(), 1);
    assert_true(fake_asked_for(&server, "UTF8"));
    assert_int_not_equal(change_once(), 0);
    assert_true(fake_asked_for(&server, "SQL_ASCII"));
    assert_int_equal(change_runs(), 1);
    assert_int_equal(commits(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_a_connection_is_made_once),
        plain_test(test_transactions),
        plain_test(test_a_change_that_takes_a_lock),
        plain_test(test_parameters),
        plain_test(test_a_read_on_an_old_connection),
        plain_test(test_a_read_on_a_new_connection),
        plain_test(test_a_read_is_sent_no_third_time),
        plain_test(test_a_server_that_was_started_again),
        plain_test(test_a_change_on_a_new_connection),
        plain_test(test_a_change_on_an_old_connection),
        prepared_test(test_a_prepared_change),
        prepared_test(test_a_change_that_was_prepared_before),
        plain_test(test_a_change_at_each_message),
        plain_test(test_a_change_on_a_dead_connection),
        plain_test(test_no_answer_in_time),
        plain_test(test_a_change_that_is_late),
        plain_test(test_a_server_that_does_not_read),
        plain_test(test_no_connection_in_time),
        plain_test(test_no_connection_after_a_change_that_was_lost),
        plain_test(test_an_idle_connection_that_says_nothing),
        plain_test(test_an_idle_connection_that_is_alive),
        plain_test(test_errors_of_reads),
        plain_test(test_a_session_that_cannot_be_used),
        plain_test(test_a_server_that_was_demoted),
        plain_test(test_errors_of_changes),
        plain_test(test_a_transaction_is_given_up_with_its_connection),
        plain_test(test_bytes_that_are_no_text),
    };
    alarm(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
