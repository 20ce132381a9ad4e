/* SPDX-License-Identifier: MIT
 *
 * listening: what the tests of the listening socket share.
 */
#ifndef BBM_UNIT_LISTENING_H
#define BBM_UNIT_LISTENING_H

#include "unit.h"

#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static inline struct conf conf_of(const char *listen)
{
    return (struct conf){.file = "config.yml",
                         .fcgi = {.listen = (char *)(uintptr_t)listen, .mode = 0660}};
}

static inline void assert_says(const char *why, const char *expected)
{
    if (!strstr(why, expected))
        fail_msg("\"%s\" does not say \"%s\"", why, expected);
    assert_int_equal(strncmp(why, "config.yml: fcgi.", 17), 0);
    assert_null(strchr(why, '\n'));
}

static inline void assert_not_opened(const struct conf *conf, const char *expected)
{
    struct listener listener;
    char why[512];
    assert_false(listener_open(&listener, conf, why, sizeof why));
    assert_says(why, expected);
    assert_int_equal(listener.count, 0);
    assert_null(listener.path);
}

static inline struct listener opened(const struct conf *conf)
{
    struct listener listener;
    char why[512];
    memset(&listener, 0xA5, sizeof listener);
    if (!listener_open(&listener, conf, why, sizeof why))
        fail_msg("not opened: %s", why);
    /* As an epoll set shared by threads wants it. */
    assert_true(fcntl(listener.fds[0], F_GETFL) & O_NONBLOCK);
    return listener;
}

static inline bool connects(const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM, 0);
    bool good = fd >= 0 && connect(fd, address, len) == 0;
    close(fd);
    return good;
}

static inline bool connects_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connects((const struct sockaddr *)&address, sizeof address);
}

#endif
