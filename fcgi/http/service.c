/* SPDX-License-Identifier: MIT
 * One request, from parameters to answer and log. */
#include "http/service.h"

#include "auth/auth.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/handler.h"
#include "http/refusal_log.h"
#include "http/request.h"
#include "http/response.h"
#include "http/router.h"
#include "store/store.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct service_thread {
    const struct service *service;
    struct store *store; /* NULL: the overload thread, which has no connection */
};

/* What is written down of a request as it is answered. */
struct reply {
    struct refusal refusal;
    struct response response;
};

/* All that is known of one request, until it is answered. */
struct request_context {
    struct refusal_log *refusal_log;
    struct server_request *fcgi;
    struct reply *reply;           /* the thread's that is at it */
    struct coalesce_waiter waiter; /* where it waits for a list that others ask for too */
    int64_t started;               /* clock_us() */
    struct request request;
    struct router_match match;
    struct token token;
    bool accepted; /* the token, which is judged twice where the body comes late */
    struct call call;
};

struct service_thread *service_thread_new(const struct service *service, bool overload)
{
    struct service_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return NULL;
    thread->service = service;
    if (!overload && !(thread->store = store_new(&service->conf->database, service->counters))) {
        free(thread);
        return NULL;
    }
    return thread;
}

void service_thread_free(struct service_thread *thread)
{
    if (!thread)
        return;
    store_free(thread->store);
    free(thread);
}

/* All workers are busy. */
static bool reject(struct error *error)
{
    metrics_rejected();
    return error_unavailable(error, "waited too long for a thread; all wait for the database");
}

static struct call_caller caller_of(const struct request_context *x)
{
    const char *key = x->request.idempotency_key;
    return (struct call_caller){
        .subject = x->token.subject,
        .token_id = x->token.id,
        .remote_addr = x->request.remote_addr,
        .correlation_id = *key ? key : x->request.id,
        .may_be_repeat = *key || x->request.has_id,
    };
}

static bool check_token(const struct service_thread *thread, struct request_context *x,
                        enum access access)
{
    const struct auth_request request = {x->request.authorization, x->request.host};
    struct auth_result result;
    bool good = auth_check(thread->service->auth, &request, access, &result, &x->call.error);
    x->token = result.token;
    x->reply->refusal = result.refusal;
    if (*result.challenge)
        response_header(&x->reply->response, "WWW-Authenticate", result.challenge);
    return good;
}

/* The order of judgement (contract, section 1): route, method, token, id and
 * parameters; then what the handler finds. */
static bool judge(struct service_thread *thread, struct request_context *x)
{
    struct error *error = &x->call.error;
    if (x->match.verdict == ROUTER_NONE)
        return error_not_found(error);
    if (x->match.verdict == ROUTER_METHOD)
        return error_method(error);
    if (x->match.verdict == ROUTER_OPTIONS)
        return true;
    enum access access = x->match.route->access;
    if (access != ACCESS_NONE && !check_token(thread, x, access))
        return false;
    x->accepted = access != ACCESS_NONE;
    if (x->match.verdict == ROUTER_ID_INVALID)
        return error_id_invalid(error);
    if (!params_read_query(&x->call.params, x->match.route->params, x->request.query, error))
        return false;

    if (!thread->store && access != ACCESS_NONE)
        return reject(error);
    x->call.store = thread->store;
    x->call.list_cache = thread->service->list_cache;
    x->call.id = x->match.id;
    x->call.path = x->match.path;
    x->call.caller = caller_of(x);
    x->call.deadline = x->started / 1000 + thread->service->conf->fcgi.timeout_ms;
    return true;
}

/* What describes a body: of a 304, too. */
static void describe(const struct call *call, struct response *response)
{
    if (call->etag)
        response_header(response, "ETag", call->etag);
    for (const struct call_header *header = call->headers; header && header->name; header++)
        response_header(response, header->name, header->value);
    if (!call->file)
        return;
    response->type = call->file->type;
    response->cache = "no-cache"; /* kept, and asked about each time: an upgrade shows at once */
}

static void add_retry_after(const struct error *error, struct response *response)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", error->retry_after);
    response_header(response, "Retry-After",
                    error->retry_after > 0 ? seconds : RESPONSE_RETRY_AFTER);
}

/* Reads the body of a request that may have one. False with an error, or, with none, where
 * more of the body must come first. */
static bool read_body(struct request_context *x)
{
    struct server_request *fcgi = x->fcgi;
    struct error *error = &x->call.error;
    int64_t length = x->request.content_length;
    if (length > PARAMS_BODY_SIZE || (length < 0 && fcgi->body_len > PARAMS_BODY_SIZE))
        return error_too_large(error);
    bool whole =
        length >= 0 ? fcgi->body_len >= (size_t)length : fcgi->body_state == SERVER_BODY_WHOLE;
    if (whole)
        return params_read_body(&x->call.params, x->match.route->params, fcgi->body,
                                length >= 0 ? (size_t)length : fcgi->body_len, error);
    switch (fcgi->body_state) {
    case SERVER_BODY_MORE:
        fcgi->body_wanted = length >= 0 ? (size_t)length : PARAMS_BODY_SIZE + 1;
        break;
    case SERVER_BODY_LATE:
        error_body_late(error);
        break;
    case SERVER_BODY_LONG:
        error_too_large(error);
        break;
    case SERVER_BODY_WHOLE:
        error_invalid_body(error, "the body is shorter than its Content-Length says");
        break;
    }
    return false;
}

static void respond(struct request_context *x, bool good)
{
    struct response *response = &x->reply->response;
    if (x->match.verdict == ROUTER_METHOD || x->match.verdict == ROUTER_OPTIONS)
        response_header(response, "Allow", x->match.allow);
    if (!good && x->call.error.status == 503)
        add_retry_after(&x->call.error, response);
    if (x->call.link[0])
        response_header(response, "Link", x->call.link);
    response_header(response, "X-Request-Id", x->request.id);

    if (good)
        describe(&x->call, response);
    if (!good) {
        response->status = x->call.error.status;
        response->body = error_body(&x->call.error);
    } else if (x->match.verdict == ROUTER_OPTIONS) {
        response->status = 204;
    } else if (x->call.etag && request_has_body(&x->request, x->call.etag)) {
        response->status = 304;
    } else {
        response->status = 200;
        response->body = x->call.body;
        response->text = x->call.text;
        if (x->call.cached_body)
            response->json = cached_body_text(x->call.cached_body, &response->json_len);
        if (x->call.file) {
            response->json = x->call.file->body;
            response->json_len = x->call.file->len;
        }
        x->call.body = NULL;
        x->call.text = NULL;
    }
}

/* A request for a change on a path that exists. The audit log has each, whatever its outcome. */
static bool is_write(const struct request_context *x)
{
    return x->match.route && x->match.route->access == ACCESS_WRITE;
}

/* What was judged good has become a 503 on its way out. */
static void note_unsaid(struct request_context *x)
{
    if (x->reply->response.status < 500 || x->call.error.status)
        return;
    error_unavailable(&x->call.error, "out of memory");
    x->call.error.outcome_unknown = is_write(x) && !x->call.params.dry_run;
}

static enum log_level level_of(const struct request_context *x)
{
    int status = x->reply->response.status;
    if (is_write(x))
        return status < 500 && status >= 400 ? LOG_AUDIT_REFUSED : LOG_AUDIT;
    if (status >= 500)
        return LOG_ERROR;
    if (status >= 400)
        return LOG_WARN;
    /* Probes and scrapes come by the minute. */
    return x->match.route && x->match.route->access == ACCESS_NONE ? LOG_DEBUG : LOG_INFO;
}

static enum metrics_write outcome_of(const struct request_context *x)
{
    if (x->call.error.outcome_unknown)
        return METRICS_WRITE_UNKNOWN;
    if (x->reply->response.status >= 500)
        return METRICS_WRITE_FAILED;
    return x->reply->response.status >= 400 ? METRICS_WRITE_REFUSED : METRICS_WRITE_DONE;
}

static const char *or_null(const char *s)
{
    return *s ? s : NULL;
}

/* False for a refusal that is only counted: one of a flood. A write always has its line. */
static bool is_admitted(const struct request_context *x)
{
    const struct error *error = &x->call.error;
    if (is_write(x) || error->status < 400 || error->status >= 500)
        return true;
    return refusal_log_admit(x->refusal_log, x->request.remote_addr,
                             error->reason[0] ? error->reason : error->code, clock_ms());
}

static void log_request(const struct request_context *x)
{
    enum log_level level = level_of(x);
    const struct reply *reply = x->reply;
    if (!log_wanted(level) || !is_admitted(x))
        return;
    size_t changed_len;
    const char *changed = json_text(x->call.changed, &changed_len);
    const char *why = or_null(x->call.error.reason);
    char action_id[24];
    snprintf(action_id, sizeof action_id, "%" PRId64, x->call.action_id.value);
    const struct log_field fields[] = {
        {"correlation_id", LOG_STRING, x->request.id, 0},
        /* The history's correlation_id, where there is one. */
        {"idempotency_key", LOG_STRING, is_write(x) ? or_null(x->request.idempotency_key) : NULL,
         0},
        {"method", LOG_STRING, x->request.method, 0},
        {"path", LOG_STRING, x->match.path, 0},
        {"status", LOG_INTEGER, NULL, reply->response.status},
        {"duration_ms", LOG_MILLISECONDS, NULL, clock_us() - x->started},
        {"remote_ip", LOG_STRING, or_null(x->request.remote_addr), 0},
        {"subject", LOG_STRING, or_null(x->token.subject), 0},
        {"token_id", LOG_STRING, or_null(x->token.id), 0},
        {"outcome", LOG_STRING, is_write(x) ? metrics_write_name(outcome_of(x)) : NULL, 0},
        {"error", LOG_STRING, x->call.error.code, 0},
        {"changed", LOG_RAW, changed, 0},
        {"action_id", LOG_RAW, x->call.action_id.given ? action_id : NULL, 0},
        {"repeated", LOG_RAW, x->call.repeated ? "true" : NULL, 0},
        {"dry_run", LOG_RAW, x->call.params.dry_run ? "true" : NULL, 0},
        /* Of a write that was done the caller's; else the caller's has a name of its own. */
        {"reason", LOG_STRING, why ? why : x->call.params.reason, 0},
        {"given_reason", LOG_STRING, why ? x->call.params.reason : NULL, 0},
        {"claimed_issuer", LOG_STRING, or_null(reply->refusal.issuer), 0},
        {"claimed_subject", LOG_STRING, or_null(reply->refusal.subject), 0},
        {"claimed_kid", LOG_STRING, or_null(reply->refusal.kid), 0},
    };
    log_event(level, is_write(x) ? "write" : "request", fields, sizeof fields / sizeof fields[0]);
}

/* Answers, counts and logs what has been judged; the last of the answer is the caller's to
 * send. */
static void conclude(struct request_context *x, bool good)
{
    struct response *response = &x->reply->response;
    respond(x, good);
    response_send(response, &x->fcgi->fcgx, strcmp(x->request.method, "HEAD") == 0);
    note_unsaid(x);
    if (x->accepted)
        metrics_token(METRICS_TOKEN_ACCEPTED);
    if (is_write(x) && !x->call.params.dry_run)
        metrics_write(outcome_of(x));
    metrics_request(x->match.pattern, x->request.method, response->status, clock_us() - x->started);
    log_request(x);

    json_object_put(x->call.body);
    cached_body_drop(x->call.cached_body);
    json_object_put(x->call.changed);
    free(x->call.text);
    params_free(&x->call.params);
    error_free(&x->call.error);
    response_free(response);
}

/* ---- coalesced requests ---- */

/* An answer of up to so many bytes is written to all of a batch by one thread: a socket takes it at
 * once, so that a peer who does not read delays none of the others. */
#define COALESCED_BODY_MAX ((size_t)128 * 1024)

static struct request_context *context_of(struct coalesce_waiter *waiter)
{
    return (struct request_context *)((char *)waiter - offsetof(struct request_context, waiter));
}

/* Concludes all of a batch. The server ends `own`, if it is among them, when it returns. */
static void conclude_all(struct coalesce_waiter *waiters, bool good,
                         const struct request_context *own)
{
    while (waiters) {
        struct request_context *x = context_of(waiters);
        struct server_request *fcgi = x->fcgi;
        struct reply reply = {0};
        waiters = waiters->next; /* server_answered frees it */
        x->reply = &reply;
        conclude(x, good);
        if (x != own)
            server_answered(fcgi);
    }
}

/* Gives `other` the answer, or the error, that the handler has made for `call`. */
static void share_answer(const struct call *call, struct call *other)
{
    other->cached_body = cached_body_hold(call->cached_body);
    other->etag = call->cached_body ? call->etag : NULL; /* else it lives in `call` */
    other->body = json_object_get(call->body);
    other->error = call->error;
    other->error.detail = json_object_get(call->error.detail);
}

/* Runs the handler for the first of a batch, which has the least time left, and shares the
 * answer. All coalesced routes have one handler. */
static void answer_batch(struct service_thread *thread, struct coalesce_waiter *waiters,
                         const struct request_context *own, struct server *server)
{
    struct call *call = &context_of(waiters)->call;
    call->store = thread->store;
    bool good = context_of(waiters)->match.route->handler(call);
    if (coalesce_end(thread->service->coalesce))
        server_wake_worker(server);
    for (struct coalesce_waiter *other = waiters->next; other; other = other->next)
        share_answer(call, &context_of(other)->call);
    conclude_all(waiters, good, own);
}

/* True where a socket takes the answer at once, as far as the last one tells. */
static bool may_coalesce(const struct service_thread *thread, const struct request_context *x)
{
    return x->match.route->coalesced && !x->call.params.given && x->fcgi->may_be_kept &&
           list_cache_len(thread->service->list_cache) <= COALESCED_BODY_MAX;
}

static enum server_outcome answer_coalesced(struct service_thread *thread,
                                            struct request_context *x)
{
    struct server *server = x->fcgi->server;
    struct coalesce_waiter *waiters =
        coalesce_join(thread->service->coalesce, &x->waiter, clock_ms());
    if (!waiters)
        return SERVER_KEPT;
    server_may_block(x->fcgi);
    answer_batch(thread, waiters, x, server);
    return SERVER_ANSWERED;
}

void service_on_wake(struct service_thread *thread, struct server *server)
{
    struct coalesce_waiter *waiters = coalesce_begin(thread->service->coalesce, clock_ms());
    if (waiters)
        answer_batch(thread, waiters, NULL, server);
}

void service_on_look(struct service_thread *overload, struct server *server)
{
    struct coalesce *coalesce = overload->service->coalesce;
    int64_t age = coalesce_age(coalesce, clock_ms());
    if (age < COALESCE_PATIENCE_MS)
        return;
    if (age < overload->service->conf->fcgi.queue_timeout_ms) {
        server_wake_worker(server);
        return;
    }
    struct coalesce_waiter *waiters = coalesce_clear(coalesce);
    for (struct coalesce_waiter *waiter = waiters; waiter; waiter = waiter->next)
        reject(&context_of(waiter)->call.error);
    conclude_all(waiters, false, NULL);
}

/* ---- requests ---- */

size_t service_request_size(void)
{
    return sizeof(struct request_context);
}

enum server_outcome service_answer(struct service_thread *thread, struct server_request *fcgi)
{
    struct reply reply = {0};
    struct request_context *x = (struct request_context *)fcgi->own;
    *x = (struct request_context){.fcgi = fcgi,
                                  .reply = &reply,
                                  .started = clock_us(),
                                  .refusal_log = thread->service->refusal_log};
    request_read(&x->request, fcgi->fcgx.envp);
    router_match(thread->service->routes, thread->service->conf->http_prefix, x->request.method,
                 x->request.script_name, x->request.path_info, &x->match);
    bool good = judge(thread, x);
    if (good && x->match.verdict == ROUTER_FOUND) {
        if (is_write(x) && !read_body(x)) {
            if (!x->call.error.status) {
                params_free(&x->call.params);
                return SERVER_NEEDS_BODY;
            }
            good = false;
        } else if (may_coalesce(thread, x)) {
            return answer_coalesced(thread, x);
        } else {
            server_may_block(fcgi);
            good = x->match.route->handler(&x->call);
        }
    }
    conclude(x, good);
    return SERVER_ANSWERED;
}
