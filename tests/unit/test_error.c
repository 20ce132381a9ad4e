/* SPDX-License-Identifier: MIT
 * The contract's table of errors, row by row. */
#include "unit.h"

#include "base/error.h"

#include <json-c/json.h>

/* The answer's body is exactly this text; the error is released. */
static void assert_error(struct error *error, int status, const char *body)
{
    struct json_object *json = error_body(error);
    assert_int_equal(error->status, status);
    assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE),
                        body);
    json_object_put(json);
    error_free(error);
    assert_int_equal(error->status, 0);
    assert_null(error->detail);
}

static void test_not_found(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_not_found(&error));
    assert_error(&error, 404,
                 "{\"errors\":[{\"code\":\"NOT_FOUND\",\"message\":\"no such route\"}]}");
}

static void test_method(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_method(&error));
    assert_error(&error, 405,
                 "{\"errors\":[{\"code\":\"UNSUPPORTED\","
                 "\"message\":\"The operation is unsupported.\"}]}");
}

static void test_id_invalid(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_id_invalid(&error));
    assert_error(&error, 400,
                 "{\"errors\":[{\"code\":\"BBM_ID_INVALID\","
                 "\"message\":\"provided BBM Id is invalid\","
                 "\"detail\":\"the id must be an integer from 1 to 9223372036854775807\"}]}");
}

static void test_id_not_found(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_id_not_found(&error, 7));
    assert_error(&error, 404,
                 "{\"errors\":[{\"code\":\"BBM_ID_NOT_FOUND\","
                 "\"message\":\"provided BBM Id has not been found\","
                 "\"detail\":\"BBM with ID 7 not found\"}]}");
    assert_false(error_id_not_found(&error, INT64_MAX));
    assert_error(&error, 404,
                 "{\"errors\":[{\"code\":\"BBM_ID_NOT_FOUND\","
                 "\"message\":\"provided BBM Id has not been found\","
                 "\"detail\":\"BBM with ID 9223372036854775807 not found\"}]}");
}

static void test_state_conflict(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_state_conflict(&error, INT64_MAX, "finished", "no action is possible"));
    assert_error(
        &error, 409,
        "{\"errors\":[{\"code\":\"BBM_STATE_CONFLICT\","
        "\"message\":\"the migration's state does not allow this\","
        "\"detail\":\"BBM with ID 9223372036854775807 is finished; no action is possible\"}]}");
}

/* The reason is for the log alone. */
static void test_held(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_held(&error, "%d migrations", 3));
    assert_int_equal(error.retry_after, 30);
    assert_string_equal(error.reason, "3 migrations");
    assert_error(&error, 503,
                 "{\"errors\":[{\"code\":\"BBM_HELD\","
                 "\"message\":\"a worker's run holds the migration\"}]}");
}

/* Bytes of a client may stand in the detail. */
static void test_names_and_bodies(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_parameter_name(&error, "no '%s'", "a\xFF"));
    assert_error(&error, 400,
                 "{\"errors\":[{\"code\":\"INVALID_QUERY_PARAMETER_NAME\","
                 "\"message\":\"invalid query parameter name\","
                 "\"detail\":\"no 'a\xEF\xBF\xBD'\"}]}");
    assert_false(error_invalid_body(&error, "no %s", "object"));
    assert_error(&error, 400,
                 "{\"errors\":[{\"code\":\"INVALID_BODY\","
                 "\"message\":\"invalid request body\",\"detail\":\"no object\"}]}");
}

/* The detail names the parameter and says what is allowed. */
static void test_parameters(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_parameter_type(&error, "n", "an integer"));
    assert_error(&error, 400,
                 "{\"errors\":[{\"code\":\"INVALID_QUERY_PARAMETER_TYPE\","
                 "\"message\":\"invalid query parameter value type\","
                 "\"detail\":\"the 'n' query parameter must be an integer\"}]}");
    assert_false(error_parameter_value(&error, "status", "one of active, finished, failed"));
    assert_error(&error, 400,
                 "{\"errors\":[{\"code\":\"INVALID_QUERY_PARAMETER_VALUE\","
                 "\"message\":\"invalid query parameter value\","
                 "\"detail\":\"the 'status' query parameter must be "
                 "one of active, finished, failed\"}]}");
}

static void test_unauthorized(void **state)
{
    struct error error;
    struct json_object *detail = json_object_new_array();
    (void)state;
    json_object_array_add(detail, json_object_new_string("asked"));
    assert_false(error_unauthorized(&error, detail));
    assert_ptr_equal(error.detail, detail);
    assert_error(&error, 401,
                 "{\"errors\":[{\"code\":\"UNAUTHORIZED\","
                 "\"message\":\"authentication required\",\"detail\":[\"asked\"]}]}");
}

static void test_too_large(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_too_large(&error));
    struct json_object *json = error_body(&error);
    assert_int_equal(error.status, 413);
    assert_string_equal(error.code, "SIZE_INVALID");
    assert_true(strlen(error.message) > 0);
    json_object_put(json);
    error_free(&error);
}

/* The reason goes to the log and stays out of the answer. */
static void test_unavailable(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_unavailable(&error, "no connection to %s within %d ms", "db1", 5));
    assert_string_equal(error.reason, "no connection to db1 within 5 ms");
    assert_error(&error, 503,
                 "{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"service unavailable\"}]}");
    assert_string_equal(error.reason, "");
}

static void test_reason_is_one_line(void **state)
{
    (void)state;
    struct error error = {0};
    error_unavailable(&error, "%s", "\n refused\n\tIs the server\r\n running? \n");
    assert_string_equal(error.reason, "refused Is the server running?");
    error_unknown(&error, "%s", " \n");
    assert_string_equal(error.reason, "");
}

static void test_remedy(void **state)
{
    (void)state;
    char text[1000];
    struct error error = {0};
    error_unavailable(&error, "refused");
    error_remedy(&error, "check the name");
    assert_string_equal(error.reason, "refused; check the name");
    assert_string_equal(error.remedy, "check the name");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_unavailable(&error, "%s", text);
    error_remedy(&error, "check the name");
    assert_int_equal(strlen(error.reason), sizeof error.reason - 1);
    assert_non_null(strstr(error.reason, "xxx; check the name"));
}

static void test_unknown(void **state)
{
    struct error error;
    (void)state;
    assert_false(error_unknown(&error, "relation \"%s\" does not exist", "secret"));
    assert_string_equal(error.reason, "relation \"secret\" does not exist");
    assert_error(&error, 500,
                 "{\"errors\":[{\"code\":\"UNKNOWN\",\"message\":\"unknown error\"}]}");
}

static void test_long_reason_is_cut(void **state)
{
    static char reason[1000];
    struct error error;
    (void)state;
    memset(reason, 'x', sizeof reason - 1);
    error_unknown(&error, "%s", reason);
    assert_int_equal(strlen(error.reason), sizeof error.reason - 1);
    error_free(&error);
}

/* An error whose detail is lost has no body. */
static void test_lost_detail(void **state)
{
    struct error error;
    (void)state;
    error_id_not_found(&error, 1);
    error_set_detail(&error, NULL);
    assert_null(error_body(&error));
    error_free(&error);
}

/* The body may outlive the error, and the error the body. */
static void test_ownership(void **state)
{
    struct error error;
    (void)state;
    error_id_not_found(&error, 1);
    struct json_object *one = error_body(&error);
    struct json_object *two = error_body(&error);
    json_object_put(one);
    error_free(&error);
    assert_non_null(strstr(json_object_to_json_string(two), "BBM with ID 1 not found"));
    json_object_put(two);
    error_free(&error); /* twice does no harm */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_method),
        cmocka_unit_test(test_id_invalid),
        cmocka_unit_test(test_id_not_found),
        cmocka_unit_test(test_state_conflict),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_names_and_bodies),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_unauthorized),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_unavailable),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_long_reason_is_cut),
        cmocka_unit_test(test_lost_detail),
        cmocka_unit_test(test_ownership),
        cmocka_unit_test(test_reason_is_one_line),
        cmocka_unit_test(test_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
