/* SPDX-License-Identifier: MIT
 *
 * listener: the socket that the web server connects to (contract, section 5).
 */
#ifndef BBM_LISTENER_H
#define BBM_LISTENER_H

#include "base/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct listener {
    int fd;
    char *path;   /* of a socket file that we made and shall remove; NULL: none */
    dev_t device; /* which file that was */
    ino_t inode;
    bool inherited;
};

/* Whether fcgi.listen is a path or host:port, and fcgi.group a group. Opens nothing. On
 * failure one line in `why`. */
bool listener_check(const struct conf *conf, char *why, size_t why_size);

/* Binds fcgi.listen, or takes descriptor 0 where that is not given. A socket file that
 * nobody listens on is replaced, a live one is not. On failure one line in `why`. */
bool listener_open(struct listener *listener, const struct conf *conf, char *why, size_t why_size);

/* Removes the socket file, once, if it is still the one that we made: another process may
 * have put its own in that place. */
void listener_unlink(struct listener *listener);

/* Closes it; a socket file of ours is removed. */
void listener_close(struct listener *listener);

#endif
