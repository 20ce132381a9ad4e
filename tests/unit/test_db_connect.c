/* SPDX-License-Identifier: MIT
 * db_connect: of several servers, which one is connected to, in what time, and which failure is
 * reported. */
#include "fake_server.h"
#include "fake_time.h"

#include "base/log.h"
#include "store/db_connect.h"

/* The first host of the configuration, and the second. */
static struct fake_server first;
static struct fake_server second;
static char hosts[300];
static struct conf_database conf;
static struct db_servers servers;
static struct error error;

/* Where `first_is_there`, both servers run; else only the second does. */
static void begin_with(bool first_is_there)
{
    if (first_is_there)
        fake_server_start(&first);
    else
        fake_server_init(&first);
    fake_server_start(&second);
    snprintf(hosts, sizeof hosts, "%s,%s", first.folder, second.folder);
    conf = fake_conf(hosts);
    servers = (struct db_servers){.conf = &conf};
}

static int begin(void **state)
{
    (void)state;
    begin_with(true);
    return 0;
}

static int begin_without_first(void **state)
{
    (void)state;
    begin_with(false);
    return 0;
}

static int end(void **state)
{
    (void)state;
    error_free(&error);
    fake_server_stop(&first);
    fake_server_stop(&second);
    return 0;
}

#define both_test(test)   cmocka_unit_test_setup_teardown(test, begin, end)
#define second_test(test) cmocka_unit_test_setup_teardown(test, begin_without_first, end)

static bool connects(int64_t time_ms)
{
    PGconn *conn = db_connect(&servers, clock_ms() + time_ms, &error);
    bool good = conn && PQstatus(conn) == CONNECTION_OK && PQisnonblocking(conn);
    PQfinish(conn);
    assert_int_equal(good, error.status == 0);
    return good;
}

static void assert_fails(const char *reason, const char *remedy)
{
    assert_false(connects(10000));
    assert_int_equal(error.status, 503);
    assert_false(error.outcome_unknown);
    if (!strstr(error.reason, reason) || !error.remedy || !strstr(error.remedy, remedy))
        fail_msg("the reason is \"%s\", the remedy \"%s\"", error.reason,
                 error.remedy ? error.remedy : "");
    error_free(&error);
}

static int tried(struct fake_server *server)
{
    return fake_number(server, &server->accepted);
}

/* ---- which server ---- */

static void test_the_first_one(void **state)
{
    (void)state;
    assert_true(connects(10000));
    assert_int_equal(tried(&first), 1);
    assert_int_equal(tried(&second), 0);
}

/* The one that served last comes first, until it does not serve. */
static void test_the_one_that_served_last(void **state)
{
    (void)state;
    fake_set_standby(&first, "on");
    assert_true(connects(10000));
    assert_int_equal(tried(&first), 1);
    assert_true(connects(10000));
    assert_int_equal(tried(&first), 1);
    assert_int_equal(tried(&second), 2);
    fake_set_standby(&first, "off");
    fake_set_standby(&second, "on");
    assert_true(connects(10000));
    assert_int_equal(tried(&first), 2);
    assert_true(connects(10000));
    assert_int_equal(tried(&first), 3);
    assert_int_equal(tried(&second), 3);
}

static void test_a_host_without_a_server(void **state)
{
    (void)state;
    assert_true(connects(10000));
    assert_int_equal(tried(&second), 1);
}

/* The configuration names the primary beside the hosts. */
static void test_a_primary(void **state)
{
    (void)state;
    conf.primary = second.folder;
    assert_true(connects(10000));
    assert_int_equal(tried(&first), 0);
    assert_int_equal(tried(&second), 1);
}

static void test_no_primary(void **state)
{
    (void)state;
    fake_set_standby(&first, "on");
    fake_set_standby(&second, "on");
    assert_fails("read-only", "check database.user");
    assert_int_equal(tried(&first), 1);
    assert_int_equal(tried(&second), 1);
}

/* ---- time ---- */

/* A server that says nothing takes its own share of the time; the rest is the other's. */
static void test_each_has_its_share(void **state)
{
    (void)state;
    FAKE_RULE(&first, .type = FAKE_STARTUP, .event = FAKE_SILENCE, .times = 1, .elapses = 5001);
    int64_t began = clock_ms();
    assert_true(connects(10000));
    assert_int_equal(tried(&second), 1);
    pthread_mutex_lock(&second.lock);
    int64_t reached = second.last_startup;
    pthread_mutex_unlock(&second.lock);
    assert_in_range(reached - began, 5000, 10000);
}

static void test_a_limit_for_each(void **state)
{
    (void)state;
    conf.connect_timeout_ms = 1000;
    FAKE_RULE(&first, .type = FAKE_STARTUP, .event = FAKE_SILENCE, .times = 1, .elapses = 1001);
    FAKE_RULE(&second, .type = FAKE_STARTUP, .event = FAKE_SILENCE, .times = 1, .elapses = 1001);
    int64_t began = clock_ms();
    assert_false(connects(20000));
    assert_in_range(clock_ms() - began, 2000, 19999);
    assert_non_null(strstr(error.reason, "not in time"));
    assert_int_equal(tried(&second), 1);
}

/* A share is never more than there is. */
static void test_no_time(void **state)
{
    (void)state;
    assert_false(connects(-1));
    assert_int_equal(error.status, 503);
    assert_non_null(strstr(error.reason, "not in time"));
}

/* ---- which failure ---- */

static void test_nothing_is_there(void **state)
{
    (void)state;
    conf.host = first.folder;
    assert_fails("cannot connect", "check database.host and database.port");
}

/* The server that answered has more to say than the one that is not there, in any order. */
static void test_the_failure_that_came_furthest(void **state)
{
    (void)state;
    FAKE_RULE(&second, .type = FAKE_STARTUP, .event = FAKE_ERROR, .text = "28P01",
              .times = INT32_MAX);
    assert_fails("as the test says", "check database.user");
    snprintf(hosts, sizeof hosts, "%s,%s", second.folder, first.folder);
    assert_fails("as the test says", "check database.user");
    assert_int_equal(tried(&second), 2);
}

static void test_a_server_that_hangs_up(void **state)
{
    (void)state;
    conf.host = first.folder;
    FAKE_RULE(&first, .type = FAKE_STARTUP, .event = FAKE_CLOSE, .times = 1);
    assert_fails("cannot connect", "check database");
    assert_int_equal(tried(&first), 1);
}

/* Of many names an empty one, and one that is far too long. */
static void test_hostile_host_names(void **state)
{
    char name[2000];
    (void)state;
    name[0] = '/';
    memset(name + 1, 'x', sizeof name - 2);
    name[sizeof name - 1] = '\0';
    conf.host = name;
    assert_false(connects(10000));
    assert_int_equal(error.status, 503);
}

/* ---- encodings ---- */

/* A database without an encoding is read as it is; what is known of it is kept. */
static void test_a_database_without_an_encoding(void **state)
{
    (void)state;
    fake_set_encoding(&first, "SQL_ASCII");
    assert_true(connects(10000));
    assert_true(fake_asked_for(&first, "SQL_ASCII"));
    assert_int_equal(tried(&first), 2);
    assert_true(connects(10000));
    assert_true(fake_asked_for(&first, "SQL_ASCII"));
    assert_int_equal(tried(&first), 3);
    /* It was restored with one. */
    fake_set_encoding(&first, "UTF8");
    assert_true(connects(10000));
    assert_true(fake_asked_for(&first, "UTF8"));
}

static void test_a_database_that_was_found_untranslatable(void **state)
{
    (void)state;
    assert_true(connects(10000));
    assert_true(fake_asked_for(&first, "UTF8"));
    servers.untranslatable = true;
    assert_true(connects(10000));
    assert_true(fake_asked_for(&first, "SQL_ASCII"));
}

/* ---- notices ---- */

/* They go to the log, and not where libpq would print them. */
static void test_a_notice(void **state)
{
    (void)state;
    FAKE_RULE(&first, .type = 'E', .event = FAKE_NOTICE, .text = "01000", .times = 1);
    PGconn *conn = db_connect(&servers, clock_ms() + 10000, &error);
    assert_non_null(conn);
    unit_stderr_begin();
    PQclear(PQexecParams(conn, "SELECT", 0, NULL, NULL, NULL, NULL, 1));
    char *log = unit_stderr_end();
    PQfinish(conn);
    assert_non_null(strstr(log, "level=warn"));
    assert_non_null(strstr(log, "msg=\"database notice\""));
    assert_non_null(strstr(log, "sqlstate=\"01000\""));
    assert_ptr_equal(strchr(log, '\n'), log + strlen(log) - 1);
    free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        both_test(test_the_first_one),
        both_test(test_the_one_that_served_last),
        second_test(test_a_host_without_a_server),
        both_test(test_a_primary),
        both_test(test_no_primary),
        both_test(test_each_has_its_share),
        both_test(test_a_limit_for_each),
        both_test(test_no_time),
        second_test(test_nothing_is_there),
        second_test(test_the_failure_that_came_furthest),
        both_test(test_a_server_that_hangs_up),
        both_test(test_hostile_host_names),
        both_test(test_a_database_without_an_encoding),
        both_test(test_a_database_that_was_found_untranslatable),
        both_test(test_a_notice),
    };
    log_setup(LOG_INFO, LOG_TEXT);
    alarm(300);
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
