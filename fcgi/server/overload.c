/* SPDX-License-Identifier: MIT
 * The overload thread. While any worker is busy it checks ten times a second whether requests wait
 * for a worker. The queue probe, an event that waits in the epoll set as they do, shows for how
 * long. Requests that have waited for fcgi.queuetimeout are answered here, without the database:
 * with 503, or with what needs no database. */
#include "server/server_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

/* How often it checks, and how many more checks it makes after the last worker became free. */
#define LOOK_MS     100
#define QUIET_LOOKS 5

/* A worker that takes longer for one request is blocked, and all others may lead. */
#define BLOCKED_MS 100

/* Looks for requests that wait for a shared answer, and for blocked workers. Returns whether any
 * worker is busy. */
static bool look(struct worker *self)
{
    struct server *server = self->server;
    int64_t now = clock_ms();
    bool busy = false;
    bool blocked = false;
    server->calls->on_busy_timer(self->context, server);
    for (int64_t i = 0; i < server->conf->threads; i++) {
        int64_t since = atomic_load(&server->workers[i].busy_since);
        busy |= since != 0;
        blocked |= since != 0 && now - since >= BLOCKED_MS;
    }
    leader_pool_set_blocked(server->leader_pool, blocked);
    return busy;
}

/* True while requests wait for too long. */
static bool is_overloaded(const struct server *server)
{
    return atomic_load(&server->probe_sent) != 0 ||
           are_workers_busy_since(server, clock_ms() - server->conf->queue_timeout_ms);
}

/* Serves in the workers' place. epoll reports first what was ready first: so this thread gets what
 * came before the queue probe, which has waited for too long, and after that all that comes
 * while no worker ends a request. */
static void reject(struct worker *self)
{
    struct server *server = self->server;
    log_message(LOG_WARN, "requests wait for a thread for more than %d ms: answering 503",
                (int)server->conf->queue_timeout_ms);
    while (is_overloaded(server)) {
        struct epoll_event event;
        look(self);
        if (epoll_wait(server->epoll, &event, 1, LOOK_MS) < 1)
            continue;
        if (event.data.u64 == EVENT_QUIT)
            return;
        bool over = is_any_worker_free(server);
        struct connection *c = connection_of_event(server, event.data.u64);
        if (c && over)
            connection_hand_over(server, c);
        else if (c)
            input_serve(self, c);
        if (over)
            return;
    }
}

/* While no worker is free, new connections go into the epoll set, where all requests wait in one
 * queue, and the queue probe behind them. */
static void send_probe(struct server *server)
{
    struct connection *c;
    while ((c = connection_accept(server)))
        connection_hand_over(server, c);
    if (atomic_load(&server->probe_sent) != 0)
        return;
    atomic_store(&server->probe_sent, clock_ms());
    if (!event_signal(server->probe_event))
        atomic_store(&server->probe_sent, 0);
}

static bool are_all_workers_free(const struct server *server)
{
    for (int64_t i = 0; i < server->conf->threads; i++) {
        if (atomic_load(&server->workers[i].busy_since) != 0)
            return false;
    }
    return true;
}

/* Waits for the next look; with `sleep`, until a worker is busy. False at the end. */
static bool wait_look(struct server *server, bool sleep)
{
    struct pollfd events[] = {{.fd = server->quit_event, .events = POLLIN},
                              {.fd = server->overload_event, .events = POLLIN}};
    uint64_t count;
    atomic_store(&server->overload_sleeps, sleep);
    /* A worker may have become busy just before, and woken nobody. */
    sleep = sleep && are_all_workers_free(server);
    poll(events, 2, sleep ? -1 : LOOK_MS);
    atomic_store(&server->overload_sleeps, false);
    if (events[1].revents && read(server->overload_event, &count, sizeof count) < 0)
        return true;
    return !events[0].revents;
}

void overload_wake(struct server *server)
{
    if (atomic_load(&server->overload_sleeps) && atomic_exchange(&server->overload_sleeps, false))
        event_signal(server->overload_event);
}

void *overload_run(void *argument)
{
    struct worker *self = argument;
    struct server *server = self->server;
    int quiet = 0;
    while (wait_look(server, quiet > QUIET_LOOKS)) {
        quiet = look(self) ? 0 : quiet + 1;
        int64_t sent = atomic_load(&server->probe_sent);
        if (sent != 0 && clock_ms() - sent >= server->conf->queue_timeout_ms)
            reject(self);
        else if (!is_any_worker_free(server) && !atomic_load(&server->stopping))
            send_probe(server);
    }
    return NULL;
}
