/* SPDX-License-Identifier: MIT
 * One request from its parameters to its answer (http/service.c): the order of judgement, and what
 * a handler is given. Routes, handlers, tokens and the sending are the test's. */
#include "unit.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/service_private.h"

#define TIMEOUT_MS 10000

/* What has happened. */
static struct {
    bool good; /* what the token is to be */
    unsigned granted;
    int auth_calls;
    enum access access;
    char authorization[32];
    char host[32];
    int handler_calls;
    struct call call; /* as the handler got it; pointers are not to be followed, but for these */
    char path[64];
    char reason[32];
    char subject[32];
    char correlation_id[REQUEST_ID_SIZE];
    char remote_addr[32];
    int may_block;
    int sent;
    int status;
    char headers[512];
    char code[32]; /* of the error in the body; "" where there is none */
    bool head;
} seen;

/* ---- in place of others ---- */

bool __wrap_auth_check(const struct auth *auth, const struct auth_request *request,
                       enum access access, struct auth_result *result, struct error *error);
void __wrap_server_may_block(struct server_request *request);
bool __wrap_response_send(struct response *response, FCGX_Request *fcgx, bool head);

bool __wrap_auth_check(const struct auth *auth, const struct auth_request *request,
                       enum access access, struct auth_result *result, struct error *error)
{
    (void)auth;
    *result = (struct auth_result){0};
    seen.auth_calls++;
    seen.access = access;
    snprintf(seen.authorization, sizeof seen.authorization, "%s",
             request->authorization ? request->authorization : "NULL");
    snprintf(seen.host, sizeof seen.host, "%s", request->host);
    if (seen.good) {
        snprintf(result->token.subject, sizeof result->token.subject, "alice");
        snprintf(result->token.id, sizeof result->token.id, "jti");
        return true;
    }
    snprintf(result->challenge, sizeof result->challenge, "Bearer realm=\"r\"");
    return error_unauthorized(error, json_object_new_array());
}

void __wrap_server_may_block(struct server_request *request)
{
    (void)request;
    seen.may_block++;
}

bool __wrap_response_send(struct response *response, FCGX_Request *fcgx, bool head)
{
    struct json_object *errors = NULL;
    (void)fcgx;
    seen.sent++;
    seen.status = response->status;
    seen.head = head;
    snprintf(seen.headers, sizeof seen.headers, "%.*s", (int)response->headers_len,
             response->headers);
    if (json_object_object_get_ex(response->body, "errors", &errors))
        snprintf(seen.code, sizeof seen.code, "%s",
                 json_object_get_string(
                     json_object_object_get(json_object_array_get_idx(errors, 0), "code")));
    return true;
}

static bool handle(struct call *call)
{
    seen.handler_calls++;
    seen.call = *call;
    snprintf(seen.path, sizeof seen.path, "%s", call->path);
    snprintf(seen.reason, sizeof seen.reason, "%s", call->params.reason ? call->params.reason : "");
    snprintf(seen.subject, sizeof seen.subject, "%s", call->caller.subject);
    snprintf(seen.correlation_id, sizeof seen.correlation_id, "%s", call->caller.correlation_id);
    snprintf(seen.remote_addr, sizeof seen.remote_addr, "%s", call->caller.remote_addr);
    call->body = json_object_new_object();
    return true;
}

/* Fails with what the id says. */
static bool handle_and_fail(struct call *call)
{
    seen.handler_calls++;
    return call->id == 404 ? error_id_not_found(&call->error, call->id)
                           : error_unavailable(&call->error, "no database in this test");
}

static bool handle_all(struct call *call)
{
    return handle(call);
}

/* ---- a service ---- */

#define ACTION_PARAMS (PARAM(PARAM_REASON) | PARAM(PARAM_DRY_RUN))

static const struct route api[] = {
    {"GET", "background-migrations", ACCESS_READ, handle_all, PARAM(PARAM_N)},
    {"GET", "background-migrations/{id}", ACCESS_READ, handle, PARAM(PARAM_N)},
    {"POST", "background-migrations/{id}/pause", ACCESS_WRITE, handle, ACTION_PARAMS},
    {"POST", "restart/{id}", ACCESS_WRITE, handle_and_fail, ACTION_PARAMS},
    {"GET", "bbm", ACCESS_NONE, handle, 0},
};
static const struct route operational[] = {{"GET", "/-/liveness", ACCESS_NONE, handle, 0}};
static const struct routes routes = {
    .api = api,
    .api_count = COUNT(api),
    .operational = operational,
    .operational_count = COUNT(operational),
    .coalesced = handle_all,
};

static struct conf conf;
static struct service service;
static struct service_thread thread;
static struct server_request *fcgi;
static char store;
static char *envp[16];

static int setup(void **state)
{
    static char no_prefix[] = "";
    (void)state;
    memset(&seen, 0, sizeof seen);
    seen.good = true;
    log_setup(LOG_ERROR, LOG_JSON);
    conf.http_prefix = no_prefix;
    conf.fcgi.timeout_ms = TIMEOUT_MS;
    service = (struct service){.conf = &conf,
                               .list_cache = list_cache_new(),
                               .coalesce = coalesce_new(),
                               .routes = &routes,
                               .refusal_log = refusal_log_new()};
    thread = (struct service_thread){&service, (struct store *)(uintptr_t)&store};
    fcgi = calloc(1, sizeof *fcgi + service_request_size());
    assert_true(service.list_cache && service.coalesce && service.refusal_log && fcgi);
    fcgi->body = "";
    fcgi->body_state = SERVER_BODY_WHOLE;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    list_cache_free(service.list_cache);
    coalesce_free(service.coalesce);
    refusal_log_free(service.refusal_log);
    free(fcgi);
    return 0;
}

/* Answers a request with these parameters, and says nothing on standard error. */
static enum server_outcome answer_with(char **params)
{
    for (size_t i = 0; i + 1 < COUNT(envp) && (envp[i] = params[i]); i++)
        continue;
    fcgi->fcgx.envp = envp;
    unit_stderr_begin();
    enum server_outcome outcome = service_answer(&thread, fcgi);
    free(unit_stderr_end());
    return outcome;
}

#define ANSWER(...) answer_with((char *[]){__VA_ARGS__, NULL})

#define GET   "REQUEST_METHOD=GET"
#define POST  "REQUEST_METHOD=POST"
#define ONE   "PATH_INFO=/v1/gitlab/background-migrations/7/"
#define PAUSE "PATH_INFO=/v1/gitlab/background-migrations/7/pause/"

/* One answer was sent: this error; 0: none. */
static void assert_sent(int status, const char *code)
{
    assert_int_equal(seen.sent, 1);
    assert_int_equal(seen.status, status);
    assert_string_equal(seen.code, code);
}

static long metric(const char *sample)
{
    struct buffer out = buffer_start(NULL, 0);
    metrics_print(&out);
    char *text = buffer_take(&out);
    assert_non_null(text);
    const char *line = strstr(text, sample);
    assert_non_null(line);
    long value = strtol(line + strlen(sample), NULL, 10);
    free(text);
    return value;
}

#define REJECTED "\nbbm_fcgi_shed_total "
#define ACCEPTED "\nbbm_fcgi_tokens_total{verdict=\"accepted\"} "

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

/* ---- shared answers ---- */

#define LIST "PATH_INFO=/v1/gitlab/background-migrations/"

/* Alone, it is a batch of one. One that may not be kept, or has a parameter, runs by itself. */
static void test_which_requests_share(void **state)
{
    (void)state;
    fcgi->may_be_kept = true;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_sent(200, "");
    /* While another batch runs, it waits. */
    struct coalesce_waiter other = {.next = NULL};
    assert_ptr_equal(coalesce_join(service.coalesce, &other, clock_ms()), &other);
    assert_int_equal(ANSWER(GET, LIST, "QUERY_STRING=n=5"), SERVER_ANSWERED);
    assert_int_equal(ANSWER(GET, ONE), SERVER_ANSWERED);
    fcgi->may_be_kept = false;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_int_equal(seen.handler_calls, 4);
    fcgi->may_be_kept = true;
    assert_int_equal(ANSWER(GET, LIST), SERVER_KEPT);
    assert_int_equal(seen.handler_calls, 4);
    assert_non_null(coalesce_clear(service.coalesce));
}

/* Who has no token does not wait with others, nor get their answer. */
static void test_refused_request_does_not_share(void **state)
{
    struct coalesce_waiter other = {.next = NULL};
    (void)state;
    assert_ptr_equal(coalesce_join(service.coalesce, &other, clock_ms()), &other);
    fcgi->may_be_kept = true;
    seen.good = false;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_sent(401, "UNAUTHORIZED");
    assert_null(coalesce_clear(service.coalesce));
}

#define ORDER_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ORDER_TEST(test_path_first),
        ORDER_TEST(test_then_the_method),
        ORDER_TEST(test_options_needs_no_token),
        ORDER_TEST(test_then_the_token),
        ORDER_TEST(test_then_the_id),
        ORDER_TEST(test_then_the_parameters),
        ORDER_TEST(test_then_whether_a_thread_is_free),
        ORDER_TEST(test_what_needs_no_token_needs_no_free_thread),
        ORDER_TEST(test_handler_last),
        ORDER_TEST(test_handler_fails),
        ORDER_TEST(test_call),
        ORDER_TEST(test_correlation_id),
        ORDER_TEST(test_head),
        ORDER_TEST(test_body_comes_later),
        ORDER_TEST(test_body_never_comes),
        ORDER_TEST(test_body_that_is_wrong),
        ORDER_TEST(test_no_wait_for_the_body_of_a_refused_one),
        ORDER_TEST(test_body_of_a_read),
        ORDER_TEST(test_which_requests_share),
        ORDER_TEST(test_refused_request_does_not_share),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
