/* SPDX-License-Identifier: MIT
 *
 * rounds: lists that are asked for at the same time, answered by one statement.
 *
 * Whoever asks while enough rounds are under way waits for the next one. Its statement is
 * sent after all that it answers have asked, so none is told less than a statement of its
 * own would have told. Rounds that take long are not waited for: whoever asks then begins
 * another, for all that wait; and coalesce_age tells who is to be helped otherwise.
 *
 * One object for all threads of a process, behind its own lock. No I/O; `now` is clock_ms().
 */
#ifndef BBM_COALESCE_H
#define BBM_COALESCE_H

#include <stdbool.h>
#include <stdint.h>

/* Rounds under way at once, as long as they are quick. One would leave the database idle
 * while answers are written, and more find fewer to share. */
#define COALESCE_CONCURRENT 2

/* How long, in ms, the last of them may take until another is begun nevertheless. */
#define COALESCE_PATIENCE_MS 10

struct coalesce;

/* One that asks; its memory is the caller's, who may not touch it while it waits. */
struct coalesce_waiter {
    struct coalesce_waiter *next; /* in the order in which they asked; NULL: the last */
    int64_t since;                /* when it asked */
};

/* NULL when out of memory; `coalesce_free(NULL)` does nothing. */
struct coalesce *coalesce_new(void);
void coalesce_free(struct coalesce *coalesce);

/* NULL: it waits, and by now another thread may have come to it. Else the caller has begun
 * a round, for all that are returned: those that waited and, last, this one. */
struct coalesce_waiter *coalesce_join(struct coalesce *coalesce, struct coalesce_waiter *waiter,
                                      int64_t now);

/* Begins a round for those that wait. NULL: nobody waits, or not for long enough. */
struct coalesce_waiter *coalesce_begin(struct coalesce *coalesce, int64_t now);

/* The database has answered a round. True where somebody waits for the next. */
bool coalesce_end(struct coalesce *coalesce);

/* How long, in ms, somebody has waited; -1: nobody waits. */
int64_t coalesce_age(struct coalesce *coalesce, int64_t now);

/* Takes those that wait out, without a round. NULL: nobody waits. */
struct coalesce_waiter *coalesce_clear(struct coalesce *coalesce);

#endif
