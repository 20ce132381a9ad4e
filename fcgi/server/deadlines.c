/* SPDX-License-Identifier: MIT
 * Connections whose time has passed, and at a stop those without a request. */
#include "server/server_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <sys/socket.h>

/* At a stop, a connection without a request is kept this long: a request may be on its way, sent
 * before the web server could know. */
#define QUIET_MS 100

/* Says why a connection is closed at its deadline. */
static void report_deadline(const struct connection *c)
{
    if (c->lingers) {
        metrics_connection_dropped(METRICS_DROP_LINGER_TIMEOUT);
        log_message(LOG_INFO, "closed a connection that its peer did not close after an answer");
    } else if (c->served && !c->begun) {
        metrics_connection_dropped(METRICS_DROP_IDLE_TIMEOUT);
        log_message(LOG_DEBUG, "closed a connection without a request within fcgi.idletimeout");
    } else {
        metrics_connection_dropped(METRICS_DROP_READ_TIMEOUT);
        log_message(LOG_WARN,
                    "closed a connection without a whole request within fcgi.readtimeout");
    }
}

/* An owned connection at its deadline. A request that lacks its body is answered by a worker; if
 * that does not happen in time either, the connection is closed. */
static void expire(struct server *server, struct connection *c, int64_t now)
{
    if (c->body_wanted > 0 && !c->body_late) {
        c->body_late = true;
        metrics_connection_dropped(METRICS_DROP_BODY_TIMEOUT);
        atomic_store(&c->deadline, now + server->conf->read_timeout_ms);
        connection_hand_over(server, c);
        return;
    }
    report_deadline(c);
    connection_close(server, c);
}

/* Another thread's connection at its deadline: shut down, so that a blocked write ends. */
static void cut(struct server *server, struct connection *c, int64_t now)
{
    pthread_mutex_lock(&server->table_lock);
    /* Read again under the lock: the slot may be another connection's by now. */
    int64_t deadline = atomic_load(&c->deadline);
    bool late = c->fd >= 0 && now >= deadline &&
                atomic_compare_exchange_strong(&c->deadline, &deadline, INT64_MAX);
    if (late)
        shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&server->table_lock);
    if (late)
        report_unread_answer();
}

static void enforce(struct server *server, struct connection *c, int64_t now)
{
    uint64_t state = atomic_load(&c->state);
    if (now < atomic_load(&c->deadline))
        return;
    if (state & CONNECTION_BUSY)
        cut(server, c, now);
    else if (connection_claim(c, CONNECTION_USE(state)))
        expire(server, c, now);
}

/* True where a request, or a part of one, has come that nobody has answered. */
static bool has_input(const struct connection *c)
{
    char byte;
    return !c->lingers &&
           (c->partial_len > 0 || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
}

/* Closes a connection on which nothing happens. One with a request, or a part of one, is left to
 * the workers and its deadline. */
static void close_quiet(struct server *server, struct connection *c, int64_t now)
{
    uint64_t state = atomic_load(&c->state);
    if (state & CONNECTION_BUSY || now < atomic_load(&c->last_used) + QUIET_MS ||
        !connection_claim(c, CONNECTION_USE(state)))
        return;
    if (has_input(c))
        connection_hand_over(server, c);
    else
        connection_close(server, c);
}

void deadlines_enforce(struct server *server)
{
    int64_t now = clock_ms();
    bool stopping = atomic_load(&server->stopping);
    int64_t used = atomic_load(&server->used);
    for (int64_t i = 0; i < used; i++) {
        enforce(server, &server->connections[i], now);
        if (stopping)
            close_quiet(server, &server->connections[i], now);
    }
}
