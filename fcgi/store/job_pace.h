/* SPDX-License-Identifier: MIT
 *
 * job_pace: how fast the jobs of one migration follow each other.
 *
 * The worker records no durations (contract, section 6), so the pace comes from the times at
 * which the latest jobs were created. Those times are the database's and may be anything that
 * fits in 64 bits. Pure; a pace belongs to one thread or stands behind its owner's lock.
 */
#ifndef BBM_JOB_PACE_H
#define BBM_JOB_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many of a migration's latest jobs decide its pace. */
#define JOB_PACE_RECENT 21

struct job_pace {
    int64_t created_at[JOB_PACE_RECENT]; /* microseconds, ascending by job id */
    size_t count;
    bool is_known;  /* the next is up to date */
    int64_t micros; /* what job_pace_micros returned last */
};

/* Adds a job that is newer than all others; the oldest one goes where there is no room. */
void job_pace_add(struct job_pace *pace, int64_t created_at);

/* Microseconds from one job to the next; 0 where it is not known: with fewer than three jobs,
 * or where most times do not ascend. Never negative. Computed once after each job. */
int64_t job_pace_micros(struct job_pace *pace);

#endif
