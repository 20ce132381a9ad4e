/* SPDX-License-Identifier: MIT
 *
 * asking: a service whose routes, handlers, tokens and sending are the test's own, and requests to
 * it.
 */
#ifndef BBM_UNIT_ASKING_H
#define BBM_UNIT_ASKING_H

#include "metric.h"
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

static inline bool handle(struct call *call)
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
static inline bool handle_and_fail(struct call *call)
{
    seen.handler_calls++;
    return call->id == 404 ? error_id_not_found(&call->error, call->id)
                           : error_unavailable(&call->error, "no database in this test");
}

static bool failing;            /* the list fails */
static size_t answer_len;       /* of the list, where it is not 0 */
static void (*meanwhile)(void); /* called once, while the next list is made; NULL: nothing */

static inline bool handle_all(struct call *call)
{
    void (*now)(void) = meanwhile;
    meanwhile = NULL;
    if (now)
        now();
    if (!failing) {
        char *text = answer_len > 0 ? calloc(1, answer_len) : NULL;
        if (text)
            call->cached_body = cached_body_new(text, answer_len);
        free(text);
        return handle(call);
    }
    seen.handler_calls++;
    return error_unavailable(&call->error, "no database in this test");
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
static handler *const coalesced[] = {handle_all, NULL};
static const struct routes routes = {
    .api = api,
    .api_count = COUNT(api),
    .operational = operational,
    .operational_count = COUNT(operational),
    .coalesced = coalesced,
};

static struct conf conf;
static struct service service;
static struct service_thread thread;
static struct server_request *fcgi;
static char store;
static char *envp[16];

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
    (void)state;
    list_cache_free(service.list_cache);
    coalesce_free(service.coalesce);
    refusal_log_free(service.refusal_log);
    free(fcgi);
    return 0;
}

/* Answers a request with these parameters. */
static inline enum server_outcome answer(char **params)
{
    for (size_t i = 0; i + 1 < COUNT(envp) && (envp[i] = params[i]); i++)
        continue;
    fcgi->fcgx.envp = envp;
    return service_answer(&thread, fcgi);
}

/* The same; what it logs is not shown. */
static inline enum server_outcome answer_with(char **params)
{
    unit_stderr_begin();
    enum server_outcome outcome = answer(params);
    free(unit_stderr_end());
    return outcome;
}

#define ANSWER(...) answer_with((char *[]){__VA_ARGS__, NULL})

#define GET   "REQUEST_METHOD=GET"
#define POST  "REQUEST_METHOD=POST"
#define ONE   "PATH_INFO=/v1/gitlab/background-migrations/7/"
#define PAUSE "PATH_INFO=/v1/gitlab/background-migrations/7/pause/"

/* One answer was sent: this error; 0: none. */
static inline void assert_sent(int status, const char *code)
{
    assert_int_equal(seen.sent, 1);
    assert_int_equal(seen.status, status);
    assert_string_equal(seen.code, code);
}

#define REJECTED "\nbbm_fcgi_shed_total "
#define ACCEPTED "\nbbm_fcgi_tokens_total{verdict=\"accepted\"} "

#define ASKING_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif
