/* SPDX-License-Identifier: MIT
 * Requests that share one handler's run (coalesce.h). */
#include "base/clock.h"
#include "http/service_private.h"

#include <stddef.h>

/* One thread writes all answers of a batch, where a socket takes each at once: a peer that does not
 * read then delays none of the others. Longer ones are written each by a thread of its own. */
#define WRITTEN_AT_ONCE ((size_t)128 * 1024)

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
    other->etag = call->etag;
    other->body = json_object_get(call->body);
    other->error = call->error;
    other->error.detail = json_object_get(call->error.detail);
}

/* True where a socket may not take the answer at once. */
static bool is_long(const struct call *call)
{
    size_t len = 0;
    if (call->cached_body)
        cached_body_text(call->cached_body, &len);
    return len > WRITTEN_AT_ONCE;
}

/* Runs the handler for the first of a batch, which has the least time left, and shares the answer.
 * False where all but the first are left to other threads. */
static bool answer_batch(struct service_thread *thread, struct coalesce_waiter *batch,
                         const struct request_context *own, struct server *server)
{
    struct coalesce *coalesce = thread->service->coalesce;
    struct coalesce_group *group = batch->group;
    struct call *call = &context_of(batch)->call;
    call->store = thread->store;
    bool good = batch->handler(call);
    bool split = batch->next && is_long(call);
    for (struct coalesce_waiter *other = batch->next; other; other = other->next)
        share_answer(call, &context_of(other)->call);
    if (split) {
        coalesce_split(coalesce, batch);
        server_wake_worker(server);
    }
    conclude_all(batch, good, own);
    if (coalesce_end(coalesce, group))
        server_wake_worker(server);
    return !split;
}

bool service_may_coalesce(const struct service_thread *thread, const struct request_context *x)
{
    handler *const *coalesced = thread->service->routes->coalesced;
    while (*coalesced && *coalesced != x->match.route->handler)
        coalesced++;
    return *coalesced && !x->call.params.given && x->fcgi->may_be_kept;
}

enum server_outcome service_answer_coalesced(struct service_thread *thread,
                                             struct request_context *x)
{
    struct server *server = x->fcgi->server;
    x->waiter.handler = x->match.route->handler;
    x->waiter.id = x->match.id;
    struct coalesce_waiter *batch =
        coalesce_join(thread->service->coalesce, &x->waiter, clock_ms());
    if (!batch)
        return SERVER_KEPT;
    bool is_first = batch == &x->waiter;
    server_may_block(x->fcgi);
    return answer_batch(thread, batch, x, server) || is_first ? SERVER_ANSWERED : SERVER_KEPT;
}

void service_on_wake(struct service_thread *thread, struct server *server)
{
    bool more;
    struct coalesce_waiter *batch = coalesce_begin(thread->service->coalesce, clock_ms(), &more);
    if (more)
        server_wake_worker(server);
    if (batch && batch->made)
        conclude_all(batch, true, NULL);
    else if (batch)
        answer_batch(thread, batch, NULL, server);
}

void service_on_busy_timer(struct service_thread *overload, struct server *server)
{
    struct coalesce *coalesce = overload->service->coalesce;
    int64_t now = clock_ms();
    int64_t timeout = overload->service->conf->fcgi.queue_timeout_ms;
    int64_t age = coalesce_age(coalesce, now);
    if (age < COALESCE_PATIENCE_MS)
        return;
    if (age < timeout) {
        server_wake_worker(server);
        return;
    }
    struct coalesce_waiter *waiters = coalesce_clear(coalesce, now - timeout);
    for (struct coalesce_waiter *waiter = waiters; waiter; waiter = waiter->next)
        service_reject(&context_of(waiter)->call.error);
    conclude_all(waiters, false, NULL);
}
