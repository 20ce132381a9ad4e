/* SPDX-License-Identifier: MIT
 * The worker threads, which wait on the epoll set and serve what comes. */
#include "server/server_private.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* What a thread needs: libpq, OpenSSL and getaddrinfo go deep. */
#define STACK_SIZE ((size_t)512 * 1024)

static size_t number_of(const struct worker *worker)
{
    return (size_t)(worker - worker->server->workers);
}

static void set_busy(struct worker *worker)
{
    metrics_threads_busy(1);
    atomic_store(&worker->busy_since, clock_ms());
    overload_wake(worker->server);
}

static void set_free(struct worker *worker)
{
    if (atomic_exchange(&worker->busy_since, 0) != 0)
        metrics_threads_busy(-1);
}

bool is_any_worker_free(const struct server *server)
{
    for (int64_t i = 0; i < server->conf->threads; i++) {
        if (atomic_load(&server->workers[i].busy_since) == 0)
            return true;
    }
    return false;
}

bool are_workers_busy_since(const struct server *server, int64_t then)
{
    for (int64_t i = 0; i < server->conf->threads; i++) {
        int64_t since = atomic_load(&server->workers[i].busy_since);
        if (since == 0 || since > then)
            return false;
    }
    return true;
}

static void step_down(const struct worker *worker)
{
    leader_pool_step_down(worker->server->leader_pool, number_of(worker));
}

void server_may_block(struct server_request *request)
{
    step_down(request->worker);
}

void server_wake_worker(struct server *server)
{
    event_signal(server->wake_event);
}

/* The listener is level-triggered: each event takes one connection, and further ones cause
 * further events. */
struct connection *connection_of_event(struct server *server, uint64_t event)
{
    if (event == EVENT_LISTENER)
        return connection_accept(server);
    if (event == EVENT_PROBE) {
        atomic_store(&server->probe_sent, 0);
        return NULL;
    }
    if (event == EVENT_WAKE) /* on the overload thread, which looks for waiting requests anyway */
        return NULL;
    struct connection *c = &server->connections[(uint32_t)event];
    return connection_claim(c, CONNECTION_USE(event)) ? c : NULL;
}

static void serve_event(struct worker *worker, uint64_t event)
{
    struct server *server = worker->server;
    if (event == EVENT_WAKE) {
        step_down(worker);
        server->calls->on_wake(worker->context, server);
        return;
    }
    struct connection *c = connection_of_event(server, event);
    if (c)
        input_serve(worker, c);
}

static void *worker_run(void *argument)
{
    struct worker *worker = argument;
    const struct server *server = worker->server;
    for (;;) {
        struct epoll_event event;
        set_free(worker);
        if (!leader_pool_join(server->leader_pool, number_of(worker)))
            return NULL;
        if (epoll_wait(server->epoll, &event, 1, -1) < 1)
            continue;
        if (event.data.u64 == EVENT_QUIT)
            return NULL;
        set_busy(worker);
        serve_event(worker, event.data.u64);
    }
}

/* ---- start and end ---- */

static void worker_free(struct worker *worker)
{
    worker->server->calls->thread_free(worker->context);
    free(worker->request);
    free(worker->spare);
    free(worker->body);
    request_pipe_close(worker);
}

static bool worker_init(struct worker *worker, bool overload)
{
    struct server *server = worker->server;
    worker->pipe[0] = worker->pipe[1] = -1;
    worker->context = server->calls->thread_new(server->calls->shared, overload);
    worker->request = request_new(server);
    worker->body = malloc(server->calls->body_most + 1);
    if (!worker->context || !worker->request || !worker->body)
        return server_fail(server, "cannot start a thread", ENOMEM, "");
    return request_pipe_open(worker) ||
           server_fail(server, "cannot make a thread's pipe", errno, "");
}

bool worker_start(struct worker *worker, bool overload)
{
    pthread_attr_t attributes;
    char what[64];
    if (!worker_init(worker, overload)) {
        worker_free(worker);
        return false;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error =
        pthread_create(&worker->id, &attributes, overload ? overload_run : worker_run, worker);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        return true;
    worker_free(worker);
    snprintf(what, sizeof what, "cannot start thread %zu of %d", number_of(worker) + 1,
             (int)worker->server->conf->threads + 1);
    return server_fail(worker->server, what, error,
                       error == EAGAIN ? "; lower fcgi.threads or raise the limit of threads" : "");
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->id, NULL);
    worker_free(worker);
}
