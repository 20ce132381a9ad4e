/* SPDX-License-Identifier: MIT
 * Sockets that a supervisor hands over. */
#include "server/listener_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The first of the descriptors that LISTEN_FDS counts (sd_listen_fds(3)). */
#define FIRST_LISTEN_FD 3

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

/* How many descriptors LISTEN_FDS hands to this process. */
static long passed_sockets(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    if (!pid || !count || strtol(pid, NULL, 10) != (long)getpid())
        return 0;
    return strtol(count, NULL, 10);
}

void listener_find_inherited(struct listener *listener)
{
    long passed = passed_sockets();
    for (long i = 0; i < passed && listener->count < LISTENER_SOCKETS; i++) {
        if (is_listening(FIRST_LISTEN_FD + (int)i))
            listener->fds[listener->count++] = FIRST_LISTEN_FD + (int)i;
    }
    if (listener->count == 0 && is_listening(STDIN_FILENO))
        listener->fds[listener->count++] = STDIN_FILENO;
    listener->inherited = listener->count > 0;
}

bool listener_prepare_inherited(const struct listener *listener, const struct conf *conf, char *why,
                                size_t size)
{
    for (size_t i = 0; i < listener->count; i++) {
        int fd = listener->fds[i];
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0 ||
            (fd != STDIN_FILENO && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0))
            return listener_fail(why, size, conf, strerror(errno), "cannot be made non-blocking");
    }
    return true;
}
