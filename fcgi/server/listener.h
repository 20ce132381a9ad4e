/* SPDX-License-Identifier: MIT
 *
 * listener: the sockets that the web server connects to (contract, section 5).
 *
 * A supervisor hands them over as descriptor 0 (spawn-fcgi, mod_fcgid, a systemd socket unit with
 * StandardInput=socket) or from descriptor 3 on, named by LISTEN_FDS and LISTEN_PID
 * (sd_listen_fds(3)). Inherited sockets go before fcgi.listen. Without any, fcgi.listen is bound: a
 * socket file, or each address of a host. Belongs to the thread that opens it, except for
 * listener_accept, which is thread-safe.
 */
#ifndef BBM_LISTENER_H
#define BBM_LISTENER_H

#include "base/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Sockets at most: a host name may have several addresses. */
#define LISTENER_SOCKETS 8

struct listener {
    int fds[LISTENER_SOCKETS];
    size_t count;
    char *path;   /* of a socket file that was made here and is removed at the end; NULL: none */
    dev_t device; /* identify that file */
    ino_t inode;
    bool inherited;
};

/* Checks the form of fcgi.listen, and that fcgi.group exists. Opens nothing. On failure `why` is
 * one line. */
bool listener_check(const struct conf *conf, char *why, size_t why_size);

/* Checks in addition that the folder of the socket file is there and writable, that this user may
 * give the file to fcgi.group, and that this host has the address. Disturbs no process that serves
 * there. On failure `why` is one line. */
bool listener_try(const struct conf *conf, char *why, size_t why_size);

/* Takes the inherited sockets, or binds fcgi.listen. A socket file on which nobody listens is
 * replaced, a live one is not. On failure `why` is one line. */
bool listener_open(struct listener *listener, const struct conf *conf, char *why, size_t why_size);

/* Adds the sockets to an epoll set, each with `data` as its event's data, and with EPOLLEXCLUSIVE.
 * False where one cannot be added; then none is. */
bool listener_watch(const struct listener *listener, int epoll, uint64_t data);
void listener_unwatch(const struct listener *listener, int epoll);

/* Accepts one connection from any of the sockets. -1 with errno where there is none. */
int listener_accept(const struct listener *listener);

/* Puts /dev/null in the place of each socket, so that its number stays taken while other threads
 * may still use it. */
void listener_replace(const struct listener *listener);

/* Removes the socket file, once, if it is still the one that was made here: another process may
 * have put its own in that place. */
void listener_unlink(struct listener *listener);

/* Closes all; the socket file is removed. */
void listener_close(struct listener *listener);

#endif
