/* SPDX-License-Identifier: MIT
 *
 * coalesce: requests for the same answer that come at the same time share one handler's run, and so
 * one database statement (request coalescing, also called singleflight).
 *
 * A request that comes while a batch for the same answer runs waits for the next one. The next
 * batch starts after all its requests have come, so none gets an older answer than a run of its own
 * would give. When the running batch takes long, the next request starts another one for all
 * waiting requests; coalesce_age says when a request has waited for too long.
 *
 * A batch runs until its answers are written, and not only until the handler has run: so more
 * requests share the next one, and the database is asked half as often under load.
 *
 * One object for all threads of a process, behind its own lock. No I/O; `now` is clock_ms().
 */
#ifndef BBM_COALESCE_H
#define BBM_COALESCE_H

#include "http/handler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long, in ms, the last batch may run until another one starts nevertheless. */
#define COALESCE_PATIENCE_MS 10

/* For so many answers requests share at a time; further ones are made for each request. */
#define COALESCE_GROUPS 64

struct coalesce;
struct coalesce_group;

/* A request; its memory is the caller's, who may not touch it while the request waits. */
struct coalesce_waiter {
    struct coalesce_waiter *next; /* in the order in which they came; NULL: the last */
    int64_t since;                /* when it came */
    handler *handler;             /* what is asked for: this handler's answer for this id */
    int64_t id;
    struct coalesce_group *group; /* those that ask for the same; NULL: it shares with nobody */
    bool made;                    /* its answer is made, and has to be written (coalesce_split) */
};

/* NULL when out of memory; `coalesce_free(NULL)` does nothing. */
struct coalesce *coalesce_new(void);
void coalesce_free(struct coalesce *coalesce);

/* Adds a request, of which `handler` and `id` are set. NULL: it waits, and another thread may
 * already answer it. Else the caller has started a batch for the returned requests: those that
 * waited and, last, this one. */
struct coalesce_waiter *coalesce_join(struct coalesce *coalesce, struct coalesce_waiter *waiter,
                                      int64_t now);

/* Starts a batch for those of a group that wait, of the group that has waited longest. NULL: nobody
 * waits, or it is not time yet. `*more`: another group could start one. */
struct coalesce_waiter *coalesce_begin(struct coalesce *coalesce, int64_t now, bool *more);

/* The answer of a batch is made, and one thread is not to write it to all: takes all but the first
 * request out of the batch. coalesce_begin returns each of them in a batch of its own, `made` set.
 */
void coalesce_split(struct coalesce *coalesce, struct coalesce_waiter *batch);

/* The answers of a batch are written; `group` is that of its requests. True where somebody waits
 * for the next one. */
bool coalesce_end(struct coalesce *coalesce, struct coalesce_group *group);

/* For how long, in ms, somebody has waited; -1: nobody waits. */
int64_t coalesce_age(struct coalesce *coalesce, int64_t now);

/* Removes, without a batch, those that wait in groups of which one has waited since `since` or for
 * longer. NULL: there is none. */
struct coalesce_waiter *coalesce_clear(struct coalesce *coalesce, int64_t since);

#endif
