/* SPDX-License-Identifier: MIT
 * What is answered: status, headers, body. */
#include "http/service_private.h"

#include <stdio.h>

/* What describes a body: of a 304, too. */
static void describe(const struct call *call, struct response *response)
{
    if (call->etag)
        response_header(response, "ETag", call->etag);
    for (const struct call_header *header = call->headers; header && header->name; header++)
        response_header(response, header->name, header->value);
    if (!call->file)
        return;
    response->type = call->file->type;
    response->cache = "no-cache"; /* kept, and asked about each time: an upgrade shows at once */
}

static void add_retry_after(const struct error *error, struct response *response)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", error->retry_after);
    response_header(response, "Retry-After",
                    error->retry_after > 0 ? seconds : RESPONSE_RETRY_AFTER);
}

void service_respond(struct request_context *x, bool good)
{
    struct response *response = &x->reply->response;
    if (x->match.verdict == ROUTER_METHOD || x->match.verdict == ROUTER_OPTIONS)
        response_header(response, "Allow", x->match.allow);
    if (!good && x->call.error.status == 503)
        add_retry_after(&x->call.error, response);
    if (x->call.link[0])
        response_header(response, "Link", x->call.link);
    response_header(response, "X-Request-Id", x->request.id);

    if (good)
        describe(&x->call, response);
    if (!good) {
        response->status = x->call.error.status;
        response->body = error_body(&x->call.error);
    } else if (x->match.verdict == ROUTER_OPTIONS) {
        response->status = 204;
    } else if (x->call.etag && request_has_body(&x->request, x->call.etag)) {
        response->status = 304;
    } else {
        response->status = 200;
        response->body = x->call.body;
        response->text = x->call.text;
        if (x->call.cached_body)
            response->json = cached_body_text(x->call.cached_body, &response->json_len);
        if (x->call.file) {
            response->json = x->call.file->body;
            response->json_len = x->call.file->len;
        }
        x->call.body = NULL;
        x->call.text = NULL;
    }
}
