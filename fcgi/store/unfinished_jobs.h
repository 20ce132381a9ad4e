/* SPDX-License-Identifier: MIT
 *
 * unfinished_jobs: which jobs up to the high-water mark are not finished; a bounded set.
 *
 * Up to UNFINISHED_ALL_MAX jobs, the set holds every one. Beyond, it holds the failed jobs of
 * lowest id of each migration, because a worker retries the lowest first (contract, section
 * 7). So its memory does not depend on the number of failed jobs.
 *
 * No lock: the owner has one.
 */
#ifndef BBM_UNFINISHED_JOBS_H
#define BBM_UNFINISHED_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Up to this number of unfinished jobs, all are kept. */
#define UNFINISHED_ALL_MAX 256

/* Beyond: how many of each migration are kept, and how many of those a statement reads. When
 * all that are kept have been retried, the jobs are counted again. */
#define UNFINISHED_KEPT 32
#define UNFINISHED_READ 8

struct unfinished_job {
    int64_t id;
    int64_t migration_id;
    int64_t status; /* enum job_status or any other number, never JOB_FINISHED */
};

struct unfinished_jobs {
    struct unfinished_job *rows; /* ascending by id */
    size_t count;
    size_t room;   /* of `rows` */
    bool complete; /* no unfinished job is missing */
};

/* Adds a job at the end. False when out of memory. */
bool unfinished_jobs_add(struct unfinished_jobs *jobs, const struct unfinished_job *job);

/* Puts jobs that were added in any order into order. */
void unfinished_jobs_sort(struct unfinished_jobs *jobs);

/* The job with this id; NULL: it is not in the set. */
struct unfinished_job *unfinished_jobs_find(const struct unfinished_jobs *jobs, int64_t id);

void unfinished_jobs_free(struct unfinished_jobs *jobs);

#endif
