/* SPDX-License-Identifier: MIT
 * A request's body, which may come late, be cut off or be too large. */
#include "http/service_private.h"

bool service_read_body(struct request_context *x)
{
    struct server_request *fcgi = x->fcgi;
    struct error *error = &x->call.error;
    int64_t length = x->request.content_length;
    if (length > PARAMS_BODY_SIZE || (length < 0 && fcgi->body_len > PARAMS_BODY_SIZE))
        return error_too_large(error);
    bool whole =
        length >= 0 ? fcgi->body_len >= (size_t)length : fcgi->body_state == SERVER_BODY_WHOLE;
    if (whole)
        return params_read_body(&x->call.params, x->match.route->params, fcgi->body,
                                length >= 0 ? (size_t)length : fcgi->body_len, error);
    switch (fcgi->body_state) {
    case SERVER_BODY_MORE:
        fcgi->body_wanted = length >= 0 ? (size_t)length : PARAMS_BODY_SIZE + 1;
        break;
    case SERVER_BODY_LATE:
        error_body_late(error);
        break;
    case SERVER_BODY_LONG:
        error_too_large(error);
        break;
    case SERVER_BODY_WHOLE:
        error_invalid_body(error, "the body is shorter than its Content-Length says");
        break;
    }
    return false;
}
