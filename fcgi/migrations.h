/* SPDX-License-Identifier: MIT
 *
 * migrations: the handlers of the API's routes (contract, sections 1 to 3).
 *
 * A handler is given a call whose token and parameters have been judged, and either
 * sets the body or fills the error. It runs on the thread whose store it is given.
 */
#ifndef BBM_MIGRATIONS_H
#define BBM_MIGRATIONS_H

#include "error.h"
#include "store.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct call {
    struct store *store;
    int64_t id;       /* the path's {id}, where the route has one */
    int64_t deadline; /* a moment of clock_ms() */
    struct json_object *body;
    struct json_object *changed; /* what a write changed, for the log; NULL: no write */
    struct error error;
};

typedef bool handler(struct call *call);

handler migrations_list;
handler migrations_one;
handler migrations_pause;
handler migrations_resume;

/* The contract's word for a status number; "unknown" for any that is none. */
const char *migrations_status_name(int64_t status);

/* Likewise for a failure_error_code. */
const char *migrations_error_name(int64_t code);

#endif
