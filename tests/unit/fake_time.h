/* SPDX-License-Identifier: MIT
 *
 * fake_time: a clock that the test moves, so that no test waits for a deadline.
 *
 * clock_ms() goes on by itself as usual, and by fake_time_pass() at once. nanosleep(2) and poll(2)
 * in the program's own files follow this clock.
 */
#ifndef BBM_UNIT_FAKE_TIME_H
#define BBM_UNIT_FAKE_TIME_H

#include "unit.h"

#include "base/clock.h"

#include <poll.h>
#include <stdatomic.h>
#include <time.h>

/* Microseconds by which the test's clock is ahead. All threads share it. */
static _Atomic int64_t fake_time_ahead;

static inline void fake_time_pass(int64_t ms)
{
    atomic_fetch_add(&fake_time_ahead, ms * 1000);
}

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = __real_clock_gettime(clock, now);
    int64_t micros = now->tv_nsec / 1000 + atomic_load(&fake_time_ahead);
    if (clock != CLOCK_MONOTONIC)
        return failed;
    now->tv_sec += (time_t)(micros / 1000000);
    now->tv_nsec = (long)(micros % 1000000) * 1000;
    return failed;
}

/* Takes no time but the test's. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    atomic_fetch_add(&fake_time_ahead, (int64_t)time->tv_sec * 1000000 + time->tv_nsec / 1000);
    return 0;
}

/* Sees within milliseconds that the test's clock was moved beyond the timeout. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    int64_t end = clock_ms() + timeout;
    for (;;) {
        int ready = __real_poll(fds, count, timeout < 0 || timeout > 2 ? 2 : timeout);
        if (ready != 0 || (timeout >= 0 && clock_ms() >= end))
            return ready;
    }
}

#endif
