/* SPDX-License-Identifier: MIT
 *
 * server: threads, signals and connections; no more of HTTP than that requests come.
 *
 * All worker threads wait on one epoll set, which holds the listening socket and every
 * connection that has no whole request waiting. So an idle, silent or half-sent
 * connection costs a slot in a table, and no thread: the parts of a request are kept
 * until it is whole (record.h), and only then is it given to libfcgi, whose reading then
 * cannot block.
 *
 * One more thread, the reserve, takes a hand when no worker is free: what has then waited
 * for fcgi.queuetimeout is answered by it, first come, first served; and while all workers
 * are stuck for that long, all that comes.
 */
#ifndef BBM_SERVER_H
#define BBM_SERVER_H

#include "conf.h"
#include "listener.h"

#include <fcgiapp.h>
#include <stdbool.h>

/* What the server calls back. `shared` is the same for all threads. */
struct server_calls {
    void *shared;
    /* NULL: out of memory. A reserve's answers must not wait for anything. */
    void *(*thread_new)(void *shared, bool reserve);
    void (*thread_free)(void *thread);
    /* One request; `body_long`: its body is beyond the bound and must not be read. */
    void (*answer)(void *thread, FCGX_Request *request, bool body_long);
    /* About four times a second, on the thread that called server_run. */
    void (*tick)(void *shared);
    /* SIGHUP, likewise. */
    void (*reload)(void *shared);
};

/* Holds back the signals that server_run deals with. Called first of all, so that one that
 * comes while the program starts (mod_fcgid and init scripts send it as they like) finds
 * the requests that wait in an inherited socket answered, and not reset. */
void server_block_signals(void);

/* Serves until SIGTERM, SIGINT or SIGUSR1, and until what was under way then is answered
 * or fcgi.draintimeout has passed; what is still under way then ends with the process,
 * which exits from here with success. The listener is the caller's to close. False, with a line in
 * `why`, where it could not start. To be called once, before there are other threads: it blocks
 * those signals in the calling thread and in all it makes. */
bool server_run(const struct conf_fcgi *conf, struct listener *listener,
                const struct server_calls *calls, char *why, size_t why_size);

#endif
