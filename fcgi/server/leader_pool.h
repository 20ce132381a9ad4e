/* SPDX-License-Identifier: MIT
 *
 * leader_pool: which threads wait for requests: the pattern Leader/Followers ("Pattern-Oriented
 * Software Architecture", volume 2), with a few leaders.
 *
 * If all free threads waited for requests, each request would wake another one, and with many short
 * requests the waking costs more than they do. So a few threads lead: they wait for requests and
 * serve one after the other. The others follow: they sleep. A leader that may block, on the
 * database above all, steps down first, and when no leader is left, a follower becomes one: the
 * same ones first, so that no more database connections are made than needed. While some thread is
 * blocked for longer, all may lead.
 *
 * One object for all threads of a process, behind its own lock.
 */
#ifndef BBM_LEADER_POOL_H
#define BBM_LEADER_POOL_H

#include <stdbool.h>
#include <stddef.h>

/* Threads that lead at once: while one answers coalesced requests (coalesce.h), the other one takes
 * those that come. */
#define LEADER_POOL_LEADERS 2

struct leader_pool;

/* For threads with the numbers 0 to `threads` - 1. NULL when out of memory;
 * `leader_pool_free(NULL)` does nothing. */
struct leader_pool *leader_pool_new(size_t threads);
void leader_pool_free(struct leader_pool *leader_pool);

/* Waits until this thread leads. False after leader_pool_end. */
bool leader_pool_join(struct leader_pool *leader_pool, size_t thread);

/* This thread no longer leads. Nothing happens where it did not. */
void leader_pool_step_down(struct leader_pool *leader_pool, size_t thread);

/* Whether any thread is blocked, so that all may lead. */
void leader_pool_set_blocked(struct leader_pool *leader_pool, bool any);

/* Ends all waiting. */
void leader_pool_end(struct leader_pool *leader_pool);

#endif
