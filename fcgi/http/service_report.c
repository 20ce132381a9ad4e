/* SPDX-License-Identifier: MIT
 * What is recorded of an answered request: its counters, and its line in the log. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "http/service_private.h"

/* response_send() has answered 503, because it had no memory for the body of a good answer. */
static void note_lost_answer(struct request_context *x)
{
    if (x->reply->response.status < 500 || x->call.error.status)
        return;
    error_out_of_memory(&x->call.error);
    x->call.error.outcome_unknown = service_is_write(x) && !x->call.params.dry_run;
}

static enum log_level level_of(const struct request_context *x)
{
    int status = x->reply->response.status;
    if (service_is_write(x))
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
    if (service_is_write(x) || error->status < 400 || error->status >= 500)
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
    char action_id[TEXT_INTEGER_SIZE];
    text_integer(x->call.action_id.value, action_id);
    const struct log_field fields[] = {
        {"correlation_id", LOG_STRING, x->request.id, 0},
        /* The history's correlation_id, where there is one. */
        {"idempotency_key", LOG_STRING,
         service_is_write(x) ? or_null(x->request.idempotency_key) : NULL, 0},
        {"method", LOG_STRING, x->request.method, 0},
        {"path", LOG_STRING, x->match.path, 0},
        {"status", LOG_INTEGER, NULL, reply->response.status},
        {"duration_ms", LOG_MILLISECONDS, NULL, clock_us() - x->started},
        {"remote_ip", LOG_STRING, or_null(x->request.remote_addr), 0},
        {"subject", LOG_STRING, or_null(x->token.subject), 0},
        {"token_id", LOG_STRING, or_null(x->token.id), 0},
        {"outcome", LOG_STRING, service_is_write(x) ? metrics_write_name(outcome_of(x)) : NULL, 0},
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
    log_event(level, service_is_write(x) ? "write" : "request", fields,
              sizeof fields / sizeof fields[0]);
}

void service_report(struct request_context *x)
{
    note_lost_answer(x);
    if (x->accepted)
        metrics_token(METRICS_TOKEN_ACCEPTED);
    if (service_is_write(x) && !x->call.params.dry_run)
        metrics_write(outcome_of(x));
    metrics_request(x->match.pattern, x->request.method, x->reply->response.status,
                    clock_us() - x->started);
    log_request(x);
}
