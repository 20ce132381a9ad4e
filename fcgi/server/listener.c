/* SPDX-License-Identifier: MIT
 * The listening sockets: which address, bound or inherited. */
#include "server/listener.h"

#include "server/listener_private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel cuts it to net.core.somaxconn. */
#define BACKLOG 1024

bool listener_fail(char *why, size_t size, const struct conf *conf, const char *problem,
                   const char *remedy)
{
    snprintf(why, size, "%s: fcgi.listen: %s: %s; %s", conf->file,
             conf->fcgi.listen ? conf->fcgi.listen : "standard input", problem, remedy);
    return false;
}

static bool is_path(const char *listen)
{
    return strchr(listen, '/') != NULL;
}

bool listener_check(const struct conf *conf, char *why, size_t why_size)
{
    const char *listen = conf->fcgi.listen;
    if (listen && !(is_path(listen) ? listener_check_path(conf, why, why_size)
                                    : listener_check_tcp(conf, why, why_size)))
        return false;
    if (conf->fcgi.group && !getgrnam(conf->fcgi.group)) {
        snprintf(why, why_size,
                 "%s: fcgi.group: there is no group \"%s\"; name one that the web "
                 "server belongs to",
                 conf->file, conf->fcgi.group);
        return false;
    }
    return true;
}

bool listener_try(const struct conf *conf, char *why, size_t why_size)
{
    struct listener listener = {.count = 0};
    if (!listener_check(conf, why, why_size))
        return false;
    if (!conf->fcgi.listen)
        return true;
    if (is_path(conf->fcgi.listen))
        return listener_try_path(conf, why, why_size);
    bool good = listener_bind_tcp(&listener, conf, true, why, why_size);
    listener_close(&listener);
    return good;
}

static bool start_listening(const struct listener *listener, const struct conf *conf, char *why,
                            size_t size)
{
    for (size_t i = 0; i < listener->count; i++) {
        if (listen(listener->fds[i], BACKLOG) != 0)
            return listener_fail(why, size, conf, strerror(errno),
                                 "choose another port or stop its user");
    }
    return true;
}

static bool bind_own(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    if (!conf->fcgi.listen)
        return listener_fail(
            why, size, conf, "not a listening socket",
            "set fcgi.listen, or start the program under spawn-fcgi, mod_fcgid or a "
            "systemd socket unit");
    return (is_path(conf->fcgi.listen) ? listener_bind_path(listener, conf, why, size)
                                       : listener_bind_tcp(listener, conf, false, why, size)) &&
           start_listening(listener, conf, why, size);
}

bool listener_open(struct listener *listener, const struct conf *conf, char *why, size_t why_size)
{
    *listener = (struct listener){.count = 0};
    if (!listener_check(conf, why, why_size))
        return false;
    listener_find_inherited(listener);
    if (listener->inherited ? listener_prepare_inherited(listener, conf, why, why_size)
                            : bind_own(listener, conf, why, why_size))
        return true;
    listener_close(listener);
    return false;
}

/* ---- in use ---- */

bool listener_watch(const struct listener *listener, int epoll, uint64_t data)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = data};
    for (size_t i = 0; i < listener->count; i++) {
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener->fds[i], &event) != 0) {
            listener_unwatch(listener, epoll);
            return false;
        }
    }
    return true;
}

void listener_unwatch(const struct listener *listener, int epoll)
{
    for (size_t i = 0; i < listener->count; i++)
        epoll_ctl(epoll, EPOLL_CTL_DEL, listener->fds[i], NULL);
}

int listener_accept(const struct listener *listener)
{
    int fd = -1;
    errno = EAGAIN;
    for (size_t i = 0; i < listener->count && fd < 0; i++) {
        fd = accept4(listener->fds[i], NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            break;
    }
    return fd;
}

void listener_replace(const struct listener *listener)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0)
        return; /* out of descriptors: the sockets are closed at the end */
    for (size_t i = 0; i < listener->count; i++)
        dup2(nothing, listener->fds[i]);
    close(nothing);
}

void listener_close(struct listener *listener)
{
    listener_unlink(listener);
    for (size_t i = 0; i < listener->count; i++)
        close(listener->fds[i]);
    *listener = (struct listener){.count = 0};
}
