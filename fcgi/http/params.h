/* SPDX-License-Identifier: MIT
 *
 * params: what a client asks for besides the path, in the URL's query (WHATWG URL,
 * application/x-www-form-urlencoded) or in a JSON object as the body (contract, section 1).
 *
 * Each route names the parameters that it takes. Any other one is refused, as is one that
 * is given twice: a client that misspells dry_run must not pause. Pure and thread-safe.
 */
#ifndef BBM_PARAMS_H
#define BBM_PARAMS_H

#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes that a body may have. */
#define PARAMS_BODY_SIZE 4096

/* Two kinds may have one name on the wire; a route takes at most one of these. */
enum param {
    PARAM_N,           /* rows of a page */
    PARAM_LAST_JOB,    /* last: the job after which a page starts */
    PARAM_LAST_ACTION, /* last: likewise of actions */
    PARAM_STATES,      /* status: of migrations, one or several */
    PARAM_JOB_STATUS,  /* status: of jobs, one */
    PARAM_REASON,
    PARAM_DRY_RUN,
    PARAM_ACTION_ID,
    PARAM_COUNT,
};

/* A route's parameters are a set of bits. */
#define PARAM(param) (1U << (param))

struct params {
    unsigned given;          /* in the query or in the body: PARAM(…) of each */
    unsigned in_body;        /* those of them that stand in the body */
    int64_t n;               /* 1 to 1000; 100 where it is not given */
    struct opt_int64 last;   /* an id, from 1 on */
    unsigned states;         /* 1U << enum migration_status of each; 0: any state */
    struct opt_int64 status; /* enum job_status */
    char *reason;            /* owned; UTF-8, 1 to 500 characters; NULL where not given */
    bool dry_run;
    struct opt_int64 action_id; /* from 1 on */
};

/* Reads the query into `params`, which the caller frees in either case. `allowed` is the
 * route's set. False with a 400, or with a 503 when out of memory. */
bool params_read_query(struct params *params, unsigned allowed, const char *query,
                       struct error *error);

/* Adds what the body says. An empty one says nothing. */
bool params_read_body(struct params *params, unsigned allowed, const char *body, size_t len,
                      struct error *error);

void params_free(struct params *params);

#endif
