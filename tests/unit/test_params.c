/* SPDX-License-Identifier: MIT
 * The parameters of queries and of bodies, and what is refused. */
#include "unit.h"

#include "http/params.h"

#include <json-c/json.h>
#include <stdbool.h>

#define ALL                                                                                        \
    (PARAM(PARAM_N) | PARAM(PARAM_LAST_JOB) | PARAM(PARAM_STATES) | PARAM(PARAM_REASON) |          \
     PARAM(PARAM_DRY_RUN) | PARAM(PARAM_ACTION_ID))

static struct params params;

static bool read_both(unsigned allowed, const char *query, const char *body, struct error *error)
{
    params_free(&params);
    *error = (struct error){0};
    return params_read_query(&params, allowed, query, error) &&
           params_read_body(&params, allowed, body, strlen(body), error);
}

static void assert_good(const char *query, const char *body)
{
    struct error error;
    if (!read_both(ALL, query, body, &error))
        fail_msg("\"%s\", %s: %s", query, body, json_object_get_string(error.detail));
}

/* Refused with this code, and these words in the detail. */
static void assert_refused(unsigned allowed, const char *query, const char *body, const char *code,
                           const char *words)
{
    struct error error;
    if (read_both(allowed, query, body, &error))
        fail_msg("\"%s\", %s is accepted", query, body);
    assert_int_equal(error.status, 400);
    assert_string_equal(error.code, code);
    const char *detail = json_object_get_string(error.detail);
    if (!detail || !strstr(detail, words))
        fail_msg("\"%s\", %s: \"%s\" has no \"%s\"", query, body, detail, words);
    error_free(&error);
}

static void test_nothing_given(void **state)
{
    static const char *const queries[] = {"", "&", "&&&"};
    (void)state;
    for (size_t i = 0; i < COUNT(queries); i++) {
        assert_good(queries[i], "");
        assert_int_equal(params.given, 0);
        assert_int_equal(params.n, 100);
        assert_false(params.last.given || params.action_id.given || params.dry_run);
        assert_int_equal(params.states, 0);
        assert_null(params.reason);
    }
    assert_good("", "{}");
    assert_int_equal(params.given, 0);
}

static void test_each_in_the_query(void **state)
{
    (void)state;
    assert_good("n=7&last=9223372036854775807&status=failed,paused&reason=a+b%20c&dry_run=true"
                "&action_id=1",
                "");
    assert_int_equal(params.n, 7);
    assert_int_equal(params.last.value, INT64_MAX);
    assert_int_equal(params.states, 1U << MIGRATION_FAILED | 1U << MIGRATION_PAUSED);
    assert_string_equal(params.reason, "a b c");
    assert_true(params.dry_run);
    assert_int_equal(params.action_id.value, 1);
    assert_good("dry_run=false", "");
    assert_false(params.dry_run);
}

static void test_each_in_the_body(void **state)
{
    (void)state;
    assert_good("", "{\"reason\": \"a \\u00e9\", \"dry_run\": true, \"action_id\": 12}");
    assert_string_equal(params.reason, "a \xC3\xA9");
    assert_true(params.dry_run);
    assert_int_equal(params.action_id.value, 12);
    assert_good("reason=r", " {\"dry_run\" : false}\r\n");
    assert_string_equal(params.reason, "r");
    assert_false(params.dry_run);
}

static void test_decoding(void **state)
{
    (void)state;
    assert_good("%72eason=%c3%A9%2b%26%3D", "");
    assert_string_equal(params.reason, "\xC3\xA9+&=");
    /* What is no escape stands for itself. */
    assert_good("reason=%zz%4g%", "");
    assert_string_equal(params.reason, "%zz%4g%");
    assert_good("reason=a=b=", "");
    assert_string_equal(params.reason, "a=b=");
}

static void test_unknown_names(void **state)
{
    static const char *const queries[] = {"N=1",   "x=1",  "=1",    "?n=1", "n%00=1",  "nn=1",
                                          "n;x=1", "_=17", "n=1&y", "+n=1", "except=6"};
    (void)state;
    for (size_t i = 0; i < COUNT(queries); i++)
        assert_refused(ALL, queries[i], "", "INVALID_QUERY_PARAMETER_NAME",
                       "allowed here: n, last, status");
    assert_refused(0, "n=1", "", "INVALID_QUERY_PARAMETER_NAME", "allowed here: none");
    assert_refused(PARAM(PARAM_DRY_RUN), "a%ff%0a=1", "", "INVALID_QUERY_PARAMETER_NAME",
                   "'a\xEF\xBF\xBD\n' query parameter is unknown; allowed here: dry_run");
}

static void test_given_twice(void **state)
{
    (void)state;
    assert_refused(ALL, "n=1&n=1", "", "INVALID_QUERY_PARAMETER_NAME", "'n' query parameter is");
    assert_refused(ALL, "reason=a&n=1&%72eason=b", "", "INVALID_QUERY_PARAMETER_NAME", "twice");
    assert_refused(ALL, "reason=a", "{\"reason\":\"a\"}", "INVALID_BODY",
                   "'reason' is given in the query, too");
    assert_refused(ALL, "", "{\"reason\":\"a\",\"reason\":\"a\"}", "INVALID_BODY",
                   "no member twice");
}

static void test_values_in_the_query(void **state)
{
    static const struct {
        const char *query;
        bool of_type;
        const char *words;
    } wrong[] = {
        {"n=x", true, "must be an integer"},
        {"n=1%00", true, "must be an integer"},
        {"n", true, "must be an integer"},
        {"n=0", false, "must be from 1 to 1000"},
        {"n=1001", false, "must be from 1 to 1000"},
        {"action_id=x", true, "must be an integer"},
        {"action_id=0", false, "must be an action's id"},
        {"action_id=9223372036854775808", false, "must be an action's id"},
        {"dry_run=1", false, "must be true or false"},
        {"dry_run=TRUE", false, "must be true or false"},
        {"dry_run", false, "must be true or false"},
        {"status=", false, "one or several of paused, active"},
        {"status=failed,", false, "one or several"},
        {"status=failed,nope", false, "one or several"},
        {"status=Failed", false, "one or several"},
        {"reason=", false, "1 to 500 characters"},
        {"reason=a%00b", false, "1 to 500 characters"},
        {"reason=a%0Ab", false, "1 to 500 characters"},
        {"reason=%7F", false, "1 to 500 characters"},
        {"reason=%C2%85", false, "1 to 500 characters"},
        {"reason=%FF", false, "1 to 500 characters"},
        {"reason=%ED%A0%80", false, "1 to 500 characters"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_refused(ALL, wrong[i].query, "",
                       wrong[i].of_type ? "INVALID_QUERY_PARAMETER_TYPE"
                                        : "INVALID_QUERY_PARAMETER_VALUE",
                       wrong[i].words);
}

/* What is allowed, word for word. */
static void test_what_is_allowed(void **state)
{
    static const struct {
        enum param param;
        const char *query;
        const char *detail;
    } wrong[] = {
        {PARAM_N, "n=0", "the 'n' query parameter must be from 1 to 1000"},
        {PARAM_LAST_JOB, "last=0",
         "the 'last' query parameter must be a job's id, from 1 to 9223372036854775807"},
        {PARAM_LAST_ACTION, "last=0",
         "the 'last' query parameter must be an action's id, from 1 to 9223372036854775807"},
        {PARAM_STATES, "status=x",
         "the 'status' query parameter must be one or several of paused, active, finished, failed, "
         "running, with a comma between"},
        {PARAM_JOB_STATUS, "status=x",
         "the 'status' query parameter must be one of active, finished, failed"},
        {PARAM_REASON, "reason=",
         "the 'reason' query parameter must be 1 to 500 characters of UTF-8 without control "
         "characters"},
        {PARAM_DRY_RUN, "dry_run=x", "the 'dry_run' query parameter must be true or false"},
        {PARAM_ACTION_ID, "action_id=0",
         "the 'action_id' query parameter must be an action's id, from 1 to 9223372036854775807"},
    };
    (void)state;
    assert_int_equal(COUNT(wrong), PARAM_COUNT);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct error error;
        assert_false(read_both(PARAM(wrong[i].param), wrong[i].query, "", &error));
        assert_string_equal(json_object_get_string(error.detail), wrong[i].detail);
        error_free(&error);
    }
}

/* Characters are counted, not bytes. */
static void test_length_of_a_reason(void **state)
{
    char query[4096];
    (void)state;
    for (size_t count = 499; count <= 501; count++) {
        struct error error;
        char *end = stpcpy(query, "reason=");
        for (size_t i = 0; i < count; i++)
            end = stpcpy(end, "\xF0\x9F\x90\x98");
        assert_int_equal(read_both(ALL, query, "", &error), count <= 500);
        error_free(&error);
    }
}

static void test_bodies_that_are_refused(void **state)
{
    static const struct {
        const char *body;
        const char *words;
    } wrong[] = {
        {" ", "must be empty or one JSON object"},
        {"null", "must be empty or one JSON object"},
        {"[]", "must be empty or one JSON object"},
        {"\"reason\"", "must be empty or one JSON object"},
        {"reason=x", "must be empty or one JSON object"},
        {"{", "must be empty or one JSON object"},
        {"{}{}", "must be empty or one JSON object"},
        {"{}x", "must be empty or one JSON object"},
        {"{'reason':'x'}", "must be empty or one JSON object"},
        {"{\"reason\":\"\xFF\"}", "must be empty or one JSON object"},
        {"{\"reason\":\"a\\u0000\"}", "must be empty or one JSON object"},
        {"{\"reason\":\"\\ud800\"}", "must be empty or one JSON object"},
        {"{\"action_id\":9223372036854775808}", "must be empty or one JSON object"},
        {"{\"Reason\":\"x\"}", "an unknown member; allowed here: n, last"},
        {"{\"reason\":\"x\",\"except\":[6]}", "an unknown member"},
        {"{\"reason\":null}", "the member 'reason' must be a string"},
        {"{\"reason\":7}", "the member 'reason' must be a string"},
        {"{\"reason\":\"\"}", "the member 'reason' must be 1 to 500 characters"},
        {"{\"reason\":\"a\\nb\"}", "the member 'reason' must be 1 to 500 characters"},
        {"{\"dry_run\":1}", "the member 'dry_run' must be a boolean"},
        {"{\"dry_run\":\"true\"}", "the member 'dry_run' must be a boolean"},
        {"{\"action_id\":\"7\"}", "the member 'action_id' must be an integer"},
        {"{\"action_id\":7.0}", "the member 'action_id' must be an integer"},
        {"{\"action_id\":0}", "the member 'action_id' must be an action's id"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_refused(ALL, "", wrong[i].body, "INVALID_BODY", wrong[i].words);
    assert_refused(PARAM(PARAM_DRY_RUN), "", "{\"reason\":\"x\"}", "INVALID_BODY",
                   "allowed here: dry_run");
}

/* As deep as a body can be. */
static void test_deep_bodies(void **state)
{
    char body[PARAMS_BODY_SIZE + 1] = {0};
    (void)state;
    memset(body, '[', PARAMS_BODY_SIZE);
    assert_refused(ALL, "", body, "INVALID_BODY", "must be empty or one JSON object");
}

static int tear_down(void **state)
{
    (void)state;
    params_free(&params);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_given),       cmocka_unit_test(test_each_in_the_query),
        cmocka_unit_test(test_each_in_the_body),    cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_unknown_names),       cmocka_unit_test(test_given_twice),
        cmocka_unit_test(test_values_in_the_query), cmocka_unit_test(test_what_is_allowed),
        cmocka_unit_test(test_length_of_a_reason),  cmocka_unit_test(test_bodies_that_are_refused),
        cmocka_unit_test(test_deep_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
