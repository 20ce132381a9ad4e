/* SPDX-License-Identifier: MIT
 *
 * server: threads, signals and connections; no more of HTTP than that requests come.
 *
 * Worker threads wait on one epoll set, a few at a time (leaders.h), which holds the listening
 * socket and every connection that has no whole request waiting. So an idle, silent or half-sent
 * connection costs a slot in a table, and no thread: the parts of a request are kept
 * until it is whole (record.h), and only then is it given to libfcgi, whose reading then
 * cannot block.
 *
 * A request may also be kept, once its parameters are read, and be answered later by another
 * thread, together with others; meanwhile it, too, costs no thread.
 *
 * One more thread, the reserve, takes a hand when no worker is free: what has then waited
 * for fcgi.queuetimeout is answered by it, first come, first served; and while all workers
 * are stuck for that long, all that comes.
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
    SERVER_KEPT,       /* to be answered later; only where it may wait */
    SERVER_NEEDS_BODY, /* not without more of the body; only with SERVER_BODY_MORE */
};

/* A request whose parameters have come whole, until it is answered. */
struct server_request {
    FCGX_Request fcgx; /* its parameters, and where the answer is written */
    enum server_body body_state;
    const char *body;   /* what has come of it; valid while `answer` is called */
    size_t body_len;    /* at most server_calls.body_most + 1 */
    size_t body_wanted; /* set with SERVER_NEEDS_BODY: as many bytes suffice */
    bool may_wait;      /* may be answered later */
    struct server *server;
    struct connection *connection;   /* the server's own */
    struct worker *worker;           /* likewise, while `answer` is called */
    alignas(max_align_t) char own[]; /* `own_size` bytes of the caller's, at first undefined */
};

/* What the server calls back. `shared` is the same for all threads. */
struct server_calls {
    size_t own_size;  /* that each server_request has room for */
    size_t body_most; /* the longest body that matters, in bytes */
    void *shared;
    /* NULL: out of memory. A reserve's answers must not wait for anything. */
    void *(*thread_new)(void *shared, bool reserve);
    void (*thread_free)(void *thread);
    /* Answers one request, once its parameters are whole. SERVER_KEPT: whichever thread
     * answers it later calls server_answered. SERVER_NEEDS_BODY: it is called again, for the
     * same request from its start, when `body_wanted` bytes have come, or all there are, or
     * no more may come. What comes of a body after the answer is discarded. */
    enum server_outcome (*answer)(void *thread, struct server_request *request);
    /* On one worker that is free, after server_wake. */
    void (*wake)(void *thread, struct server *server);
    /* About ten times a second, on the reserve: does any request wait for too long? */
    void (*look)(void *reserve, struct server *server);
    /* Once, when all threads run and requests are taken; on the thread that called server_run, as
     * are the next four. */
    void (*started)(void *shared);
    /* About four times a second. `progress` is false where no worker has ended a request for longer
     * than one may take. */
    void (*tick)(void *shared, bool progress);
    /* SIGHUP. */
    void (*reload)(void *shared);
    /* A signal to stop has come; requests in progress are answered after this call. */
    void (*stopping)(void *shared);
    /* Once no request has come for a while after there were some. */
    void (*rest)(void *shared);
};

/* Holds back the signals that server_run deals with. Called first of all, so that one that
 * comes while the program starts (mod_fcgid and init scripts send it as they like) finds
 * the requests that wait in an inherited socket answered, and not reset. */
void server_block_signals(void);

/* Ends a request that was kept: sends what is left of its answer, and frees it. Thread-safe. */
void server_answered(struct server_request *request);

/* Has another thread wait for requests, if need be, because this one is about to be held up;
 * to be called while `answer` is. */
void server_step_down(struct server_request *request);

/* Calls for a worker, for what was kept. May come to nothing, where all are stuck. Thread-safe. */
void server_wake(struct server *server);

/* Serves until SIGTERM, SIGINT or SIGUSR1, and until what was under way then is answered
 * or fcgi.draintimeout has passed; what is still under way then ends with the process,
 * which exits from here with success. The listener is the caller's to close. False, with a line in
 * `why`, where it could not start. To be called once, before there are other threads: it blocks
 * those signals in the calling thread and in all it makes. */
bool server_run(const struct conf_fcgi *conf, struct listener *listener,
                const struct server_calls *calls, char *why, size_t why_size);

#endif
