/* SPDX-License-Identifier: MIT
 *
 * leaders: which threads wait for requests (the pattern Leader/Followers, in "Pattern-Oriented
 * Software Architecture", volume 2).
 *
 * Were all free threads to wait, each request would wake another one, and with many short
 * requests the waking costs more than they do. So a few lead: they wait for requests and
 * serve one after the other. Whoever is about to be held up, by the database above all,
 * steps down first; when the last leader does, a thread that follows takes the lead. One
 * that does not know that it is held up can be made to step down by another thread.
 *
 * One object for all threads of a process, behind its own lock.
 */
#ifndef BBM_LEADERS_H
#define BBM_LEADERS_H

#include <pthread.h>
#include <stdbool.h>

struct leaders {
    pthread_mutex_t lock;
    pthread_cond_t vacancy;
    unsigned most; /* that lead at once */
    unsigned count;
    bool ended;
};

void leaders_init(struct leaders *leaders, unsigned most);
void leaders_destroy(struct leaders *leaders);

/* Waits until the thread whose `leads` this is may lead, unless it does. False: it is over. */
bool leaders_join(struct leaders *leaders, bool *leads);

/* The thread whose `leads` this is leads no more; of any thread, and nothing where it did not. */
void leaders_step_down(struct leaders *leaders, bool *leads);

/* Nobody is to wait any more. */
void leaders_end(struct leaders *leaders);

#endif
