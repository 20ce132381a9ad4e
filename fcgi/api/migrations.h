/* SPDX-License-Identifier: MIT
 *
 * migrations: the handlers of the API's routes (contract, sections 1 to 3).
 *
 * A handler is given a call whose token and parameters have been judged, and either
 * sets the body or fills the error. It runs on the thread whose store it is given.
 */
#ifndef BBM_MIGRATIONS_H
#define BBM_MIGRATIONS_H

#include "api/list_cache.h"
#include "base/error.h"
#include "store/store.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* A path and three parameters. */
#define MIGRATIONS_LINK_SIZE 768

struct call {
    struct store *store; /* NULL: no thread is free that has one */
    struct list_cache *list_cache;
    int64_t id;        /* the path's {id}, where the route has one */
    const char *path;  /* as the client asked, for links */
    const char *query; /* the URL's */
    int64_t deadline;  /* a moment of clock_ms() */
    struct json_object *body;
    struct cached_body *cached_body; /* in the body's place, for the list */
    char *text;                      /* a body that is not JSON; NULL: none */
    struct json_object *changed;     /* what a write changed, for the log; NULL: no write */
    char link[MIGRATIONS_LINK_SIZE]; /* the Link header; "" for none */
    struct error error;
};

typedef bool handler(struct call *call);

handler migrations_list;
handler migrations_one;
handler migrations_jobs;
handler migrations_pause; /* of one where the route has an {id}, else of all; so resume */
handler migrations_resume;
handler migrations_restart;

/* Gives `other` the list, or the error, that migrations_list has made for `call`. */
void migrations_share(const struct call *call, struct call *other);

#endif
