/* SPDX-License-Identifier: MIT
 *
 * log_queue: whole lines on their way to stderr, so that no request waits for its reader.
 *
 * One thread writes what the others put here: the first line at once, and lines that come within a
 * few milliseconds after it together. A line of the audit log is written at once. Lines that stderr
 * does not take in time are lost and counted. Lines of requests are lost first: a part of the queue
 * is kept for the audit log. Thread-safe.
 */
#ifndef BBM_LOG_QUEUE_H
#define BBM_LOG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes of lines wait at most, and how many of them are kept for the audit log. */
#define LOG_QUEUE_SIZE  ((size_t)512 * 1024)
#define LOG_QUEUE_AUDIT ((size_t)128 * 1024)

/* From here on lines wait for the thread. Until then, and after log_queue_stop, lines are written
 * at once. */
void log_queue_hold(void);

/* Starts the thread, once. `report` is called on it when lines were lost and stderr takes lines
 * again. Returns 0 or an errno. */
int log_queue_start(void (*report)(uint64_t lost));

/* Takes over whole lines, each of which ends in a newline. */
void log_queue_put(const char *lines, size_t len, bool audit);

/* Ends the thread when all lines are written; without a thread, writes those that wait. False where
 * the thread takes longer than `ms`: it then stays, and further lines are lost. */
bool log_queue_stop(int64_t ms);

#endif
