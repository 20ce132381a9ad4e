/* SPDX-License-Identifier: MIT
 *
 * server: connections, threads and signals. Of HTTP it knows only that requests come.
 *
 * Worker threads wait on one epoll set, which holds the listening sockets and every connection
 * without a whole request. So an idle, silent or half-sent connection costs a slot in a table and
 * no thread. A request is judged when its parameters have come whole (record.h); only then is it
 * given to libfcgi, whose reading cannot block then.
 *
 * A request may be kept and be answered later by another thread, together with others; meanwhile
 * it costs no thread either. One more thread, the overload thread, answers what has waited for
 * fcgi.queuetimeout while no worker was free. The main thread deals with signals and deadlines.
 */
#ifndef BBM_SERVER_H
#define BBM_SERVER_H

#include "base/conf.h"
#include "server/listener.h"

#include <fcgiapp.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>

/* At the end, what is in the log's queue has this long to be written. */
#define SERVER_LOG_STOP_MS 1000

struct server;
struct connection;
struct worker;

/* How much of a request's body has come. */
enum server_body {
    SERVER_BODY_MORE,  /* not all of it, or its end is not known yet */
    SERVER_BODY_WHOLE, /* all of it */
    SERVER_BODY_LATE,  /* not all of it within fcgi.readtimeout */
    SERVER_BODY_LONG,  /* more of it, or in more pieces, than the server keeps */
};

/* What became of a request. */
enum server_outcome {
    SERVER_ANSWERED,
    SERVER_KEPT,       /* to be answered later; only with may_be_kept */
    SERVER_NEEDS_BODY, /* more of the body must come first; only with SERVER_BODY_MORE */
};

/* A request whose parameters have come whole, until it is answered. */
struct server_request {
    FCGX_Request fcgx; /* its parameters, and where the answer is written */
    enum server_body body_state;
    const char *body;   /* what has come of it; valid while `answer` is called */
    size_t body_len;    /* at most server_calls.body_most + 1 */
    size_t body_wanted; /* set with SERVER_NEEDS_BODY: as many bytes suffice */
    bool may_be_kept;   /* SERVER_KEPT is allowed */
    struct server *server;
    struct connection *connection;   /* the server's own */
    struct worker *worker;           /* the server's own, while `answer` is called */
    alignas(max_align_t) char own[]; /* `own_size` bytes of the caller's, at first undefined */
};

/* What the server calls back. `shared` is the same for all threads. */
struct server_calls {
    size_t own_size;              /* bytes that each server_request has for the caller */
    size_t body_most;             /* the longest body that matters, in bytes */
    const char *too_large_answer; /* a CGI answer to parameters beyond the server's bounds */
    void *shared;

    /* The context of a thread; NULL when out of memory. Answers with the overload thread's context
     * must not wait for anything. */
    void *(*thread_new)(void *shared, bool overload);
    void (*thread_free)(void *context);

    /* Answers one request, whose parameters are whole. SERVER_KEPT: the thread that answers it
     * later calls server_answered. SERVER_NEEDS_BODY: the callback is called again for the same
     * request when `body_wanted` bytes have come, or all there are, or no more may come. What comes
     * of a body after the answer is discarded. */
    enum server_outcome (*answer)(void *context, struct server_request *request);

    /* server_wake_worker was called; on a worker that is free. */
    void (*on_wake)(void *context, struct server *server);

    /* Ten times a second while any worker is busy; on the overload thread. */
    void (*on_busy_timer)(void *context, struct server *server);

    /* All that follows is called on the thread that called server_run. */

    /* All threads run, and requests are taken. */
    void (*on_started)(void *shared);
    /* Twice a second. `progress` is false where no worker has ended a request for longer than one
     * may take. */
    void (*on_timer)(void *shared, bool progress);
    /* SIGHUP has come. */
    void (*on_reload)(void *shared);
    /* A signal to stop has come. Requests in progress are answered after this call. */
    void (*on_stopping)(void *shared);
    /* There were requests, and none has come for half a second. */
    void (*on_idle)(void *shared);
};

/* Blocks the signals that server_run waits for, and ignores SIGPIPE. To be called first of all: a
 * signal that comes while the program starts, as mod_fcgid and init scripts send it, must not
 * reset the requests that wait in an inherited socket. */
void server_block_signals(void);

/* Ends a request that was kept: sends what is left of its answer, and frees it. Thread-safe. */
void server_answered(struct server_request *request);

/* This thread may block now, while it answers the request: another one waits for requests in its
 * place. */
void server_may_block(struct server_request *request);

/* Makes a worker call on_wake; late, where all workers are busy. Thread-safe. */
void server_wake_worker(struct server *server);

/* Serves until SIGTERM, SIGINT, SIGQUIT or SIGUSR1, and until the requests in progress are
 * answered or fcgi.draintimeout has passed; in the latter case the process exits from here, with
 * success. The listener is the caller's to close. False, with one line in `why`, where the server
 * could not start. To be called once. */
bool server_run(const struct conf_fcgi *conf, struct listener *listener,
                const struct server_calls *calls, char *why, size_t why_size);

#endif
