/* SPDX-License-Identifier: MIT
 * db_cancel: connections that are given up while their server does not answer. */
#include "fake_server.h"
#include "fake_time.h"

#include "store/db.h"
#include "store/db_cancel.h"
#include "store/db_connect.h"

#include <sched.h>

static struct fake_server server;
static struct conf_database conf;
static struct db_servers servers;

static int begin(void **state)
{
    (void)state;
    fake_server_start(&server);
    conf = fake_conf(server.folder);
    servers = (struct db_servers){.conf = &conf};
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_server_stop(&server);
    return 0;
}

static PGconn *connected(void)
{
    struct error error = {0};
    PGconn *conn = db_connect(&servers, clock_ms() + 10000, &error);
    assert_non_null(conn);
    return conn;
}

/* Until the server has seen that all are closed; alarm(2) ends a test in which they are not. */
static void wait_until_closed(void)
{
    while (fake_open(&server) > 0)
        sched_yield();
}

/* The statement is cancelled before its connection is closed: a pooler finds it by that. */
static void test_the_statement_is_cancelled(void **state)
{
    (void)state;
    PQfinish(connected());
    db_cancel(connected());
    assert_true(db_settle(clock_ms() + 600000));
    assert_int_equal(fake_number(&server, &server.cancels), 1);
    assert_int_equal(fake_number(&server, &server.cancelled), 2);
    assert_int_equal(fake_number(&server, &server.cancels_while_open), 1);
    wait_until_closed();
}

/* A server that answers nothing delays nobody; of many statements only some are cancelled, and
 * all connections are closed. */
static void test_many_at_a_server_that_hangs(void **state)
{
    PGconn *conns[30];
    (void)state;
    for (size_t i = 0; i < COUNT(conns); i++)
        conns[i] = connected();
    pthread_mutex_lock(&server.lock); /* the server's thread stands still */
    for (size_t i = 0; i < COUNT(conns); i++)
        db_cancel(conns[i]);
    assert_false(db_settle(clock_ms()));
    pthread_mutex_unlock(&server.lock);
    assert_true(db_settle(clock_ms() + 600000));
    assert_in_range(fake_number(&server, &server.cancels), 1, COUNT(conns) - 1);
    wait_until_closed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_statement_is_cancelled, begin, end),
        cmocka_unit_test_setup_teardown(test_many_at_a_server_that_hangs, begin, end),
    };
    alarm(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
