/* SPDX-License-Identifier: MIT
 *
 * leaders: which threads wait for requests (the pattern Leader/Followers, in "Pattern-Oriented
 * Software Architecture", volume 2).
 *
 * Were all free threads to wait, each request would wake another one, and with many short
 * requests the waking costs more than they do. So a few lead: they wait for requests and
 * serve one after the other. Whoever is about to be held up, by the database above all,
 * steps down first; when the last leader does, a thread that follows takes the lead: always
 * the same ones, as far as they suffice, so that no more connections to the database are
 * made than are needed. Where some are held up for longer, all may lead.
 *
 * One object for all threads of a process, behind its own lock.
 */
#ifndef BBM_LEADER_POOL_H
#define BBM_LEADER_POOL_H

#include <stdbool.h>
#include <stddef.h>

/* Threads that lead at once: two for the rounds of lists (rounds.h), and two more. */
#define LEADER_POOL_LEADERS 4

struct leader_pool;

/* For threads by the numbers 0 to `threads` - 1. NULL when out of memory; `leader_pool_free(NULL)`
 * does nothing. */
struct leader_pool *leader_pool_new(size_t threads);
void leader_pool_free(struct leader_pool *leader_pool);

/* Waits until this thread may lead. False: it is over. */
bool leader_pool_join(struct leader_pool *leader_pool, size_t thread);

/* This thread leads no more; nothing where it did not. */
void leader_pool_step_down(struct leader_pool *leader_pool, size_t thread);

/* Whether some are held up, so that all may lead. */
void leader_pool_held_up(struct leader_pool *leader_pool, bool some);

/* Nobody is to wait any more. */
void leader_pool_end(struct leader_pool *leader_pool);

#endif
