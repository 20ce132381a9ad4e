/* SPDX-License-Identifier: MIT
 *
 * service_private: what the service's own files share. All others include service.h alone.
 *
 *   service.c           threads; one request: route, token, parameters, handler, answer
 *   service_body.c      a request's body, which may come late
 *   service_batch.c     requests that share one handler's run
 *   service_response.c  the answer's status, headers and body
 *   service_report.c    the counters and the log line of an answered request
 */
#ifndef BBM_SERVICE_PRIVATE_H
#define BBM_SERVICE_PRIVATE_H

#include "auth/refusal.h"
#include "auth/token.h"
#include "base/error.h"
#include "http/coalesce.h"
#include "http/handler.h"
#include "http/refusal_log.h"
#include "http/request.h"
#include "http/response.h"
#include "http/router.h"
#include "http/service.h"
#include "server/server.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

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
    struct reply *reply;           /* on the stack of the thread that answers it now */
    struct coalesce_waiter waiter; /* in the queue for a shared answer */
    int64_t started;               /* clock_us() */
    struct request request;
    struct router_match match;
    struct token token;
    bool accepted; /* the token, which is judged twice where the body comes late */
    struct call call;
};

/* ---- service.c ---- */

/* A request for a change on a path that exists. The audit log has each, whatever its outcome. */
bool service_is_write(const struct request_context *x);

/* All workers are busy: counts it and fills the error. Returns false. */
bool service_reject(struct error *error);

/* Answers, counts and logs a request that has been judged. The server sends what is left of the
 * answer. */
void service_conclude(struct request_context *x, bool good);

/* ---- service_body.c ---- */

/* Reads the body of a request that may have one. False with an error, or, with none, where
 * more of the body must come first. */
bool service_read_body(struct request_context *x);

/* ---- service_batch.c ---- */

/* True for a request whose answer others may share. */
bool service_may_coalesce(const struct service_thread *thread, const struct request_context *x);

/* Answers the request, and all that wait for the same answer; or leaves it to another thread. */
enum server_outcome service_answer_coalesced(struct service_thread *thread,
                                             struct request_context *x);

/* ---- service_response.c ---- */

/* Fills the response to a request that has been judged; sends nothing. */
void service_respond(struct request_context *x, bool good);

/* ---- service_report.c ---- */

/* Counts and logs a request whose answer is sent. */
void service_report(struct request_context *x);

#endif
