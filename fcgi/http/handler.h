/* SPDX-License-Identifier: MIT
 *
 * handler: what a route's function gets, and what it leaves.
 *
 * A handler is given a call whose token and parameters are valid, and either sets the body or
 * fills the error. It runs on the thread whose store it is given.
 */
#ifndef BBM_HANDLER_H
#define BBM_HANDLER_H

#include "base/error.h"
#include "http/list_cache.h"
#include "http/params.h"
#include "page/page_files.h"
#include "store/store.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* A path and three parameters. */
#define HANDLER_LINK_SIZE 768

/* A header of an answer; lists of them end with a NULL name. */
struct call_header {
    const char *name;
    const char *value;
};

/* Who asks, as the history and the log record it; lent. */
struct call_caller {
    const char *subject;        /* of the token; "" where it has none, as the next one */
    const char *token_id;       /* its jti */
    const char *remote_addr;    /* "" where the web server gave none */
    const char *correlation_id; /* the Idempotency-Key, or else the request's id */
    bool may_be_repeat;         /* the client itself gave it */
};

struct call {
    struct store *store; /* NULL: no thread is free that has one */
    struct list_cache *list_cache;
    int64_t id;       /* the path's {id}; 0 where the route has none */
    const char *path; /* as the client asked, for links */
    struct params params;
    struct call_caller caller;
    int64_t deadline; /* a moment of clock_ms() */
    struct json_object *body;
    struct cached_body *cached_body;   /* in the body's place, where it has an entity tag */
    const struct page_file *file;      /* in the body's place, for the page */
    const struct call_header *headers; /* beyond the usual ones; NULL: none */
    const char *etag;                  /* of the body, with its quotes; NULL: none */
    char *text;                        /* a body that is not JSON; NULL: none */
    struct json_object *changed;       /* what a write changed, for the log; NULL: no write */
    struct opt_int64 action_id;        /* of a write, in the history */
    bool repeated;                     /* of a write: an earlier request has done it */
    char link[HANDLER_LINK_SIZE];      /* the Link header; "" for none */
    struct error error;
};

typedef bool handler(struct call *call);

#endif
