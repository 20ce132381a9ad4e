/* SPDX-License-Identifier: MIT
 *
 * coalesce: requests for the same answer that come at the same time share one handler's run, and so
 * one database statement (request coalescing, also called singleflight).
 *
 * A request that comes while a batch runs waits for the next one. The next batch starts after
 * all its requests have come, so none gets an older answer than a run of its own would give. When
 * the running batch takes long, the next request starts another one for all waiting requests;
 * coalesce_age says when a request has waited for too long.
 *
 * A batch runs until its answers are written, and not only until the handler has run: so more
 * requests share the next one, and the database is asked half as often under load.
 *
 * One object for all threads of a process, behind its own lock. No I/O; `now` is clock_ms().
 */
#ifndef BBM_COALESCE_H
#define BBM_COALESCE_H

#include <stdbool.h>
#include <stdint.h>

/* How long, in ms, the last batch may run until another one starts nevertheless. */
#define COALESCE_PATIENCE_MS 10

struct coalesce;

/* A request; its memory is the caller's, who may not touch it while the request waits. */
struct coalesce_waiter {
    struct coalesce_waiter *next; /* in the order in which they came; NULL: the last */
    int64_t since;                /* when it came */
};

/* NULL when out of memory; `coalesce_free(NULL)` does nothing. */
struct coalesce *coalesce_new(void);
void coalesce_free(struct coalesce *coalesce);

/* Adds a request. NULL: it waits, and another thread may already be at it. Else the caller has
 * started a batch for the returned requests: those that waited and, last, this one. */
struct coalesce_waiter *coalesce_join(struct coalesce *coalesce, struct coalesce_waiter *waiter,
                                      int64_t now);

/* Starts a batch for those that wait. NULL: nobody waits, or it is not time yet. */
struct coalesce_waiter *coalesce_begin(struct coalesce *coalesce, int64_t now);

/* The answers of a batch are written. True where somebody waits for the next one. */
bool coalesce_end(struct coalesce *coalesce);

/* For how long, in ms, somebody has waited; -1: nobody waits. */
int64_t coalesce_age(struct coalesce *coalesce, int64_t now);

/* Removes those that wait, without a batch. NULL: nobody waits. */
struct coalesce_waiter *coalesce_clear(struct coalesce *coalesce);

#endif
