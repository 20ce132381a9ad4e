/* SPDX-License-Identifier: MIT
 *
 * db_server: what the tests of the database connection share: a server and a connection to it.
 */
#ifndef BBM_UNIT_DB_SERVER_H
#define BBM_UNIT_DB_SERVER_H

#include "fake_server.h"
#include "fake_time.h"

#include "store/db.h"
#include "store/sql.h"

#include <libpq-fe.h>

static struct fake_server server;
static struct conf_database conf;
static struct db *db;
static struct error error;

static const struct sql read_sql = {.name = "unit_read", .text = "SELECT n", .number = 0};
static const struct sql change_sql = {.name = "unit_change", .text = "UPDATE n", .number = 1};

static inline void begin_with(bool prepared)
{
    fake_server_start(&server);
    conf = fake_conf(server.folder);
    conf.prepared_statements = prepared;
    db = db_new(&conf);
    assert_non_null(db);
}

/* cmocka's setup and teardown of each test: nothing is prepared, or what is sent often. */
static inline int begin_plain(void **state)
{
    (void)state;
    begin_with(false);
    return 0;
}

static inline int begin_prepared(void **state)
{
    (void)state;
    begin_with(true);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    db_free(db);
    error_free(&error);
    /* Cancel requests may be under way, to the server. */
    bool settled = db_settle(clock_ms() + 600000);
    fake_server_stop(&server);
    return settled ? 0 : -1;
}

#define plain_test(test)    cmocka_unit_test_setup_teardown(test, begin_plain, end)
#define prepared_test(test) cmocka_unit_test_setup_teardown(test, begin_prepared, end)

/* Far off: a test that waits for it has failed, and alarm(2) ends it. */
static inline int64_t in_time(void)
{
    return clock_ms() + 10000;
}

/* The number of the connection that answered; 0: there is an error. */
static inline int answered_by(struct pg_result *result)
{
    if (!result)
        return 0;
    assert_int_equal(error.status, 0);
    assert_int_equal(PQntuples(result), 1);
    int connection = PQgetvalue(result, 0, 0)[7];
    PQclear(result);
    return connection;
}

static inline int read_once(void)
{
    return answered_by(db_read(db, &read_sql, NULL, in_time(), &error));
}

static inline int change_once(void)
{
    return answered_by(db_change(db, NULL, &change_sql, NULL, in_time(), &error));
}

static inline int read_runs(void)
{
    return fake_runs(&server, read_sql.text, 0);
}

static inline int change_runs(void)
{
    return fake_runs(&server, change_sql.text, 0);
}

static inline int commits(void)
{
    return fake_runs(&server, "COMMIT", 0);
}

static inline int connections(void)
{
    return fake_number(&server, &server.accepted);
}

/* The error is this one, and is freed. */
static inline void assert_fails(int status, bool outcome_unknown, const char *reason)
{
    assert_int_equal(error.status, status);
    assert_int_equal(error.outcome_unknown, outcome_unknown);
    if (!strstr(error.reason, reason))
        fail_msg("the reason is \"%s\"", error.reason);
    error_free(&error);
}

#endif
