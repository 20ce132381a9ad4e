/* SPDX-License-Identifier: MIT
 *
 * router: which route a request means (contract, section 1). The routes themselves stand in
 * api/routes.c.
 *
 * Pure and thread-safe.
 */
#ifndef BBM_ROUTER_H
#define BBM_ROUTER_H

#include "auth/access.h"
#include "http/handler.h"

#include <stddef.h>
#include <stdint.h>

#define ROUTER_PATH_SIZE 512

struct route {
    const char *method;
    const char *pattern; /* under a base, or from the root; "{id}" stands for [1-9][0-9]* */
    enum access access;
    handler *handler;
    unsigned params; /* that it takes: PARAM(…) of each */
};

struct routes {
    const struct route *api; /* under the bases; rows of one path stand together */
    size_t api_count;
    const struct route *operational; /* from the root, for monitoring */
    size_t operational_count;
    handler *const *coalesced; /* requests for one of these handlers and one id, without parameters,
                                  share a run, on all routes (coalesce.h); NULL ends them */
};

enum router_verdict {
    ROUTER_FOUND,
    ROUTER_NONE,       /* no such path */
    ROUTER_METHOD,     /* the path is there, the method is not */
    ROUTER_OPTIONS,    /* OPTIONS, which every path answers */
    ROUTER_ID_INVALID, /* an {id} of digits that is no int64 */
};

struct router_match {
    enum router_verdict verdict;
    const struct route *route;   /* also for ROUTER_ID_INVALID, whose access counts first */
    const char *pattern;         /* of the path; NULL where it is none */
    int64_t id;                  /* 0 where the route has none */
    char allow[64];              /* the methods of the path, where there is one */
    char path[ROUTER_PATH_SIZE]; /* as the client asked, for the log; cut to fit */
};

/* `prefix` is http.prefix ("" or "/…"); the paths are SCRIPT_NAME and PATH_INFO in any
 * of the forms that web servers use. HEAD matches as GET. */
void router_match(const struct routes *routes, const char *prefix, const char *method,
                  const char *script_name, const char *path_info, struct router_match *match);

#endif
