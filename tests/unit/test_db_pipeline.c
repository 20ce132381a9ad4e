/* SPDX-License-Identifier: MIT
 * db_pipeline: several steps with one round trip, and how they may end. */
#include "fake_server.h"
#include "fake_time.h"

#include "store/db_connect.h"
#include "store/db_pipeline.h"

static struct fake_server server;
static struct conf_database conf;
static PGconn *conn;
static struct db_answer answer;

static const struct sql one = {.name = "unit_one", .text = "SELECT 1"};
static const struct sql two = {.name = "unit_two", .text = "SELECT 2"};
static const struct sql three = {.name = "unit_three", .text = "SELECT 3"};

/* The second step prepares what others execute. */
static const struct db_step steps[] = {
    {DB_PLAIN, &one, NULL},   {DB_PREPARE, &two, NULL}, {DB_EXECUTE, &two, NULL},
    {DB_PLAIN, &three, NULL}, {DB_EXECUTE, &two, NULL},
};

static void clear(void)
{
    PQclear(answer.result);
    PQclear(answer.along);
    answer.result = answer.along = NULL;
}

static int begin(void **state)
{
    struct error error = {0};
    (void)state;
    fake_server_start(&server);
    conf = fake_conf(server.folder);
    struct db_servers servers = {.conf = &conf};
    conn = db_connect(&servers, clock_ms() + 10000, &error);
    return conn ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    clear();
    PQfinish(conn);
    fake_server_stop(&server);
    return 0;
}

#define pipeline_test(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* Sends the first `count` steps, of which the first `own` are the statement's. */
static enum db_pipeline_end run_along(int count, int own, int wanted)
{
    struct db_batch batch = {.count = count, .own = own, .wanted = wanted};
    memcpy(batch.steps, steps, sizeof steps);
    clear();
    memset(&answer, 0xA5, sizeof answer);
    return db_pipeline_run(conn, &batch, clock_ms() + 10000, &answer);
}

static enum db_pipeline_end run(int count, int wanted)
{
    enum db_pipeline_end end = run_along(count, count, wanted);
    if (end == DB_PIPELINE_ANSWERED)
        assert_int_equal(answer.done, answer.failed < 0 ? count : answer.failed);
    return end;
}

static int runs(const struct sql *sql)
{
    return fake_runs(&server, sql->text, 0);
}

/* The wanted step's result: rows, or none where the step prepares. */
static void test_each_step_may_be_wanted(void **state)
{
    (void)state;
    for (int wanted = 0; wanted < 5; wanted++) {
        assert_int_equal(run(5, wanted), DB_PIPELINE_ANSWERED);
        assert_int_equal(answer.failed, -1);
        assert_non_null(answer.result);
        assert_int_equal(PQresultStatus(answer.result),
                         wanted == 1 ? PGRES_COMMAND_OK : PGRES_TUPLES_OK);
        assert_int_equal(runs(&one), 1);
        assert_int_equal(runs(&two), 2);
        end(state);
        begin(state);
    }
}

/* One step needs no pipeline, and several leave none behind. */
static void test_the_connection_serves_on(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        bool alone = i % 2;
        assert_int_equal(alone ? run(1, 0) : run(1 + (i == 0), 0), DB_PIPELINE_ANSWERED);
        assert_int_equal(PQpipelineStatus(conn), PQ_PIPELINE_OFF);
        assert_int_equal(PQtransactionStatus(conn), PQTRANS_IDLE);
    }
    assert_int_equal(runs(&one), 6);
}

/* The first one that fails counts, whichever was wanted; those after it do not run. */
static void test_a_step_that_fails(void **state)
{
    const struct {
        char type;
        const struct sql *sql;
        int failed;
        int twos;
    } cases[] = {{'E', &one, 0, 0}, {'P', &two, 1, 0}, {'B', &two, 2, 0}, {'E', &three, 3, 1}};
    (void)state;
    for (int wanted = 0; wanted < 5; wanted += 2) {
        for (size_t i = 0; i < COUNT(cases); i++) {
            FAKE_RULE(&server, .type = cases[i].type, .statement = cases[i].sql->text,
                      .event = FAKE_ERROR, .text = "22012", .times = 1);
            assert_int_equal(run(5, wanted), DB_PIPELINE_ANSWERED);
            assert_int_equal(answer.failed, cases[i].failed);
            assert_string_equal(PQresultErrorField(answer.result, PG_DIAG_SQLSTATE), "22012");
            assert_int_equal(runs(&two), cases[i].twos);
            assert_int_equal(runs(&three), 0);
            assert_int_equal(run(1, 0), DB_PIPELINE_ANSWERED);
            assert_int_equal(answer.failed, -1);
            end(state);
            begin(state);
        }
    }
}

static void test_one_step_that_fails(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .event = FAKE_ERROR, .text = "22012", .times = 1);
    assert_int_equal(run(1, 0), DB_PIPELINE_ANSWERED);
    assert_int_equal(answer.failed, 0);
    assert_int_equal(run(1, 0), DB_PIPELINE_ANSWERED);
}

/* After each byte of the answers: there is a result only where all is there. */
static void test_a_connection_that_is_lost(void **state)
{
    static const int counts[] = {1, 5};
    for (size_t i = 0; i < COUNT(counts); i++) {
        enum db_pipeline_end ended = DB_PIPELINE_LOST;
        int after = 0;
        for (; ended == DB_PIPELINE_LOST; after++) {
            fake_cut(&server, 0, after);
            ended = run(counts[i], 0);
            assert_int_equal(answer.result != NULL, ended == DB_PIPELINE_ANSWERED);
            end(state);
            begin(state);
        }
        assert_int_equal(ended, DB_PIPELINE_ANSWERED);
        assert_in_range(after, 50, 1000);
    }
}

static void test_no_answer_in_time(void **state)
{
    static const char types[] = "EBS";
    for (size_t i = 0; types[i]; i++) {
        FAKE_RULE(&server, .type = types[i], .event = FAKE_SILENCE, .times = 1, .elapses = 10001);
        assert_int_equal(run(i == 1 ? 5 : 1, 0), DB_PIPELINE_LATE);
        assert_null(answer.result);
        end(state);
        begin(state);
    }
}

/* The server sends more than a socket takes, before it reads all that we send: either side waits
 * for the other where we do not read as we send. */
static void test_both_sides_send_much(void **state)
{
    static const struct sql much = {.text = "SELECT $1", .params = 1};
    size_t size = (size_t)16 * 1024 * 1024;
    char *text = malloc(size);
    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    text[size - 1] = '\0';
    const char *const params[] = {text};
    const struct db_batch batch = {
        .steps = {{DB_PLAIN, &one, NULL}, {DB_PLAIN, &much, params}}, .count = 2, .own = 2};
    FAKE_RULE(&server, .type = 'E', .statement = one.text, .event = FAKE_FLOOD, .times = 1);
    assert_int_equal(db_pipeline_run(conn, &batch, clock_ms() + 10000, &answer),
                     DB_PIPELINE_ANSWERED);
    assert_int_equal(answer.done, 2);
    free(text);
}

/* ---- what is sent along ---- */

/* The last step's result, and that of the statement before. */
static void test_along(void **state)
{
    (void)state;
    assert_int_equal(run_along(5, 4, 0), DB_PIPELINE_ANSWERED);
    assert_int_equal(answer.failed, -1);
    assert_int_equal(answer.done, 5);
    assert_int_equal(PQntuples(answer.result), 1);
    assert_int_equal(PQntuples(answer.along), 1);
    assert_int_equal(run(1, 0), DB_PIPELINE_ANSWERED);
}

/* Its failure is no failure of the statement; the statement's is its own. */
static void test_failures_along(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .statement = "SELECT 3", .event = FAKE_ERROR, .text = "22012",
              .times = 1);
    assert_int_equal(run_along(4, 3, 2), DB_PIPELINE_ANSWERED);
    assert_int_equal(answer.failed, -1);
    assert_int_equal(answer.done, 3);
    assert_int_equal(PQntuples(answer.result), 1);
    assert_null(answer.along);
    end(state);
    begin(state);
    FAKE_RULE(&server, .type = 'B', .statement = "SELECT 2", .event = FAKE_ERROR, .text = "22012",
              .times = 1);
    assert_int_equal(run_along(4, 3, 0), DB_PIPELINE_ANSWERED);
    assert_int_equal(answer.failed, 2);
    assert_int_equal(answer.done, 2);
    assert_string_equal(PQresultErrorField(answer.result, PG_DIAG_SQLSTATE), "22012");
    assert_null(answer.along);
}

/* Sends the statement with another one along, whose connection is lost after each byte: either the
 * statement is lost, or only what was sent along, or nothing. Returns how many bytes the statement
 * needs. */
static int lose_along_at_each_byte(void **state, int wanted)
{
    enum db_pipeline_end ended = DB_PIPELINE_LOST;
    int nothing = 0;
    int a_part = 0;
    for (int after = 0; ended == DB_PIPELINE_LOST; after++) {
        fake_cut(&server, 0, after);
        ended = run_along(4, 3, wanted);
        assert_int_equal(answer.along != NULL, ended == DB_PIPELINE_ANSWERED);
        nothing += !answer.result;
        a_part += answer.result && !answer.along;
        assert_true(answer.result || a_part == 0);
        end(state);
        begin(state);
    }
    assert_int_equal(ended, DB_PIPELINE_ANSWERED);
    assert_in_range(a_part, 10, 1000);
    return nothing;
}

/* All of its steps have to be answered, not only the one that is wanted: the last may be a COMMIT.
 */
static void test_a_connection_that_is_lost_along(void **state)
{
    int needs = lose_along_at_each_byte(state, 2);
    assert_in_range(needs, 50, 1000);
    assert_int_equal(lose_along_at_each_byte(state, 0), needs);
}

static void test_late_along(void **state)
{
    (void)state;
    FAKE_RULE(&server, .type = 'E', .statement = "SELECT 3", .event = FAKE_SILENCE, .times = 1,
              .elapses = 10001);
    assert_int_equal(run_along(4, 3, 2), DB_PIPELINE_LATE);
    assert_null(answer.along);
    assert_int_equal(PQntuples(answer.result), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        pipeline_test(test_each_step_may_be_wanted),
        pipeline_test(test_the_connection_serves_on),
        pipeline_test(test_a_step_that_fails),
        pipeline_test(test_one_step_that_fails),
        pipeline_test(test_a_connection_that_is_lost),
        pipeline_test(test_no_answer_in_time),
        pipeline_test(test_both_sides_send_much),
        pipeline_test(test_along),
        pipeline_test(test_failures_along),
        pipeline_test(test_a_connection_that_is_lost_along),
        pipeline_test(test_late_along),
    };
    alarm(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
