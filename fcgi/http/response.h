/* SPDX-License-Identifier: MIT
 *
 * response: an HTTP answer, written through libfcgi (RFC 3875, section 6).
 *
 * Belongs to one thread.
 */
#ifndef BBM_RESPONSE_H
#define BBM_RESPONSE_H

#include <fcgiapp.h>
#include <json-c/json.h>
#include <stdbool.h>

/* Seconds after which a client may try again, where waiting may help. */
#define RESPONSE_RETRY_AFTER "5"

struct response {
    int status;
    struct json_object *body; /* owned; NULL: none */
    const char *type;         /* the Content-Type; NULL: that of JSON, or of a text */
    const char *cache;        /* the Cache-Control; NULL: no-store */
    const char *json; /* bytes that are the body, or its text; lent until sent; NULL: none */
    size_t json_len;
    char *text;         /* owned; a body that is not JSON; NULL: none */
    char headers[2048]; /* whole lines, beyond the ones that every answer has */
    size_t headers_len;
};

/* Adds a header; one that does not fit or holds a control character is left out, so that
 * nothing a client sent can start a line of its own. */
void response_header(struct response *response, const char *name, const char *value);

/* Writes all; a HEAD request gets the headers alone. An answer other than a 204 needs a body:
 * one that is not there, or cannot be written down, ran out of memory, and the answer becomes
 * a 503 that needs none. False when the peer is gone. */
bool response_send(struct response *response, FCGX_Request *fcgx, bool head);

void response_free(struct response *response);

/* The whole CGI answer to a request whose parameters are larger than the server takes: 431. */
extern const char response_params_too_large[];

#endif
