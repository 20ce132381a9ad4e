/* SPDX-License-Identifier: MIT
 * The table of connections. */
#include "server/server_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long a connection lingers at most. */
#define LINGER_MS 5000

/* Edge-triggered: each arrival is reported once. Level-triggered, a half-sent request would be
 * reported for ever. */
#define EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

bool epoll_add(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static uint64_t event_of(const struct server *server, const struct connection *c)
{
    return CONNECTION_USE(atomic_load(&c->state)) << 32 | (uint64_t)(c - server->connections);
}

/* ---- slots ---- */

static bool has_room(const struct server *server)
{
    return server->free != NO_SLOT || atomic_load(&server->used) < server->conf->connections;
}

/* Takes a free slot, or the next that has not been used yet; there is room. */
static struct connection *take_slot(struct server *server)
{
    struct connection *c;
    if (server->free != NO_SLOT) {
        c = &server->connections[server->free];
        server->free = c->next_free;
        return c;
    }
    c = &server->connections[atomic_load(&server->used)];
    c->fd = -1;
    atomic_init(&c->state, CONNECTION_BUSY);
    atomic_init(&c->deadline, INT64_MAX);
    atomic_fetch_add(&server->used, 1);
    return c;
}

/* Without a free slot the listener leaves the epoll set: it would be reported over and over. */
void listen_locked(struct server *server)
{
    if (server->listening || atomic_load(&server->stopping) || !has_room(server))
        return;
    server->listening = listener_watch(server->listener, server->epoll, EVENT_LISTENER);
}

static void listen_pause_locked(struct server *server)
{
    if (!server->listening)
        return;
    listener_unwatch(server->listener, server->epoll);
    server->listening = false;
}

void listen_pause(struct server *server)
{
    pthread_mutex_lock(&server->table_lock);
    listen_pause_locked(server);
    pthread_mutex_unlock(&server->table_lock);
}

unsigned connections_open(struct server *server)
{
    pthread_mutex_lock(&server->table_lock);
    unsigned open = server->open;
    pthread_mutex_unlock(&server->table_lock);
    return open;
}

/* A slot for a new connection, owned by the caller and without a descriptor. NULL: all are in use.
 */
static struct connection *connection_new(struct server *server)
{
    struct connection *c = NULL;
    pthread_mutex_lock(&server->table_lock);
    if (has_room(server)) {
        c = take_slot(server);
        server->open++;
        metrics_connections(1);
        c->in_epoll = false;
        c->served = false;
        c->begun = false;
        c->lingers = false;
        c->discarded = 0;
        c->rest = (struct record_rest){0};
        c->body_wanted = 0;
        c->body_late = false;
        /* A request that has come whole may still have to wait for a thread. */
        atomic_store(&c->deadline,
                     clock_ms() + server->conf->read_timeout_ms + server->conf->queue_timeout_ms);
        atomic_store(&c->state, CONNECTION_USE(atomic_load(&c->state)) << 32 | CONNECTION_BUSY);
    }
    if (!has_room(server))
        listen_pause_locked(server);
    pthread_mutex_unlock(&server->table_lock);
    return c;
}

/* A free slot stays BUSY, under the number of its next use, so that no late event can claim it. */
void connection_close(struct server *server, struct connection *c)
{
    pthread_mutex_lock(&server->table_lock);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->partial);
    c->partial = NULL;
    c->partial_len = 0;
    atomic_store(&c->deadline, INT64_MAX);
    atomic_store(&c->state, (CONNECTION_USE(atomic_load(&c->state)) + 1) << 32 | CONNECTION_BUSY);
    c->next_free = server->free;
    server->free = (uint32_t)(c - server->connections);
    server->open--;
    metrics_connections(-1);
    listen_locked(server);
    pthread_mutex_unlock(&server->table_lock);
}

/* ---- ownership ---- */

bool connection_claim(struct connection *c, uint64_t use)
{
    uint64_t state = atomic_load(&c->state);
    while (CONNECTION_USE(state) == use) {
        uint64_t wanted = state | (state & CONNECTION_BUSY ? CONNECTION_PENDING : CONNECTION_BUSY);
        if (atomic_compare_exchange_weak(&c->state, &state, wanted))
            return !(state & CONNECTION_BUSY);
    }
    return false;
}

bool connection_release(struct server *server, struct connection *c)
{
    atomic_store(&c->last_used, clock_ms());
    if (!c->in_epoll) {
        c->in_epoll = epoll_add(server->epoll, c->fd, EVENTS, event_of(server, c));
        if (!c->in_epoll) {
            connection_close(server, c);
            return true;
        }
    }
    uint64_t state = atomic_load(&c->state);
    do {
        if (state & CONNECTION_PENDING) {
            atomic_fetch_and(&c->state, ~CONNECTION_PENDING);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&c->state, &state, state & ~CONNECTION_BUSY));
    return true;
}

/* Under table_lock: a thread that claims the connection at once cannot close it before epoll_ctl
 * is done; its descriptor's number could by then be another connection's. */
void connection_hand_over(struct server *server, struct connection *c)
{
    struct epoll_event event = {.events = EVENTS, .data.u64 = event_of(server, c)};
    /* A late body is answered without further input. */
    if (c->body_late)
        event.events |= EPOLLOUT;
    int operation = c->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int fd = c->fd;
    c->in_epoll = true;
    atomic_store(&c->last_used, clock_ms());
    pthread_mutex_lock(&server->table_lock);
    atomic_fetch_and(&c->state, ~(CONNECTION_BUSY | CONNECTION_PENDING));
    epoll_ctl(server->epoll, operation, fd, &event);
    pthread_mutex_unlock(&server->table_lock);
}

void connection_linger(struct connection *c)
{
    shutdown(c->fd, SHUT_WR);
    c->lingers = true;
    atomic_store(&c->deadline, clock_ms() + LINGER_MS);
}

/* ---- accepting ---- */

/* Out of descriptors or memory, listening pauses until the timer tries again. */
static void accept_none(struct server *server, struct connection *c, int error)
{
    connection_close(server, c);
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
        return;
    log_message(LOG_ERROR, "cannot accept: %s; trying again shortly", strerror(error));
    listen_pause(server);
}

/* The slot is taken first: a connection that is accepted cannot wait for one. */
struct connection *connection_accept(struct server *server)
{
    const int on = 1;
    const struct timeval patience = {.tv_sec = server->conf->read_timeout_ms / 1000 + 1};
    struct connection *c = connection_new(server);
    if (!c)
        return NULL;
    int fd = listener_accept(server->listener);
    if (fd < 0) {
        accept_none(server, c, errno);
        return NULL;
    }
    pthread_mutex_lock(&server->table_lock);
    c->fd = fd;
    pthread_mutex_unlock(&server->table_lock);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return c;
}
