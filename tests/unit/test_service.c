/* SPDX-License-Identifier: MIT
 * One request from its parameters to its answer (http/service.c): the order of judgement, and what
 * a handler is given. */
#include "asking.h"

/* ---- the order of judgement ---- */

/* Each of these is wrong in all that is judged later, too: without a token, and with a parameter
 * that no route takes. */

static void test_path_first(void **state)
{
    (void)state;
    seen.good = false;
    thread.store = NULL;
    assert_int_equal(
        ANSWER("REQUEST_METHOD=DELETE", "PATH_INFO=/v1/gitlab/nothing", "QUERY_STRING=bad=1"),
        SERVER_ANSWERED);
    assert_sent(404, "NOT_FOUND");
    assert_int_equal(seen.auth_calls, 0);
    assert_null(strstr(seen.headers, "Allow"));
}

static void test_then_the_method(void **state)
{
    (void)state;
    seen.good = false;
    thread.store = NULL;
    ANSWER("REQUEST_METHOD=DELETE", ONE, "QUERY_STRING=bad=1");
    assert_sent(405, "UNSUPPORTED");
    assert_int_equal(seen.auth_calls, 0);
    assert_non_null(strstr(seen.headers, "Allow: GET"));
}

/* Which methods there are is no secret. */
static void test_options_needs_no_token(void **state)
{
    (void)state;
    seen.good = false;
    thread.store = NULL;
    ANSWER("REQUEST_METHOD=OPTIONS", PAUSE, "QUERY_STRING=bad=1");
    assert_sent(204, "");
    assert_int_equal(seen.auth_calls, 0);
    assert_int_equal(seen.handler_calls, 0);
}

/* Who has no token does not learn which ids and parameters are valid. */
static void test_then_the_token(void **state)
{
    long accepted = metric(ACCEPTED);
    (void)state;
    seen.good = false;
    thread.store = NULL;
    ANSWER(GET, "PATH_INFO=/v1/gitlab/background-migrations/99999999999999999999/",
           "QUERY_STRING=bad=1", "HTTP_HOST=registry", "HTTP_AUTHORIZATION=Bearer a.b.c");
    assert_sent(401, "UNAUTHORIZED");
    assert_int_equal(seen.auth_calls, 1);
    assert_int_equal(seen.access, ACCESS_READ);
    assert_string_equal(seen.authorization, "Bearer a.b.c");
    assert_string_equal(seen.host, "registry");
    assert_non_null(strstr(seen.headers, "WWW-Authenticate: Bearer realm=\"r\"\r\n"));
    assert_int_equal(metric(ACCEPTED), accepted);
}

static void test_then_the_id(void **state)
{
    long accepted = metric(ACCEPTED);
    (void)state;
    thread.store = NULL;
    ANSWER(GET, "PATH_INFO=/v1/gitlab/background-migrations/99999999999999999999/",
           "QUERY_STRING=bad=1");
    assert_sent(400, "BBM_ID_INVALID");
    assert_int_equal(metric(ACCEPTED), accepted + 1);
}

static void test_then_the_parameters(void **state)
{
    (void)state;
    thread.store = NULL;
    ANSWER(GET, ONE, "QUERY_STRING=bad=1");
    assert_int_equal(seen.sent, 1);
    assert_int_equal(seen.status, 400);
    assert_int_equal(seen.handler_calls, 0);
}

/* The overload thread has no connection to the database. */
static void test_then_whether_a_thread_is_free(void **state)
{
    long rejected = metric(REJECTED);
    (void)state;
    thread.store = NULL;
    ANSWER(GET, ONE);
    assert_sent(503, "UNAVAILABLE");
    assert_non_null(strstr(seen.headers, "Retry-After: "));
    assert_int_equal(seen.handler_calls, 0);
    assert_int_equal(metric(REJECTED), rejected + 1);
}

static void test_what_needs_no_token_needs_no_free_thread(void **state)
{
    long accepted = metric(ACCEPTED);
    (void)state;
    seen.good = false;
    thread.store = NULL;
    ANSWER(GET, "PATH_INFO=/-/liveness");
    assert_sent(200, "");
    assert_int_equal(seen.handler_calls, 1);
    assert_null(seen.call.store);
    assert_int_equal(seen.auth_calls, 0);
    assert_int_equal(metric(ACCEPTED), accepted);
}

static void test_handler_last(void **state)
{
    (void)state;
    ANSWER(POST, "PATH_INFO=/v1/gitlab/restart/404");
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(seen.status, 404);
    assert_int_equal(seen.access, ACCESS_WRITE);
}

static void test_handler_fails(void **state)
{
    (void)state;
    ANSWER(POST, "PATH_INFO=/v1/gitlab/restart/1");
    assert_sent(503, "UNAVAILABLE");
    assert_non_null(strstr(seen.headers, "Retry-After: "));
}

/* ---- what a handler is given ---- */

static void test_call(void **state)
{
    int64_t then = clock_ms();
    (void)state;
    assert_int_equal(
        ANSWER(GET, ONE, "QUERY_STRING=n=5", "REMOTE_ADDR=::1", "HTTP_X_REQUEST_ID=abc"),
        SERVER_ANSWERED);
    assert_sent(200, "");
    assert_non_null(strstr(seen.headers, "X-Request-Id: abc\r\n"));
    assert_ptr_equal(seen.call.store, thread.store);
    assert_ptr_equal(seen.call.list_cache, service.list_cache);
    assert_int_equal(seen.call.id, 7);
    assert_int_equal(seen.call.params.n, 5);
    assert_string_equal(seen.path, "/v1/gitlab/background-migrations/7/");
    assert_in_range(seen.call.deadline, then + TIMEOUT_MS, clock_ms() + TIMEOUT_MS);
    assert_string_equal(seen.subject, "alice");
    assert_string_equal(seen.correlation_id, "abc");
    assert_string_equal(seen.remote_addr, "::1");
    assert_int_equal(seen.may_block, 1);
    assert_false(seen.head);
}

/* What the client itself gave marks a repeat: the key first, then the request's id; not an id that
 * is made here. */
static void test_correlation_id(void **state)
{
    (void)state;
    ANSWER(POST, PAUSE, "HTTP_X_REQUEST_ID=abc", "HTTP_IDEMPOTENCY_KEY=key");
    assert_string_equal(seen.correlation_id, "key");
    assert_true(seen.call.caller.may_be_repeat);
    ANSWER(POST, PAUSE, "HTTP_X_REQUEST_ID=abc");
    assert_string_equal(seen.correlation_id, "abc");
    assert_true(seen.call.caller.may_be_repeat);
    ANSWER(POST, PAUSE);
    assert_int_equal(strlen(seen.correlation_id), 32);
    assert_false(seen.call.caller.may_be_repeat);
}

static void test_head(void **state)
{
    (void)state;
    ANSWER("REQUEST_METHOD=HEAD", ONE);
    assert_sent(200, "");
    assert_true(seen.head);
    assert_int_equal(seen.handler_calls, 1);
}

/* ---- bodies ---- */

/* The request is judged again, with its token, when the body has come; it is counted once. */
static void test_body_comes_later(void **state)
{
    static const char body[] = "{\"reason\":\"disk is full\"}";
    long accepted = metric(ACCEPTED);
    (void)state;
    fcgi->body_state = SERVER_BODY_MORE;
    assert_int_equal(ANSWER(POST, PAUSE, "QUERY_STRING=dry_run=true", "CONTENT_LENGTH=25"),
                     SERVER_NEEDS_BODY);
    assert_int_equal(fcgi->body_wanted, sizeof body - 1);
    assert_int_equal(seen.sent, 0);
    assert_int_equal(seen.handler_calls, 0);
    fcgi->body = body;
    fcgi->body_len = sizeof body - 1;
    assert_int_equal(ANSWER(POST, PAUSE, "QUERY_STRING=dry_run=true", "CONTENT_LENGTH=25"),
                     SERVER_ANSWERED);
    assert_sent(200, "");
    assert_string_equal(seen.reason, "disk is full");
    assert_true(seen.call.params.dry_run);
    assert_int_equal(metric(ACCEPTED), accepted + 1);
}

/* It may never be asked again: what its query said is not kept (LeakSanitizer). */
static void test_body_never_comes(void **state)
{
    (void)state;
    fcgi->body_state = SERVER_BODY_MORE;
    assert_int_equal(ANSWER(POST, PAUSE, "QUERY_STRING=reason=disk", "CONTENT_LENGTH=25"),
                     SERVER_NEEDS_BODY);
    assert_int_equal(seen.sent, 0);
}

static void test_body_that_is_wrong(void **state)
{
    (void)state;
    fcgi->body = "pause";
    fcgi->body_len = 5;
    ANSWER(POST, PAUSE);
    assert_sent(400, "INVALID_BODY");
    assert_int_equal(seen.handler_calls, 0);
}

/* Nobody without a token makes the server wait for a body. */
static void test_no_wait_for_the_body_of_a_refused_one(void **state)
{
    (void)state;
    seen.good = false;
    fcgi->body_state = SERVER_BODY_MORE;
    assert_int_equal(ANSWER(POST, PAUSE, "CONTENT_LENGTH=25"), SERVER_ANSWERED);
    assert_sent(401, "UNAUTHORIZED");
}

/* A read has no body that matters. */
static void test_body_of_a_read(void **state)
{
    (void)state;
    fcgi->body = "{\"n\":1}";
    fcgi->body_len = 7;
    fcgi->body_state = SERVER_BODY_MORE;
    assert_int_equal(ANSWER(GET, ONE, "CONTENT_LENGTH=1000000"), SERVER_ANSWERED);
    assert_sent(200, "");
    assert_int_equal(seen.call.params.n, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKING_TEST(test_path_first),
        ASKING_TEST(test_then_the_method),
        ASKING_TEST(test_options_needs_no_token),
        ASKING_TEST(test_then_the_token),
        ASKING_TEST(test_then_the_id),
        ASKING_TEST(test_then_the_parameters),
        ASKING_TEST(test_then_whether_a_thread_is_free),
        ASKING_TEST(test_what_needs_no_token_needs_no_free_thread),
        ASKING_TEST(test_handler_last),
        ASKING_TEST(test_handler_fails),
        ASKING_TEST(test_call),
        ASKING_TEST(test_correlation_id),
        ASKING_TEST(test_head),
        ASKING_TEST(test_body_comes_later),
        ASKING_TEST(test_body_never_comes),
        ASKING_TEST(test_body_that_is_wrong),
        ASKING_TEST(test_no_wait_for_the_body_of_a_refused_one),
        ASKING_TEST(test_body_of_a_read),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
