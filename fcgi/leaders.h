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
#ifndef BBM_LEADERS_H
#define BBM_LEADERS_H

#include <stdbool.h>
#include <stddef.h>

/* Threads that lead at once: two for the rounds of lists (rounds.h), and two more. */
#define LEADERS_USUAL 4

struct leaders;

/* For threads by the numbers 0 to `threads` - 1. NULL when out of memory; `leaders_free(NULL)`
 * does nothing. */
struct leaders *leaders_new(size_t threads);
void leaders_free(struct leaders *leaders);

/* Waits until this thread may lead. False: it is over. */
bool leaders_join(struct leaders *leaders, size_t thread);

/* This thread leads no more; nothing where it did not. */
void leaders_step_down(struct leaders *leaders, size_t thread);

/* Whether some are held up, so that all may lead. */
void leaders_held_up(struct leaders *leaders, bool some);

/* Nobody is to wait any more. */
void leaders_end(struct leaders *leaders);

#endif
