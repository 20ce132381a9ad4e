/* SPDX-License-Identifier: MIT
 *
 * request: FastCGI's parameters, read as an HTTP request (RFC 3875 for their names).
 *
 * A request points into libfcgi's parameters and lives no longer than they do. It
 * belongs to one thread.
 */
#ifndef BBM_REQUEST_H
#define BBM_REQUEST_H

#include <fcgiapp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_ID_SIZE 129

struct request {
    const char *method;      /* "" where the web server gave none */
    const char *script_name; /* likewise, and so the next five */
    const char *path_info;
    const char *query;
    const char *host;
    const char *remote_addr;
    const char *if_none_match;
    const char *authorization;             /* NULL: no such header, or more than one */
    int64_t content_length;                /* of the body, in bytes; -1: not known */
    char idempotency_key[REQUEST_ID_SIZE]; /* "" where there is none that is fit */
    bool has_id;                           /* the client gave X-Request-Id */
    char id[REQUEST_ID_SIZE]; /* X-Request-Id where it is fit to be passed on; else made here */
};

void request_read(struct request *request, FCGX_ParamArray params);

/* True where If-None-Match names this entity tag, which has its quotes: the client has that body
 * already, and 304 is the answer (RFC 9110, 13.1.2, by its weak comparison). */
bool request_has_body(const struct request *request, const char *etag);

#endif
