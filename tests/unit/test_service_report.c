/* SPDX-License-Identifier: MIT
 * What is recorded of an answered request (http/service_report.c): the level of its line, a write's
 * outcome, and that a flood of refusals is only counted. */
#include "services.h"

static struct refusal_log *refusals;

static int setup(void **state)
{
    refusals = refusal_log_new();
    assert_non_null(refusals);
    services_setup(state);
    x.refusal_log = refusals;
    return 0;
}

static int teardown(void **state)
{
    unit_stderr_begin(); /* it logs its sums */
    refusal_log_free(refusals);
    free(unit_stderr_end());
    return services_teardown(state);
}

/* The line that reporting writes at a level of the log, "" for none. Freed by the next call. */
static const char *reported(enum log_level level)
{
    static char *line;
    free(line);
    log_setup(level, LOG_JSON);
    unit_stderr_begin();
    service_report(&x);
    line = unit_stderr_end();
    return line;
}

static void assert_level(const char *name)
{
    char expected[32];
    snprintf(expected, sizeof expected, "\"level\":\"%s\"", name);
    const char *line = reported(LOG_DEBUG);
    if (!strstr(line, expected))
        fail_msg("not %s: %s", name, line);
}

static void assert_logs(const char *expected)
{
    const char *line = reported(LOG_DEBUG);
    if (!strstr(line, expected))
        fail_msg("%s: not in %s", expected, line);
}

static void assert_lacks(const char *unexpected)
{
    const char *line = reported(LOG_DEBUG);
    if (strstr(line, unexpected))
        fail_msg("%s: in %s", unexpected, line);
}

static void be(const struct route *route, int status)
{
    error_free(&x.call.error);
    x.match.route = route;
    x.match.pattern = route ? route->pattern : NULL;
    reply.response.status = status;
    if (status >= 400)
        x.call.error = (struct error){.status = status, .code = "CODE"};
}

/* ---- levels ---- */

static void test_levels(void **state)
{
    (void)state;
    be(&services_read, 200);
    assert_level("info");
    be(&services_read, 304);
    assert_level("info");
    be(&services_open, 200); /* probes and scrapes */
    assert_level("debug");
    be(&services_open, 503);
    assert_level("error");
    be(&services_read, 404);
    assert_level("warning");
    be(NULL, 404);
    assert_level("warning");
    be(&services_read, 500);
    assert_level("error");
}

/* A write has its line at every level of the log, whatever came of it. */
static void test_writes_are_always_logged(void **state)
{
    static const int statuses[] = {200, 400, 401, 404, 409, 500, 503};
    (void)state;
    for (size_t i = 0; i < COUNT(statuses); i++) {
        be(&services_write, statuses[i]);
        assert_non_null(strstr(reported(LOG_ERROR), "\"msg\":\"write\""));
    }
    be(&services_read, 200);
    assert_string_equal(reported(LOG_ERROR), "");
    be(&services_read, 404);
    assert_string_equal(reported(LOG_ERROR), "");
}

/* ---- outcomes ---- */

static void assert_outcome(const char *outcome)
{
    char sample[96];
    char field[64];
    snprintf(sample, sizeof sample, "bbm_fcgi_writes_total{outcome=\"%s\"}", outcome);
    snprintf(field, sizeof field, "\"outcome\":\"%s\"", outcome);
    long before = metric(sample);
    assert_logs(field);
    assert_int_equal(metric(sample), before + 1);
}

static void test_outcomes(void **state)
{
    (void)state;
    be(&services_write, 200);
    assert_outcome(metrics_write_name(METRICS_WRITE_DONE));
    be(&services_write, 409);
    assert_outcome(metrics_write_name(METRICS_WRITE_REFUSED));
    be(&services_write, 503);
    assert_outcome(metrics_write_name(METRICS_WRITE_FAILED));
    x.call.error.outcome_unknown = true;
    assert_outcome(metrics_write_name(METRICS_WRITE_UNKNOWN));
    be(&services_read, 200);
    assert_lacks("\"outcome\"");
}

/* The change was made, but the answer could not be written down: nobody was told. */
static void test_answer_that_was_lost(void **state)
{
    (void)state;
    be(&services_write, 503);
    x.call.error = (struct error){0};
    assert_outcome(metrics_write_name(METRICS_WRITE_UNKNOWN));
    /* A dry run and a read change nothing. */
    x.call.error = (struct error){0};
    x.call.params.dry_run = true;
    assert_logs("\"outcome\":\"failed\"");
    be(&services_read, 503);
    x.call.error = (struct error){0};
    assert_logs("\"error\":\"UNAVAILABLE\"");
    assert_false(x.call.error.outcome_unknown);
}

/* What would be is no write. */
static void test_dry_run_is_not_counted(void **state)
{
    (void)state;
    be(&services_write, 200);
    x.call.params.dry_run = true;
    long before = metric("bbm_fcgi_writes_total{outcome=\"done\"}");
    assert_logs("\"dry_run\":true");
    assert_int_equal(metric("bbm_fcgi_writes_total{outcome=\"done\"}"), before);
}

/* ---- floods ---- */

static void test_flood_of_refusals(void **state)
{
    (void)state;
    be(&services_read, 401);
    for (int i = 0; i < REFUSAL_LOG_LINES; i++)
        assert_string_not_equal(reported(LOG_INFO), "");
    assert_string_equal(reported(LOG_INFO), "");
    /* Another address, and another reason, have lines of their own. */
    x.request.remote_addr = "::2";
    assert_string_not_equal(reported(LOG_INFO), "");
    x.request.remote_addr = "::1";
    snprintf(x.call.error.reason, sizeof x.call.error.reason, "another reason");
    assert_string_not_equal(reported(LOG_INFO), "");
}

/* Of all that is counted, only refusals are left out of the log. */
static void test_no_flood_of_others(void **state)
{
    static const struct {
        const struct route *route;
        int status;
    } cases[] = {{&services_read, 200},  {&services_read, 503},  {&services_read, 500},
                 {&services_write, 401}, {&services_write, 404}, {&services_write, 200}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        be(cases[i].route, cases[i].status);
        for (int j = 0; j < REFUSAL_LOG_LINES + 5; j++)
            assert_string_not_equal(reported(LOG_INFO), "");
    }
}

/* A refusal that the log's level leaves out is not counted: no sum of lines that never were. */
static void test_flood_that_is_not_logged(void **state)
{
    (void)state;
    be(&services_read, 401);
    for (int i = 0; i < REFUSAL_LOG_LINES + 5; i++)
        assert_string_equal(reported(LOG_ERROR), "");
    assert_string_not_equal(reported(LOG_INFO), "");
}

/* ---- counters and fields ---- */

static void test_counters(void **state)
{
    long accepted = metric("bbm_fcgi_tokens_total{verdict=\"accepted\"}");
    const char *sample = "bbm_fcgi_requests_total{route=\"r\",method=\"GET\",status=\"200\"}";
    long requests = metric(sample);
    (void)state;
    be(&services_read, 200);
    reported(LOG_ERROR);
    assert_int_equal(metric(sample), requests + 1);
    assert_int_equal(metric("bbm_fcgi_tokens_total{verdict=\"accepted\"}"), accepted);
    x.accepted = true;
    reported(LOG_ERROR);
    assert_int_equal(metric("bbm_fcgi_tokens_total{verdict=\"accepted\"}"), accepted + 1);
}

static void test_fields_of_a_write(void **state)
{
    (void)state;
    be(&services_write, 200);
    x.request.method = "POST";
    snprintf(x.request.idempotency_key, sizeof x.request.idempotency_key, "key");
    snprintf(x.token.subject, sizeof x.token.subject, "alice");
    snprintf(x.token.id, sizeof x.token.id, "jti");
    x.call.changed = json_object_new_array();
    x.call.action_id = (struct opt_int64){true, 42};
    x.call.repeated = true;
    x.call.params.reason = strdup("disk is full");
    assert_logs("\"correlation_id\":\"abc\",\"idempotency_key\":\"key\",\"method\":\"POST\","
                "\"path\":\"/r\",\"status\":200,");
    assert_logs("\"remote_ip\":\"::1\",\"subject\":\"alice\",\"token_id\":\"jti\","
                "\"outcome\":\"done\",\"changed\":[],\"action_id\":42,\"repeated\":true,"
                "\"reason\":\"disk is full\"}");
    /* Where it failed, `reason` says why, and the caller's has a name of its own. */
    be(&services_write, 503);
    snprintf(x.call.error.reason, sizeof x.call.error.reason, "no database");
    assert_logs("\"reason\":\"no database\",\"given_reason\":\"disk is full\"");
}

/* What a refused token claims is shown as a claim. */
static void test_fields_of_a_refused_token(void **state)
{
    (void)state;
    be(&services_read, 401);
    snprintf(reply.refusal.subject, sizeof reply.refusal.subject, "mallory\"}\n");
    assert_logs("\"claimed_subject\":\"mallory\\\"}\\u000a\"}");
    assert_lacks("\"subject\"");
    assert_lacks("idempotency_key");
}

#define REPORT_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(test_levels),
        REPORT_TEST(test_writes_are_always_logged),
        REPORT_TEST(test_outcomes),
        REPORT_TEST(test_answer_that_was_lost),
        REPORT_TEST(test_dry_run_is_not_counted),
        REPORT_TEST(test_flood_of_refusals),
        REPORT_TEST(test_no_flood_of_others),
        REPORT_TEST(test_flood_that_is_not_logged),
        REPORT_TEST(test_counters),
        REPORT_TEST(test_fields_of_a_write),
        REPORT_TEST(test_fields_of_a_refused_token),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
