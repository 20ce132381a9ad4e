/* SPDX-License-Identifier: MIT
 * Messages to a supervisor. */
#include "base/notify.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Set once by notify_open, read-only from then on. */
static struct {
    int fd; /* -1: no supervisor asks */
    struct sockaddr_un address;
    socklen_t address_len;
    int64_t watchdog_ms;
} supervisor = {.fd = -1};

/* Half of WATCHDOG_USEC, where it is meant for this process (sd_watchdog_enabled(3)). */
static int64_t read_watchdog(void)
{
    const char *limit = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (!limit || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    long long us = strtoll(limit, NULL, 10);
    return us > 0 ? us / 2 / 1000 : 0;
}

void notify_open(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof supervisor.address.sun_path || (*path != '/' && *path != '@'))
        return;
    supervisor.address.sun_family = AF_UNIX;
    memcpy(supervisor.address.sun_path, path, len);
    if (*path == '@') /* an abstract address, which starts with a zero byte (unix(7)) */
        supervisor.address.sun_path[0] = '\0';
    supervisor.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    supervisor.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    supervisor.watchdog_ms = supervisor.fd >= 0 ? read_watchdog() : 0;
}

static void send_message(const char *text, size_t len)
{
    if (supervisor.fd >= 0)
        (void)!sendto(supervisor.fd, text, len, MSG_NOSIGNAL,
                      (const struct sockaddr *)&supervisor.address, supervisor.address_len);
}

/* Sends `prefix` and the status, which is cut at the end of its first line. */
static void send_with_status(const char *prefix, const char *status)
{
    char text[512];
    int len =
        snprintf(text, sizeof text, "%sSTATUS=%.*s", prefix, (int)strcspn(status, "\n"), status);
    send_message(text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

void notify_ready(const char *status)
{
    send_with_status("READY=1\n", status);
}

void notify_reloading(void)
{
    char text[64];
    int len = snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_us());
    send_message(text, (size_t)len);
}

void notify_stopping(void)
{
    static const char text[] = "STOPPING=1";
    send_message(text, sizeof text - 1);
}

void notify_status(const char *status)
{
    send_with_status("", status);
}

int64_t notify_watchdog_ms(void)
{
    return supervisor.watchdog_ms;
}

void notify_watchdog(void)
{
    static const char text[] = "WATCHDOG=1";
    send_message(text, sizeof text - 1);
}
