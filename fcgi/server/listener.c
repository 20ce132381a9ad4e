/* SPDX-License-Identifier: MIT
 * The listening socket. */
#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel cuts it to net.core.somaxconn. */
#define BACKLOG 1024

static bool fail(char *why, size_t size, const struct conf *conf, const char *problem,
                 const char *remedy)
{
    snprintf(why, size, "%s: fcgi.listen: %s: %s; %s", conf->file,
             conf->fcgi.listen ? conf->fcgi.listen : "standard input", problem, remedy);
    return false;
}

/* ---- what is asked for ---- */

static bool is_path(const char *listen)
{
    return strchr(listen, '/') != NULL;
}

/* Splits host:port, or [v6 address]:port, or :port for all addresses. */
static bool split(const char *listen, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(listen, ':');
    size_t len = colon ? (size_t)(colon - listen) : size;
    if (len >= size)
        return false;
    bool bracketed = len >= 2 && listen[0] == '[' && colon[-1] == ']';
    snprintf(host, size, "%.*s", (int)(bracketed ? len - 2 : len), listen + bracketed);
    *port = colon + 1;
    long number = strtol(*port, NULL, 10);
    return strspn(*port, "0123456789") == strlen(*port) && number > 0 && number < 65536 &&
           (bracketed || !strchr(host, ':'));
}

bool listener_check(const struct conf *conf, char *why, size_t why_size)
{
    char host[256];
    const char *port;
    const char *listen = conf->fcgi.listen;
    if (listen && !is_path(listen) && !split(listen, host, sizeof host, &port))
        return fail(why, why_size, conf, "neither a path nor host:port",
                    "write /run/bbm-fcgi/bbm-fcgi.sock or 127.0.0.1:9000");
    if (listen && is_path(listen) && strlen(listen) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return fail(why, why_size, conf, "longer than a socket path can be",
                    "choose a shorter one");
    if (conf->fcgi.group && !getgrnam(conf->fcgi.group)) {
        snprintf(why, why_size,
                 "%s: fcgi.group: there is no group \"%s\"; name one that the web "
                 "server belongs to",
                 conf->file, conf->fcgi.group);
        return false;
    }
    return true;
}

/* ---- unix ---- */

/* True where somebody accepts connections on the socket file. */
static bool is_live(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool live = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                            errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return live;
}

static bool set_owner(const struct conf *conf, char *why, size_t size)
{
    const char *path = conf->fcgi.listen;
    if (conf->fcgi.group) {
        const struct group *group = getgrnam(conf->fcgi.group);
        if (!group || chown(path, (uid_t)-1, group->gr_gid) != 0) {
            snprintf(why, size, "%s: fcgi.group: cannot give %s to group %s: %s", conf->file, path,
                     conf->fcgi.group, group ? strerror(errno) : "no such group");
            return false;
        }
    }
    if (chmod(path, (mode_t)conf->fcgi.mode) != 0)
        return fail(why, size, conf, strerror(errno), "its mode cannot be set");
    return true;
}

static bool bind_unix(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat there;
    memcpy(address.sun_path, conf->fcgi.listen, strlen(conf->fcgi.listen) + 1);
    if (lstat(conf->fcgi.listen, &there) == 0) {
        if (!S_ISSOCK(there.st_mode))
            return fail(why, size, conf, "exists and is no socket", "move it away");
        if (is_live(&address))
            return fail(why, size, conf, "in use by another process",
                        "stop that one or choose another socket");
        unlink(conf->fcgi.listen);
    }
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Closed to all until its owner and mode are set. */
    mode_t old = umask(0777);
    int bound = bind(listener->fd, (struct sockaddr *)&address, sizeof address);
    umask(old);
    if (bound != 0)
        return fail(why, size, conf, strerror(errno),
                    "its folder must exist and be writable for this user");
    listener->path = strdup(conf->fcgi.listen);
    if (!listener->path) {
        unlink(conf->fcgi.listen);
        return fail(why, size, conf, strerror(errno), "free some memory");
    }
    if (lstat(conf->fcgi.listen, &there) == 0) {
        listener->device = there.st_dev;
        listener->inode = there.st_ino;
    }
    return set_owner(conf, why, size);
}

/* ---- TCP ---- */

static bool bind_tcp(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    char host[256];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int on = 1;
    const char *port;
    if (!split(conf->fcgi.listen, host, sizeof host, &port))
        return false; /* listener_check has looked */
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (rc != 0)
        return fail(why, size, conf, gai_strerror(rc), "write it as 127.0.0.1:9000");
    listener->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    rc = bind(listener->fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (rc != 0)
        return fail(why, size, conf, strerror(errno), "choose another port or stop its user");
    return true;
}

/* ---- either, or inherited ---- */

static bool inherit(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening)
        return fail(why, size, conf, "not a listening socket",
                    "set fcgi.listen, or start the program under spawn-fcgi, mod_fcgid or a "
                    "systemd socket unit");
    listener->fd = STDIN_FILENO;
    listener->inherited = true;
    return fcntl(listener->fd, F_SETFL, fcntl(listener->fd, F_GETFL) | O_NONBLOCK) == 0 ||
           fail(why, size, conf, strerror(errno), "cannot be made non-blocking");
}

bool listener_open(struct listener *listener, const struct conf *conf, char *why, size_t why_size)
{
    bool good;
    *listener = (struct listener){.fd = -1};
    if (!listener_check(conf, why, why_size))
        return false;
    if (!conf->fcgi.listen)
        good = inherit(listener, conf, why, why_size);
    else if (is_path(conf->fcgi.listen))
        good = bind_unix(listener, conf, why, why_size);
    else
        good = bind_tcp(listener, conf, why, why_size);
    if (good) {
        if (listener->inherited || listen(listener->fd, BACKLOG) == 0)
            return true;
        fail(why, why_size, conf, strerror(errno), "choose another port or stop its user");
    }
    listener_close(listener);
    return false;
}

void listener_unlink(struct listener *listener)
{
    struct stat there;
    if (listener->path && lstat(listener->path, &there) == 0 && there.st_dev == listener->device &&
        there.st_ino == listener->inode)
        unlink(listener->path);
    free(listener->path);
    listener->path = NULL;
}

void listener_close(struct listener *listener)
{
    listener_unlink(listener);
    if (listener->fd >= 0)
        close(listener->fd);
    *listener = (struct listener){.fd = -1};
}
