/* SPDX-License-Identifier: MIT
 * TCP sockets: host:port, one socket for each address of the host. */
#include "base/text.h"
#include "server/listener_private.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_MAX 65535

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
    return number > 0 && number <= PORT_MAX ? ADDRESS_GOOD : ADDRESS_PORT;
}

bool listener_check_tcp(const struct conf *conf, char *why, size_t size)
{
    char host[256];
    const char *port;
    switch (split(conf->fcgi.listen, host, sizeof host, &port)) {
    case ADDRESS_GOOD:
        break;
    case ADDRESS_UNKNOWN:
        return listener_fail(why, size, conf, "neither a path nor host:port",
                             "write /run/bbm-fcgi/bbm-fcgi.sock or 127.0.0.1:9000");
    case ADDRESS_PORT:
        return listener_fail(why, size, conf, "the port is not from 1 to " TEXT_NUMBER(PORT_MAX),
                             "write it as 127.0.0.1:9000");
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
        listener_fail(why, size, conf, gai_strerror(rc), "write it as 127.0.0.1:9000");
    return rc == 0 ? found : NULL;
}

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

bool listener_bind_tcp(struct listener *listener, const struct conf *conf, bool any_port, char *why,
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
    return listener_fail(why, size, conf, strerror(error), bind_remedy(error));
}
