/* SPDX-License-Identifier: MIT
 *
 * server_private: what the server's own files share. All others include server.h alone.
 *
 *   connections.c  the table of connections: slots, ownership, accepting, closing
 *   input.c        what comes on a connection: records, partial input, discarded input
 *   request.c      one request: libfcgi, the callback, the end of the answer
 *   worker.c       the worker threads
 *   overload.c     the overload thread, which answers when no worker is free
 *   deadlines.c    connections whose time has passed, or that are closed at a stop
 *   server.c       start, signals, timer, stop
 *
 * A connection belongs to one thread at a time, its owner: a worker, the overload thread, the main
 * thread in deadlines.c, or the thread that answers a kept request. Between two owners it waits in
 * the epoll set.
 */
#ifndef BBM_SERVER_PRIVATE_H
#define BBM_SERVER_PRIVATE_H

#include "server/leader_pool.h"
#include "server/record.h"
#include "server/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* The lower bits of a connection's state. The thread that set BUSY is its owner. An event that
 * another thread sees meanwhile sets PENDING, and the owner looks again before it releases the
 * connection. The upper half counts the slot's uses, so that an event for an earlier connection
 * in the same slot is ignored. */
#define CONNECTION_BUSY       UINT64_C(1)
#define CONNECTION_PENDING    UINT64_C(2)
#define CONNECTION_USE(state) ((state) >> 32)

/* Data of the epoll events that are not a connection's; no connection has these numbers. */
#define EVENT_LISTENER (UINT64_MAX - 1) /* somebody connects */
#define EVENT_PROBE    (UINT64_MAX - 2) /* the queue probe has reached a worker */
#define EVENT_WAKE     (UINT64_MAX - 3) /* server_wake_worker was called */
#define EVENT_QUIT     UINT64_MAX       /* all threads end */

struct connection {
    _Atomic uint64_t state;
    _Atomic int64_t deadline;  /* clock_ms(); when it has passed, the connection is closed */
    _Atomic int64_t last_used; /* clock_ms() of the last release */
    int fd; /* set and closed under table_lock; all that follows is the owner's */
    bool in_epoll;
    bool served;             /* a request has been answered */
    bool begun;              /* a part of a request has come; `deadline` is fcgi.readtimeout's */
    bool lingers;            /* the last answer is sent; what still comes is discarded */
    size_t discarded;        /* bytes, since the last answer */
    struct record_rest rest; /* of the body of the request that was answered last */
    size_t body_wanted;      /* bytes that the partial request's answer needs; 0: not known yet */
    bool body_late;          /* they have not come in time */
    unsigned char *partial;  /* the part of a request that has come; NULL: none */
    size_t partial_len;
    uint32_t next_free;
};

struct worker {
    struct server *server;
    void *context;                  /* of server_calls.thread_new */
    struct server_request *request; /* the present one, or the next */
    struct server_request *spare;   /* for its place when it is kept; NULL: none yet */
    int pipe[2];                    /* libfcgi reads parameters from it; -1: closed */
    pthread_t id;
    _Atomic int64_t busy_since; /* clock_ms() of the present request's start; 0: free */
    char *body;                 /* server_calls.body_most + 1 bytes */
    unsigned char input[RECORD_REQUEST_MOST];
};

struct server {
    const struct conf_fcgi *conf;
    const struct server_calls *calls;
    struct listener *listener;
    char why[256]; /* one line, where it could not start */
    atomic_bool stopping;

    int epoll;
    int quit_event;             /* eventfds; this one wakes all threads for good */
    int wake_event;             /* wakes one worker */
    int probe_event;            /* the queue probe: waits for a worker as requests do */
    _Atomic int64_t probe_sent; /* clock_ms(); 0: no probe is in the queue */
    int overload_event;         /* wakes the overload thread */
    atomic_bool overload_sleeps;

    struct worker *workers;          /* conf->threads, and after them the overload thread */
    struct leader_pool *leader_pool; /* which workers wait on `epoll` */

    /* Guards the table, and the moments in which one thread closes a connection and another one
     * shuts it down or hands it over. */
    pthread_mutex_t table_lock;
    struct connection *connections; /* conf->connections slots */
    uint32_t free;                  /* first of those slots that were used and are free */
    _Atomic int64_t used;           /* slots that have been in use; the rest is not set up yet */
    unsigned open;
    bool listening; /* the listener is in the epoll set */
};

/* ---- connections.c ---- */

#define NO_SLOT UINT32_MAX

/* Accepts one connection, for the caller to own. NULL: none waits, or there is no slot for it. */
struct connection *connection_accept(struct server *server);

/* Closes an owned connection. */
void connection_close(struct server *server, struct connection *c);

/* Becomes the owner. False where the slot has another use by now, or another owner, who then
 * looks again. */
bool connection_claim(struct connection *c, uint64_t use);

/* Releases an owned connection to the epoll set. False where something came meanwhile: the
 * caller still is the owner. */
bool connection_release(struct server *server, struct connection *c);

/* Releases an owned connection and re-arms epoll, so that a worker gets what has come by now. */
void connection_hand_over(struct server *server, struct connection *c);

/* Takes no further request on an owned connection, and discards for a while what its peer still
 * sends. If the connection were closed at once, the peer's kernel could drop the answer. */
void connection_linger(struct connection *c);

unsigned connections_open(struct server *server);

/* Adds the listener to the epoll set, if there is a free slot; and removes it. The first is called
 * with table_lock held. */
void listen_locked(struct server *server);
void listen_pause(struct server *server);

bool epoll_add(int epoll, int fd, uint32_t events, uint64_t data);

/* ---- input.c ---- */

/* Serves an owned connection until nothing more has come, then releases or closes it. */
void input_serve(struct worker *worker, struct connection *c);

/* ---- request.c ---- */

enum served {
    SERVED,
    SERVED_LATER, /* the connection belongs to the thread that answers later */
    SERVED_PART,  /* more of the request must come first */
    SERVED_LAST,  /* the connection cannot be used further */
};

/* NULL when out of memory. */
struct server_request *request_new(struct server *server);

/* Answers the scanned request at the start of `bytes`, whose parameters are whole. `*used` is set
 * to how many of the bytes belong to it. */
enum served request_serve(struct worker *worker, struct connection *c, const unsigned char *bytes,
                          size_t len, const struct record_request *scanned, size_t *used);

/* Opens the pipe to libfcgi where it is closed. False with errno. */
bool request_pipe_open(struct worker *worker);
void request_pipe_close(struct worker *worker);

/* Counts and logs a connection whose answer was not ready, or not read, in time. */
void report_unread_answer(void);

/* ---- worker.c ---- */

/* Starts a thread: a worker, or with `overload` the overload thread. False with server->why. */
bool worker_start(struct worker *worker, bool overload);

/* Waits for its end and frees what it holds. */
void worker_join(struct worker *worker);

/* True where a worker waits for something to do. */
bool is_any_worker_free(const struct server *server);

/* True where each worker is at one request since `then` or before. */
bool are_workers_busy_since(const struct server *server, int64_t then);

/* The connection of an epoll event, for the caller to own; NULL: none, or it has an owner. */
struct connection *connection_of_event(struct server *server, uint64_t event);

/* ---- overload.c ---- */

void *overload_run(void *worker);

/* Wakes the overload thread, where it sleeps: a worker is busy now. */
void overload_wake(struct server *server);

/* ---- deadlines.c ---- */

/* Looks through all connections once. To be called from the main thread. */
void deadlines_enforce(struct server *server);

/* ---- server.c ---- */

/* Makes an eventfd readable. False where that fails. */
bool event_signal(int event);

/* Writes server->why. Returns false. */
bool server_fail(struct server *server, const char *what, int error, const char *remedy);

#endif
