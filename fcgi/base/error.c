/* SPDX-License-Identifier: MIT
 * The errors of the contract's table, each written down once. */
#include "base/error.h"

#include "base/json.h"
#include "base/text.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool fill(struct error *error, int status, const char *code, const char *message)
{
    *error = (struct error){.status = status, .code = code, .message = message};
    return false;
}

void error_set_detail(struct error *error, struct json_object *detail)
{
    json_object_put(error->detail);
    error->detail = detail;
    error->has_detail = true;
}

bool error_not_found(struct error *error)
{
    return fill(error, 404, "NOT_FOUND", "no such route");
}

bool error_method(struct error *error)
{
    return fill(error, 405, "UNSUPPORTED", "The operation is unsupported.");
}

bool error_id_invalid(struct error *error)
{
    char detail[64];
    fill(error, 400, "BBM_ID_INVALID", "provided BBM Id is invalid");
    snprintf(detail, sizeof detail, "the id must be an integer from 1 to %" PRId64, INT64_MAX);
    error_set_detail(error, json_object_new_string(detail));
    return false;
}

static bool fill_id_not_found(struct error *error, int64_t id, const char *is_absent)
{
    char detail[64];
    fill(error, 404, "BBM_ID_NOT_FOUND", "provided BBM Id has not been found");
    snprintf(detail, sizeof detail, "BBM with ID %" PRId64 " %s", id, is_absent);
    error_set_detail(error, json_object_new_string(detail));
    return false;
}

bool error_id_not_found(struct error *error, int64_t id)
{
    return fill_id_not_found(error, id, "not found");
}

bool error_restart_id_not_found(struct error *error, int64_t id)
{
    return fill_id_not_found(error, id, "does not exist");
}

bool error_state_conflict(struct error *error, int64_t id, const char *state, const char *allowed)
{
    char detail[128];
    fill(error, 409, "BBM_STATE_CONFLICT", "the migration's state does not allow this");
    snprintf(detail, sizeof detail, "BBM with ID %" PRId64 " is %s; %s", id, state, allowed);
    error_set_detail(error, json_object_new_string(detail));
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* libpq's messages have several lines, with tabs, and end with a newline. */
static void make_one_line(char *text)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        if (!is_blank(*in))
            *out++ = *in;
        else if (out > text && out[-1] != ' ')
            *out++ = ' ';
    }
    if (out > text && out[-1] == ' ')
        out--;
    *out = '\0';
}

__attribute__((format(printf, 2, 0))) static void set_reason(struct error *error, const char *fmt,
                                                             va_list args)
{
    vsnprintf(error->reason, sizeof error->reason, fmt, args);
    make_one_line(error->reason);
}

/* A run of the worker lasts up to three minutes; most last seconds. */
#define HELD_RETRY_AFTER 30

bool error_held(struct error *error, const char *fmt, ...)
{
    va_list args;
    fill(error, 503, "BBM_HELD", "a worker's run holds the migration");
    error->retry_after = HELD_RETRY_AFTER;
    va_start(args, fmt);
    set_reason(error, fmt, args);
    va_end(args);
    return false;
}

static bool fill_parameter(struct error *error, const char *code, const char *message,
                           const char *name, const char *expected)
{
    char detail[224];
    fill(error, 400, code, message);
    snprintf(detail, sizeof detail, "the '%s' query parameter must be %s", name, expected);
    error_set_detail(error, json_object_new_string(detail));
    return false;
}

/* Gives the error a detail in which bytes from outside may stand. */
__attribute__((format(printf, 2, 0))) static void set_detail(struct error *error, const char *fmt,
                                                             va_list args)
{
    char detail[320];
    vsnprintf(detail, sizeof detail, fmt, args);
    error_set_detail(error, text_json(detail, strlen(detail)));
}

bool error_parameter_name(struct error *error, const char *fmt, ...)
{
    va_list args;
    fill(error, 400, "INVALID_QUERY_PARAMETER_NAME", "invalid query parameter name");
    va_start(args, fmt);
    set_detail(error, fmt, args);
    va_end(args);
    return false;
}

bool error_invalid_body(struct error *error, const char *fmt, ...)
{
    va_list args;
    fill(error, 400, "INVALID_BODY", "invalid request body");
    va_start(args, fmt);
    set_detail(error, fmt, args);
    va_end(args);
    return false;
}

bool error_parameter_type(struct error *error, const char *name, const char *expected)
{
    return fill_parameter(error, "INVALID_QUERY_PARAMETER_TYPE",
                          "invalid query parameter value type", name, expected);
}

bool error_parameter_value(struct error *error, const char *name, const char *expected)
{
    return fill_parameter(error, "INVALID_QUERY_PARAMETER_VALUE", "invalid query parameter value",
                          name, expected);
}

bool error_no_history(struct error *error)
{
    fill(error, 404, "HISTORY_NOT_ENABLED", "there is no history of actions");
    error_set_detail(error, json_object_new_string("the owner of the registry's database has to "
                                                   "run sql/history.sql"));
    return false;
}

bool error_unauthorized(struct error *error, struct json_object *detail)
{
    fill(error, 401, "UNAUTHORIZED", "authentication required");
    error_set_detail(error, detail);
    return false;
}

bool error_too_large(struct error *error)
{
    return fill(error, 413, ERROR_TOO_LARGE_CODE,
                "the request body is larger than any route takes");
}

bool error_body_late(struct error *error)
{
    return fill(error, 408, "REQUEST_TIMEOUT", "the request body did not come in time");
}

bool error_unavailable(struct error *error, const char *fmt, ...)
{
    va_list args;
    fill(error, 503, ERROR_UNAVAILABLE_CODE, ERROR_UNAVAILABLE_MESSAGE);
    va_start(args, fmt);
    set_reason(error, fmt, args);
    va_end(args);
    return false;
}

bool error_out_of_memory(struct error *error)
{
    return error_unavailable(error, "out of memory");
}

void error_remedy(struct error *error, const char *remedy)
{
    size_t room = sizeof error->reason - strlen(remedy) - sizeof "; ";
    size_t len = strnlen(error->reason, room);
    error->remedy = remedy;
    snprintf(error->reason + len, sizeof error->reason - len, "; %s", remedy);
}

bool error_outcome_unknown(struct error *error)
{
    error->outcome_unknown = true;
    error_set_detail(error, json_object_new_string("what came of it was lost on the way: whether "
                                                   "the change took effect is not known"));
    return false;
}

bool error_unknown(struct error *error, const char *fmt, ...)
{
    va_list args;
    fill(error, 500, "UNKNOWN", "unknown error");
    va_start(args, fmt);
    set_reason(error, fmt, args);
    va_end(args);
    return false;
}

struct json_object *error_body(const struct error *error)
{
    struct json_object *entry = json_object_new_object();
    json_add(&entry, "code", json_object_new_string(error->code));
    json_add(&entry, "message", json_object_new_string(error->message));
    if (error->has_detail)
        json_add(&entry, "detail", json_object_get(error->detail));

    struct json_object *list = json_object_new_array_ext(1);
    json_append(&list, entry);
    struct json_object *body = json_object_new_object();
    json_add(&body, "errors", list);
    return body;
}

void error_free(struct error *error)
{
    json_object_put(error->detail);
    *error = (struct error){0};
}
