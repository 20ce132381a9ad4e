/* SPDX-License-Identifier: MIT
 * Requests that share one handler's run (coalesce.h). */
#include "base/clock.h"
#include "http/service_private.h"

#include <stddef.h>

/* An answer of up to so many bytes is written to all of a batch by one thread: a socket takes it at
 * once, so that a peer who does not read delays none of the others. */
#define COALESCED_BODY_MAX ((size_t)128 * 1024)

static struct request_context *context_of(struct coalesce_waiter *waiter)
{
    return (struct request_context *)((char *)waiter - offsetof(struct request_context, waiter));
}

/* Concludes all of a batch. The server ends `own`, if it is among them, when it returns. */
static void conclude_all(struct coalesce_waiter *waiters, bool good,
                         const struct request_context *own)
{
    while (waiters) {
        struct request_context *x = context_of(waiters);
        struct server_request *fcgi = x->fcgi;
        struct reply reply = {0};
        waiters = waiters->next; /* server_answered frees it */
        x->reply = &reply;
        service_conclude(x, good);
        if (x != own)
            server_answered(fcgi);
    }
}

/* Gives `other` the answer, or the error, that the handler has made for `call`. */
static void share_answer(const struct call *call, struct call *other)
{
    other->cached_body = cached_body_hold(call->cached_body);
    other->etag = call->cached_body ? call->etag : NULL; /* else it lives in `call` */
    other->body = json_object_get(call->body);
    other->error = call->error;
    other->error.detail = json_object_get(call->error.detail);
}

/* Runs the handler for the first of a batch, which has the least time left, and shares the
 * answer: routes.coalesced is one handler for all. */
static void answer_batch(struct service_thread *thread, struct coalesce_waiter *waiters,
                         const struct request_context *own, struct server *server)
{
    struct call *call = &context_of(waiters)->call;
    call->store = thread->store;
    bool good = thread->service->routes->coalesced(call);
    for (struct coalesce_waiter *other = waiters->next; other; other = other->next)
        share_answer(call, &context_of(other)->call);
    conclude_all(waiters, good, own);
    if (coalesce_end(thread->service->coalesce))
        server_wake_worker(server);
}

bool service_may_coalesce(const struct service_thread *thread, const struct request_context *x)
{
    return x->match.route->handler == thread->service->routes->coalesced && !x->call.params.given &&
           x->fcgi->may_be_kept &&
           list_cache_len(thread->service->list_cache) <= COALESCED_BODY_MAX;
}

enum server_outcome service_answer_coalesced(struct service_thread *thread,
                                             struct request_context *x)
{
    struct server *server = x->fcgi->server;
    struct coalesce_waiter *waiters =
        coalesce_join(thread->service->coalesce, &x->waiter, clock_ms());
    if (!waiters)
        return SERVER_KEPT;
    server_may_block(x->fcgi);
    answer_batch(thread, waiters, x, server);
    return SERVER_ANSWERED;
}

void service_on_wake(struct service_thread *thread, struct server *server)
{
    struct coalesce_waiter *waiters = coalesce_begin(thread->service->coalesce, clock_ms());
    if (waiters)
        answer_batch(thread, waiters, NULL, server);
}

void service_on_look(struct service_thread *overload, struct server *server)
{
    struct coalesce *coalesce = overload->service->coalesce;
    int64_t age = coalesce_age(coalesce, clock_ms());
    if (age < COALESCE_PATIENCE_MS)
        return;
    if (age < overload->service->conf->fcgi.queue_timeout_ms) {
        server_wake_worker(server);
        return;
    }
    struct coalesce_waiter *waiters = coalesce_clear(coalesce);
    for (struct coalesce_waiter *waiter = waiters; waiter; waiter = waiter->next)
        service_reject(&context_of(waiter)->call.error);
    conclude_all(waiters, false, NULL);
}
