/* SPDX-License-Identifier: MIT
 *
 * rounds: lists that are asked for at the same time, answered by one statement.
 *
 * Whoever asks while enough rounds are under way waits for the next one. Its statement is
 * sent after all that it answers have asked, so none is told less than a statement of its
 * own would have told. Rounds that take long are not waited for: whoever asks then begins
 * another, for all that wait; and rounds_age tells who is to be helped otherwise.
 *
 * One object for all threads of a process, behind its own lock. No I/O; `now` is clock_ms().
 */
#ifndef BBM_ROUNDS_H
#define BBM_ROUNDS_H

#include <stdbool.h>
#include <stdint.h>

/* Rounds under way at once, as long as they are quick. One would leave the database idle
 * while answers are written, and more find fewer to share. */
#define ROUNDS_USUAL 2

/* How long, in ms, the last of them may take until another is begun nevertheless. */
#define ROUNDS_PATIENCE 10

struct rounds;

/* One that asks; its memory is the caller's, who may not touch it while it waits. */
struct rounds_asker {
    struct rounds_asker *next; /* in the order in which they asked; NULL: the last */
    int64_t since;             /* when it asked */
};

/* NULL when out of memory; `rounds_free(NULL)` does nothing. */
struct rounds *rounds_new(void);
void rounds_free(struct rounds *rounds);

/* NULL: it waits, and by now another thread may have come to it. Else the caller has begun
 * a round, for all that are returned: those that waited and, last, this one. */
struct rounds_asker *rounds_join(struct rounds *rounds, struct rounds_asker *asker, int64_t now);

/* Begins a round for those that wait. NULL: nobody waits, or not for long enough. */
struct rounds_asker *rounds_begin(struct rounds *rounds, int64_t now);

/* The database has answered a round. True where somebody waits for the next. */
bool rounds_end(struct rounds *rounds);

/* How long, in ms, somebody has waited; -1: nobody waits. */
int64_t rounds_age(struct rounds *rounds, int64_t now);

/* Takes those that wait out, without a round. NULL: nobody waits. */
struct rounds_asker *rounds_clear(struct rounds *rounds);

#endif
