/* SPDX-License-Identifier: MIT
 * db: statements that are prepared, and those that are gone when they are sent. */
#include "db_server.h"
#include "fake_server.h"
#include "fake_time.h"

/* The server forgets what this connection has prepared, as a DISCARD ALL of a pooler does. */
static void forget(int connection)
{
    pthread_mutex_lock(&server.lock);
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
        struct fake_connection *c = &server.connections[i];
        for (int j = 0; c->fd >= 0 && c->number == connection && j < FAKE_PREPARED_MAX; j++) {
            free(c->prepared[j].name);
            free(c->prepared[j].text);
            c->prepared[j].name = c->prepared[j].text = NULL;
        }
    }
    pthread_mutex_unlock(&server.lock);
}

static int parsed(void)
{
    return fake_number(&server, &server.parsed);
}

static void test_each_is_prepared_once(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(read_once(), 1);
    assert_int_equal(parsed(), 1);
    /* BEGIN and COMMIT are no statements that are worth it. */
    assert_int_equal(change_once(), 1);
    assert_int_equal(parsed(), 4);
    assert_int_equal(change_once(), 1);
    assert_int_equal(parsed(), 6);
    assert_int_equal(change_runs(), 2);
}

static void test_a_new_connection_has_none(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    fake_hang_up(&server);
    assert_int_equal(read_once(), 2);
    assert_int_equal(read_once(), 2);
    assert_int_equal(parsed(), 2);
}

static void test_a_statement_without_a_name(void **state)
{
    static const struct sql unnamed = {.text = "SELECT m", .number = 2};
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(answered_by(db_read(db, &unnamed, NULL, in_time(), &error)), 1);
    assert_int_equal(parsed(), 2);
}

/* It was refused before it ran, so it is prepared and sent again: that is no second time. */
static void test_a_read_that_is_gone(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    forget(1);
    assert_int_equal(read_once(), 1);
    assert_int_equal(read_runs(), 2);
    assert_int_equal(parsed(), 2);
    assert_int_equal(connections(), 1);
}

/* The refused transaction has changed nothing, and is given up with its connection. */
static void test_a_change_that_is_gone(void **state)
{
    (void)state;
    assert_int_equal(change_once(), 1);
    forget(1);
    assert_int_equal(change_once(), 2);
    assert_int_equal(change_runs(), 2);
    assert_int_equal(commits(), 2);
    assert_int_equal(fake_runs(&server, change_sql.text, 1), 1);
}

/* The second try is one, too: it is not sent a third time where it is lost. */
static void test_a_change_that_is_gone_and_then_lost(void **state)
{
    (void)state;
    assert_int_equal(change_once(), 1);
    forget(1);
    FAKE_RULE(&server, .type = 'E', .statement = "COMMIT", .event = FAKE_CLOSE, .times = INT32_MAX);
    assert_int_equal(change_once(), 0);
    assert_fails(503, true, "lost");
    assert_int_equal(change_runs(), 2);
    assert_int_equal(connections(), 2);
}

/* The table got another column since: the server wants it prepared again in a new session. */
static void test_columns_that_have_changed(void **state)
{
    (void)state;
    assert_int_equal(read_once(), 1);
    FAKE_RULE(&server, .type = 'B', .statement = "SELECT n", .event = FAKE_ERROR, .text = "0A000",
              .times = 1);
    assert_int_equal(read_once(), 2);
    assert_int_equal(read_runs(), 2);
    assert_int_equal(change_once(), 2);
    FAKE_RULE(&server, .type = 'B', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "0A000",
              .times = 1);
    assert_int_equal(change_once(), 3);
    assert_int_equal(change_runs(), 2);
    assert_int_equal(commits(), 2);
}

/* Columns that change each time are stale in a pooler: such a statement is sent as it is. */
static void test_columns_that_change_each_time(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'B', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "0A000",
              .times = 2);
    assert_int_not_equal(change_once(), 0);
    assert_int_equal(change_runs(), 1);
    assert_int_equal(commits(), 1);
    int before = parsed();
    assert_int_not_equal(change_once(), 0);
    assert_int_equal(parsed() - before, 3);
}

/* A server that refuses whatever is sent: there is an end. */
static void test_an_end_of_tries(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'P', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "0A000",
              .times = INT32_MAX);
    assert_int_equal(change_once(), 0);
    assert_int_equal(error.outcome_unknown, false);
    assert_int_equal(change_runs(), 0);
    assert_in_range(connections(), 1, 5);
}

/* The last two stop it for the whole process: a name that is taken is another client's, so the
 * pooler does not know of prepared statements. */
static void test_a_name_that_is_taken(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'P', .statement = "UPDATE n", .event = FAKE_ERROR, .text = "42P05",
              .times = 1);
    unit_stderr_begin();
    int connection = change_once();
    char *log = unit_stderr_end();
    assert_int_not_equal(connection, 0);
    assert_int_equal(change_runs(), 1);
    assert_int_equal(commits(), 1);
    assert_non_null(strstr(log, "prepared statements get lost"));
    free(log);
}

static void test_nothing_is_prepared_from_then_on(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(read_once(), 1);
    assert_int_equal(parsed(), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        prepared_test(test_each_is_prepared_once),
        prepared_test(test_a_new_connection_has_none),
        prepared_test(test_a_statement_without_a_name),
        prepared_test(test_a_read_that_is_gone),
        prepared_test(test_a_change_that_is_gone),
        prepared_test(test_a_change_that_is_gone_and_then_lost),
        prepared_test(test_columns_that_have_changed),
        prepared_test(test_columns_that_change_each_time),
        prepared_test(test_an_end_of_tries),
        prepared_test(test_a_name_that_is_taken),
        prepared_test(test_nothing_is_prepared_from_then_on),
    };
    alarm(300);
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
