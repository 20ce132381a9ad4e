/* SPDX-License-Identifier: MIT
 *
 * job_tally: the exact counts of all jobs up to one of them, the high-water mark; and how they
 * follow what a statement reads later.
 *
 * A worker adds jobs one at a time with ascending ids, never touches a finished job again, and
 * retries the failed job of lowest id first (contract, section 7). So the rows above the mark,
 * and the unfinished ones below it, say all that has changed.
 *
 * No lock and no I/O: the owner has the lock, store/ sends the statements.
 */
#ifndef BBM_JOB_TALLY_H
#define BBM_JOB_TALLY_H

#include "store/job_pace.h"
#include "store/unfinished_jobs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The mark where there is no job at all. No job above it is missed: ids are greater. */
#define JOB_TALLY_NO_MARK INT64_MIN

/* A time that is not known, or is no moment ("infinity"). */
#define JOB_TALLY_NO_TIME INT64_MIN

/* A row of the jobs table. */
struct job_row {
    int64_t id;
    int64_t migration_id;
    int64_t status;
    int64_t created_at; /* microseconds since the Unix epoch, or JOB_TALLY_NO_TIME */
};

/* The counts of one migration. */
struct migration_tally {
    int64_t migration_id;
    int64_t finished;
    int64_t failed;
    size_t kept; /* of the failed jobs: how many are in the set of unfinished ones */
    struct job_pace pace;
    /* Scratch of job_tally_follow: of the failed jobs before, how many the statement read, how
     * many it did not, and how many of those it read are failed no more. */
    size_t read;
    int64_t unread;
    size_t retried;
    int64_t unfinished; /* scratch of a full count */
};

struct job_tally {
    int64_t mark;                 /* the highest id counted, or JOB_TALLY_NO_MARK */
    int64_t mark_created_at;      /* of the job at the mark, or JOB_TALLY_NO_TIME */
    struct migration_tally *rows; /* ascending by migration id */
    size_t count;
    size_t room; /* of `rows` */
    struct unfinished_jobs unfinished;
};

enum job_tally_verdict {
    JOB_TALLY_EXACT,     /* the counts are those of the statement's snapshot */
    JOB_TALLY_OTHER,     /* this is not the table that was counted */
    JOB_TALLY_NO_MEMORY, /* the tally is of no more use */
};

void job_tally_init(struct job_tally *tally);
void job_tally_free(struct job_tally *tally);

/* The counts of a migration; NULL: it has no job. */
struct migration_tally *job_tally_find(const struct job_tally *tally, int64_t migration_id);

/* ---- a full count: these three in any order, then job_tally_counted ---- */

/* A migration has so many jobs; `newest` is the highest id of all jobs. These functions return
 * false when out of memory. */
bool job_tally_add_jobs(struct job_tally *tally, int64_t migration_id, int64_t jobs,
                        int64_t newest);

/* An unfinished job, of a migration that has `unfinished` of them, and `failed` of those. */
bool job_tally_add_unfinished(struct job_tally *tally, const struct unfinished_job *job,
                              int64_t unfinished, int64_t failed);

/* When one of the latest jobs was created, in ascending order of their ids. */
bool job_tally_add_recent(struct job_tally *tally, int64_t migration_id, int64_t created_at);

void job_tally_counted(struct job_tally *tally);

/* ---- following the table ---- */

/* The ids of the unfinished jobs that a statement about one migration, or with NULL about all,
 * has to read. Returns their number; `ids` takes unfinished.count of them. */
size_t job_tally_to_read(struct job_tally *tally, const int64_t *migration_id, int64_t *ids);

/* True where these rows, ascending by id and each once, come from the table that was counted: the
 * job at the mark is there, and `expected` rows up to it. Then `*above` is how many are newer. */
bool job_tally_is_same_table(struct job_tally *tally, size_t expected, const struct job_row *rows,
                             size_t count, size_t *above);

/* Follows the rows of a statement about all migrations. After any verdict but EXACT the tally has
 * to be counted again. */
enum job_tally_verdict job_tally_follow(struct job_tally *tally, const struct job_row *rows,
                                        size_t count);

/* The counts of one migration after the rows of a statement about it. The tally stays as it is,
 * as that statement does not read the other migrations' jobs. */
enum job_tally_verdict job_tally_follow_one(const struct job_tally *tally, int64_t migration_id,
                                            const struct job_row *rows, size_t count,
                                            struct migration_tally *result);

/* True where the rows change anything. */
bool job_tally_is_news(const struct job_tally *tally, const struct job_row *rows, size_t count);

#endif
