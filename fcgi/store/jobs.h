/* SPDX-License-Identifier: MIT
 *
 * jobs: a page of a migration's jobs.
 */
#ifndef BBM_STORE_JOBS_H
#define BBM_STORE_JOBS_H

#include "base/error.h"
#include "store/job_status.h"
#include "store/sql.h"
#include "store/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* The most jobs that a page may hold. */
enum {
    JOBS_PAGE_MAX = SQL_JOBS_MAX
};

struct job {
    int64_t id;
    int64_t min_value;
    int64_t max_value;
    int64_t status; /* enum job_status, or a number unknown to us */
    int64_t attempts;
    struct opt_int64 failure_error_code;
    struct opt_int64 created_at;
    struct opt_int64 updated_at;
    struct opt_int64 started_at;
    struct opt_int64 finished_at;
};

/* A page of jobs, newest first. */
struct jobs {
    struct job *rows;
    size_t count;
    bool more;    /* there may be more beyond `last` */
    int64_t last; /* the id after which the next page starts */
};

/* A page of at most `n` jobs of a migration, below the job id `last` (NULL: the newest),
 * with one status (NULL: any). An unknown migration is a 404. */
bool store_jobs(struct store *store, int64_t id, const int64_t *last, const int64_t *status,
                int64_t n, int64_t deadline, struct jobs *jobs, struct error *error);
void store_jobs_free(struct jobs *jobs);

#endif
