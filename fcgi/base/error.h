/* SPDX-License-Identifier: MIT
 *
 * error: why a request cannot be answered as asked.
 *
 * An error carries all that the answer needs (contract, section 2, errors) and,
 * apart from it, what only the log may know. Functions that can fail return bool
 * and fill the error their caller passed in; nobody prints one where it happens.
 */
#ifndef BBM_ERROR_H
#define BBM_ERROR_H

#include <stdbool.h>
#include <stdint.h>

struct json_object; /* json-c */

/* What error.c shares with the answers that need no memory (http/response.c). */
#define ERROR_TOO_LARGE_CODE      "SIZE_INVALID"
#define ERROR_UNAVAILABLE_CODE    "UNAVAILABLE"
#define ERROR_UNAVAILABLE_MESSAGE "service unavailable"

struct error {
    int status;                 /* HTTP status; 0: no error */
    const char *code;           /* the registry's code; static storage */
    const char *message;        /* the registry's message; static storage */
    bool outcome_unknown;       /* of a change: it may have been made, or not */
    int retry_after;            /* of a 503: seconds until it may help; 0: the usual */
    bool has_detail;            /* without which the answer would not be whole */
    struct json_object *detail; /* owned; NULL: there is none, or no memory for it */
    bool is_setup;              /* tables or rights are missing in the database */
    const char *remedy;         /* what an operator can do; static storage; NULL: not known */
    char reason[384];           /* for the log alone, one line; "" where there is nothing to add */
};

/* Each fills `error` (whose old content must have been freed) and returns false,
 * so that `return error_…(error)` reads as what it does. `fmt` gives the reason. */
bool error_not_found(struct error *error);
bool error_method(struct error *error);
bool error_id_invalid(struct error *error);
bool error_id_not_found(struct error *error, int64_t id);
/* The same on a restart, where the registry's detail has other words. */
bool error_restart_id_not_found(struct error *error, int64_t id);
/* The migration's state forbids the action; `state` is its name, and `allowed` what it allows. */
bool error_state_conflict(struct error *error, int64_t id, const char *state, const char *allowed);
/* A transaction of another holds the migration, as a worker's run does. */
bool error_held(struct error *error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What is asked for needs the history, and there is none. */
bool error_no_history(struct error *error);
bool error_unauthorized(struct error *error, struct json_object *detail);
bool error_too_large(struct error *error);
bool error_body_late(struct error *error);
/* A query parameter that the route does not take, or takes once; `fmt` gives the detail, in which
 * a client's bytes may stand. Likewise a body. */
bool error_parameter_name(struct error *error, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool error_invalid_body(struct error *error, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A query parameter of the wrong type, or beyond what is allowed. */
bool error_parameter_type(struct error *error, const char *name, const char *expected);
bool error_parameter_value(struct error *error, const char *name, const char *expected);
bool error_unavailable(struct error *error, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same where memory is the reason. */
bool error_out_of_memory(struct error *error);
/* Turns a 503 into one that says: nobody knows whether the change was made. */
bool error_outcome_unknown(struct error *error);
bool error_unknown(struct error *error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds to the reason what an operator can do about it. */
void error_remedy(struct error *error, const char *remedy);

/* Gives the error its detail, in place of one that it has; takes it over. */
void error_set_detail(struct error *error, struct json_object *detail);

/* The body: {"errors": [{"code": …, "message": …, "detail": …}]}. The caller owns it. NULL
 * where it, or the detail that the error has, is lost for want of memory. */
struct json_object *error_body(const struct error *error);

/* Releases the detail and clears the error. */
void error_free(struct error *error);

#endif
