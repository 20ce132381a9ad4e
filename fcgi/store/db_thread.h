/* SPDX-License-Identifier: MIT
 *
 * db_thread: short-lived threads for calls that have no deadline of their own.
 *
 * Nobody waits for such a thread except the end of the program. Thread-safe.
 */
#ifndef BBM_DB_THREAD_H
#define BBM_DB_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs `body(argument)` in a detached thread. False, and nothing has run, where `max`
 * threads that share this count run already, or the system has no more threads. */
bool db_thread_start(atomic_int *count, int max, size_t stack_size, void (*body)(void *),
                     void *argument);

/* Waits for the threads under way, all of them. False where some still run at the deadline,
 * a moment of clock_ms(). They use what exit() takes away (OpenSSL does, in its own exit
 * handler), so the process then has to end by _exit(). */
bool db_thread_settle(int64_t deadline);

#endif
