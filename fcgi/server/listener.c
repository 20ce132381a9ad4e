/* SPDX-License-Identifier: MIT
 * The listening sockets: which address, bound or inherited. */
#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel cuts it to net.core.somaxconn. */
#define BACKLOG 1024

/* The first of the descriptors that LISTEN_FDS counts (sd_listen_fds(3)). */
#define FIRST_LISTEN_FD 3

static bool fail(char *why, size_t size, const struct conf *conf, const char *problem,
                 const char *remedy)
{
    snprintf(why, size, "%s: fcgi.listen: %s: %s; %s", conf->file,
             conf->fcgi.listen ? conf->fcgi.listen : "standard input", problem, remedy);
    return false;
}

/* ---- the address ---- */

static bool is_path(const char *listen)
{
    return strchr(listen, '/') != NULL;
}

enum address_form {
    ADDRESS_GOOD,
    ADDRESS_UNKNOWN, /* not host:port */
    ADDRESS_PORT,    /* digits that are no port */
};

/* Splits host:port, or [IPv6 address]:port, or :port for all addresses. */
static enum address_form split(const char *listen, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(listen, ':');
    size_t len = colon ? (size_t)(colon - listen) : size;
    if (len >= size)
        return ADDRESS_UNKNOWN;
    bool bracketed = len >= 2 && listen[0] == '[' && colon[-1] == ']';
    snprintf(host, size, "%.*s", (int)(bracketed ? len - 2 : len), listen + bracketed);
    *port = colon + 1;
    if (!**port || strspn(*port, "0123456789") != strlen(*port) ||
        (!bracketed && strchr(host, ':')))
        return ADDRESS_UNKNOWN;
    long number = strtol(*port, NULL, 10);
    return number > 0 && number < 65536 ? ADDRESS_GOOD : ADDRESS_PORT;
}

static bool check_path(const struct conf *conf, char *why, size_t size)
{
    return strlen(conf->fcgi.listen) < sizeof((struct sockaddr_un *)0)->sun_path ||
           fail(why, size, conf, "longer than a socket path can be", "choose a shorter one");
}

static bool check_address(const struct conf *conf, char *why, size_t size)
{
    char host[256];
    const char *port;
    switch (split(conf->fcgi.listen, host, sizeof host, &port)) {
    case ADDRESS_GOOD:
        break;
    case ADDRESS_UNKNOWN:
        return fail(why, size, conf, "neither a path nor host:port",
                    "write /run/bbm-fcgi/bbm-fcgi.sock or 127.0.0.1:9000");
    case ADDRESS_PORT:
        return fail(why, size, conf, "the port is not from 1 to 65535",
                    "write it as 127.0.0.1:9000");
    }
    return true;
}

bool listener_check(const struct conf *conf, char *why, size_t why_size)
{
    const char *listen = conf->fcgi.listen;
    if (listen &&
        !(is_path(listen) ? check_path(conf, why, why_size) : check_address(conf, why, why_size)))
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

/* What to do about an address that cannot be bound. */
static const char *bind_remedy(int error)
{
    switch (error) {
    case EADDRNOTAVAIL:
        return "this host has no such address; write one that it has, such as 127.0.0.1:9000";
    case EACCES:
        return "choose a port above 1023";
    default:
        return "choose another port or stop its user";
    }
}

/* The addresses of fcgi.listen, which has the form host:port; NULL with a report. The caller frees
 * them by freeaddrinfo. */
static struct addrinfo *resolve(const struct conf *conf, char *why, size_t size)
{
    char host[256] = "";
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    const char *port = NULL;
    split(conf->fcgi.listen, host, sizeof host, &port);
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (rc != 0)
        fail(why, size, conf, gai_strerror(rc), "write it as 127.0.0.1:9000");
    return rc == 0 ? found : NULL;
}

/* ---- a socket file ---- */

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

/* True where this user may give a file to the group. */
static bool may_give(gid_t group)
{
    gid_t groups[256];
    int count = getgroups((int)(sizeof groups / sizeof groups[0]), groups);
    if (geteuid() == 0 || getegid() == group)
        return true;
    for (int i = 0; i < count; i++) {
        if (groups[i] == group)
            return true;
    }
    return false;
}

static bool fail_group(const struct conf *conf, const char *problem, char *why, size_t size)
{
    snprintf(why, size,
             "%s: fcgi.group: cannot give %s to group %s: %s; add this user to the group, or start "
             "the service by systemd or spawn-fcgi, which make the socket",
             conf->file, conf->fcgi.listen, conf->fcgi.group, problem);
    return false;
}

static bool set_owner(const struct conf *conf, char *why, size_t size)
{
    const char *path = conf->fcgi.listen;
    if (conf->fcgi.group) {
        const struct group *group = getgrnam(conf->fcgi.group);
        if (!group || chown(path, (uid_t)-1, group->gr_gid) != 0)
            return fail_group(conf, group ? strerror(errno) : "no such group", why, size);
    }
    if (chmod(path, (mode_t)conf->fcgi.mode) != 0)
        return fail(why, size, conf, strerror(errno), "its mode cannot be set");
    return true;
}

static void path_address(const struct conf *conf, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, conf->fcgi.listen, strlen(conf->fcgi.listen) + 1);
}

/* Removes a socket file that nobody serves, so that its place is free. */
static bool clear_path(const struct conf *conf, const struct sockaddr_un *address, char *why,
                       size_t size)
{
    struct stat there;
    if (lstat(conf->fcgi.listen, &there) != 0)
        return true;
    if (!S_ISSOCK(there.st_mode))
        return fail(why, size, conf, "exists and is no socket", "move it away");
    if (is_live(address))
        return fail(why, size, conf, "in use by another process",
                    "stop that one or choose another socket");
    unlink(conf->fcgi.listen);
    return true;
}

/* Remembers which file was made, so that no other one is removed at the end. */
static bool note_file(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    struct stat there;
    listener->path = strdup(conf->fcgi.listen);
    if (!listener->path) {
        unlink(conf->fcgi.listen);
        return fail(why, size, conf, strerror(errno), "free some memory");
    }
    if (lstat(conf->fcgi.listen, &there) == 0) {
        listener->device = there.st_dev;
        listener->inode = there.st_ino;
    }
    return true;
}

static bool bind_path(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    struct sockaddr_un address;
    path_address(conf, &address);
    if (!clear_path(conf, &address, why, size))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(why, size, conf, strerror(errno), "no socket can be made");
    listener->fds[listener->count++] = fd;
    /* Closed to all until its owner and mode are set. */
    mode_t old = umask(0777);
    int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
    umask(old);
    if (bound != 0)
        return fail(why, size, conf, strerror(errno),
                    "its folder must exist and be writable for this user");
    return note_file(listener, conf, why, size) && set_owner(conf, why, size);
}

static bool try_path(const struct conf *conf, char *why, size_t size)
{
    struct stat there;
    char copy[sizeof((struct sockaddr_un *)0)->sun_path];
    const struct group *group = conf->fcgi.group ? getgrnam(conf->fcgi.group) : NULL;
    bool exists = lstat(conf->fcgi.listen, &there) == 0;
    if (exists && !S_ISSOCK(there.st_mode))
        return fail(why, size, conf, "exists and is no socket", "move it away");
    snprintf(copy, sizeof copy, "%s", conf->fcgi.listen);
    if (access(dirname(copy), W_OK | X_OK) != 0)
        /* The socket of a supervisor, which makes it as root and hands it over. */
        return exists || fail(why, size, conf, strerror(errno),
                              "its folder must exist and be writable for this user");
    return !group || may_give(group->gr_gid) || fail_group(conf, strerror(EPERM), why, size);
}

/* ---- TCP ---- */

/* A socket bound to the address; -1 with errno. */
static int bind_address(const struct addrinfo *address, bool any_port)
{
    const int on = 1;
    struct sockaddr_storage where;
    memcpy(&where, address->ai_addr, address->ai_addrlen);
    if (any_port && where.ss_family == AF_INET)
        ((struct sockaddr_in *)&where)->sin_port = 0;
    if (any_port && where.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&where)->sin6_port = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Each family has a socket of its own. */
    if (address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&where, address->ai_addrlen) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Binds each address. A family that this host lacks is passed over while another one is left. With
 * `any_port` only the addresses are tried, on a port of the kernel's choice. */
static bool bind_tcp(struct listener *listener, const struct conf *conf, bool any_port, char *why,
                     size_t size)
{
    struct addrinfo *found = resolve(conf, why, size);
    bool in_use = false;
    int error = 0;
    if (!found)
        return false;
    for (const struct addrinfo *at = found; at && listener->count < LISTENER_SOCKETS;
         at = at->ai_next) {
        int fd = bind_address(at, any_port);
        if (fd >= 0) {
            listener->fds[listener->count++] = fd;
        } else {
            error = in_use ? error : errno;
            in_use = in_use || errno == EADDRINUSE;
        }
    }
    freeaddrinfo(found);
    if (listener->count > 0 && !in_use)
        return true;
    return fail(why, size, conf, strerror(error), bind_remedy(error));
}

bool listener_try(const struct conf *conf, char *why, size_t why_size)
{
    struct listener listener = {.count = 0};
    if (!listener_check(conf, why, why_size))
        return false;
    if (!conf->fcgi.listen)
        return true;
    if (is_path(conf->fcgi.listen))
        return try_path(conf, why, why_size);
    bool good = bind_tcp(&listener, conf, true, why, why_size);
    listener_close(&listener);
    return good;
}

/* ---- inherited ---- */

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

/* The sockets that a supervisor hands over, if any. */
static void find_inherited(struct listener *listener)
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

static bool prepare_inherited(const struct listener *listener, const struct conf *conf, char *why,
                              size_t size)
{
    for (size_t i = 0; i < listener->count; i++) {
        int fd = listener->fds[i];
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0 ||
            (fd != STDIN_FILENO && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0))
            return fail(why, size, conf, strerror(errno), "cannot be made non-blocking");
    }
    return true;
}

/* ---- all ---- */

static bool start_listening(const struct listener *listener, const struct conf *conf, char *why,
                            size_t size)
{
    for (size_t i = 0; i < listener->count; i++) {
        if (listen(listener->fds[i], BACKLOG) != 0)
            return fail(why, size, conf, strerror(errno), "choose another port or stop its user");
    }
    return true;
}

static bool bind_own(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    if (!conf->fcgi.listen)
        return fail(why, size, conf, "not a listening socket",
                    "set fcgi.listen, or start the program under spawn-fcgi, mod_fcgid or a "
                    "systemd socket unit");
    return (is_path(conf->fcgi.listen) ? bind_path(listener, conf, why, size)
                                       : bind_tcp(listener, conf, false, why, size)) &&
           start_listening(listener, conf, why, size);
}

bool listener_open(struct listener *listener, const struct conf *conf, char *why, size_t why_size)
{
    *listener = (struct listener){.count = 0};
    if (!listener_check(conf, why, why_size))
        return false;
    find_inherited(listener);
    if (listener->inherited ? prepare_inherited(listener, conf, why, why_size)
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
    for (size_t i = 0; i < listener->count; i++)
        close(listener->fds[i]);
    *listener = (struct listener){.count = 0};
}
