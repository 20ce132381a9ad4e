/* SPDX-License-Identifier: MIT
 * One request, from parameters to answer and log. */
#include "http/service.h"

#include "auth/auth.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "http/service_private.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

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

bool service_reject(struct error *error)
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
        return service_reject(error);
    x->call.store = thread->store;
    x->call.list_cache = thread->service->list_cache;
    x->call.id = x->match.id;
    x->call.path = x->match.path;
    x->call.caller = caller_of(x);
    x->call.deadline = x->started / 1000 + thread->service->conf->fcgi.timeout_ms;
    return true;
}

bool service_is_write(const struct request_context *x)
{
    return x->match.route && x->match.route->access == ACCESS_WRITE;
}

void service_conclude(struct request_context *x, bool good)
{
    struct response *response = &x->reply->response;
    service_respond(x, good);
    response_send(response, &x->fcgi->fcgx, strcmp(x->request.method, "HEAD") == 0);
    service_report(x);

    json_object_put(x->call.body);
    cached_body_drop(x->call.cached_body);
    json_object_put(x->call.changed);
    free(x->call.text);
    params_free(&x->call.params);
    error_free(&x->call.error);
    response_free(response);
}

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
        if (service_is_write(x) && !service_read_body(x)) {
            if (!x->call.error.status) {
                params_free(&x->call.params);
                return SERVER_NEEDS_BODY;
            }
            good = false;
        } else if (service_may_coalesce(thread, x)) {
            return service_answer_coalesced(thread, x);
        } else {
            server_may_block(fcgi);
            good = x->match.route->handler(&x->call);
        }
    }
    service_conclude(x, good);
    return SERVER_ANSWERED;
}
