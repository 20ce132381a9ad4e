/* SPDX-License-Identifier: MIT
 *
 * refusal_log: keeps a flood of refused requests from filling the log.
 *
 * Of refusals with one reason from one address the first few in a minute get a line each. The
 * others are counted, and one line says how many there were. Writes are never counted in: each of
 * them has its line.
 *
 * One object for all threads of a process, behind its own lock. Moments are those of clock_ms().
 */
#ifndef BBM_REFUSAL_LOG_H
#define BBM_REFUSAL_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* Lines of one kind in a period, and the period in milliseconds. */
#define REFUSAL_LOG_LINES  20
#define REFUSAL_LOG_PERIOD 60000

struct refusal_log;

/* NULL when out of memory; `refusal_log_free(NULL)` does nothing. */
struct refusal_log *refusal_log_new(void);

/* Logs what is still counted, and frees. */
void refusal_log_free(struct refusal_log *refusals);

/* True where this refusal gets its own line. Else it is counted. */
bool refusal_log_admit(struct refusal_log *refusals, const char *address, const char *reason,
                       int64_t now);

/* Logs the sums of the periods that are over. To be called every now and then. */
void refusal_log_flush(struct refusal_log *refusals, int64_t now);

#endif
