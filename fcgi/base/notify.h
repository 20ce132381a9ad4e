/* SPDX-License-Identifier: MIT
 *
 * notify: reports the state of the service to a supervisor (the protocol of sd_notify(3): one
 * datagram to the socket that NOTIFY_SOCKET names). Does nothing where there is no such variable.
 *
 * Thread-safe: each message is one system call. A message that cannot be sent is dropped: the
 * service must not depend on its supervisor.
 */
#ifndef BBM_NOTIFY_H
#define BBM_NOTIFY_H

#include <stdint.h>

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC. Called once, before threads start. */
void notify_open(void);

/* It listens and has its configuration; `status` is one line for systemctl status. */
void notify_ready(const char *status);

/* SIGHUP has come; notify_ready says that the reload is over. */
void notify_reloading(void);

void notify_stopping(void);

/* A new status line. */
void notify_status(const char *status);

/* How often in milliseconds the supervisor expects notify_watchdog: half of its limit. 0: it does
 * not watch. */
int64_t notify_watchdog_ms(void);

/* The service makes progress. */
void notify_watchdog(void);

#endif
