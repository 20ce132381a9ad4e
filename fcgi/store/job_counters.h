/* SPDX-License-Identifier: MIT
 *
 * job_counters: how many jobs of each migration are finished and failed, and how fast they
 * follow each other, without a full count at each request.
 *
 * The counters hold the exact counts at some past moment (job_tally.h). A request looks up what
 * they need to know (job_lookup), its statement reads that together with the migrations
 * (sql/unchanged.sql, sql/migrations.sql), and the counters follow what it found. So the counts
 * equal a fresh count at the statement's snapshot, in every process.
 *
 * What nobody but a person with psql does (rows deleted, a finished job set back) may stay
 * unseen until the next full count: due after a hundred times the time that the last one took,
 * and after `recount_ms` if that is sooner.
 *
 * One object for all threads of a process, with its own locks. No I/O. Times named `now` and
 * deadlines are moments of clock_ms().
 */
#ifndef BBM_JOB_COUNTERS_H
#define BBM_JOB_COUNTERS_H

#include "store/job_tally.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many rows above the mark a statement reads at a time; one that reads this many may have
 * missed more. */
#define JOB_COUNTERS_NEW_MAX 999

struct job_counters;

/* The counts of one migration. */
struct job_counts {
    int64_t finished;
    int64_t failed;
    int64_t pace; /* microseconds from one job to the next; 0: not known */
};

/* What a statement has to read; released by job_lookup_free. */
struct job_lookup {
    uint64_t generation;     /* which state of the counters this is; 0: there is none */
    int64_t mark;            /* the highest job id counted, or JOB_TALLY_NO_MARK */
    int64_t mark_created_at; /* of that job, or JOB_TALLY_NO_TIME */
    int64_t *unfinished;     /* ids of the unfinished jobs to read, ascending; owned */
    size_t unfinished_count;
    bool all_failed; /* all of those are failed jobs */
    size_t expected; /* how many rows up to the mark the statement must find */
};

enum job_counters_verdict {
    JOB_COUNTERS_EXACT, /* the counts are those of the statement's snapshot */
    JOB_COUNTERS_AGAIN, /* another thread was faster, or there are more new jobs: ask again */
    JOB_COUNTERS_LOST,  /* no worker does what was found: a full count is needed */
};

/* NULL when out of memory; job_counters_free(NULL) does nothing. */
struct job_counters *job_counters_new(int64_t recount_ms);
void job_counters_free(struct job_counters *counters);

/* What a statement about one migration, or with NULL about all, has to read. False where there
 * is no state yet (generation 0), or when out of memory. */
bool job_counters_look_up(struct job_counters *counters, const int64_t *migration_id,
                          struct job_lookup *lookup);
void job_lookup_free(struct job_lookup *lookup);

/* The counts of the migrations `ids` after sql/unchanged.sql has found that nothing changed. False
 * where the counters have another state by now. */
bool job_counters_unchanged(struct job_counters *counters, const struct job_lookup *lookup,
                            const int64_t *ids, struct job_counts *counts, size_t count);

/* The counts of the migrations `ids` after sql/migrations.sql has read `rows`, ascending by id,
 * each once. `migration_id` is what job_counters_look_up was given. */
enum job_counters_verdict
job_counters_follow(struct job_counters *counters, const struct job_lookup *lookup,
                    const int64_t *migration_id, const struct job_row *rows, size_t row_count,
                    const int64_t *ids, struct job_counts *counts, size_t count);

/* The last counts that are known, for a caller that cannot get exact ones. */
void job_counters_last(struct job_counters *counters, const int64_t *ids, struct job_counts *counts,
                       size_t count);

/* ---- full counts, for one thread at a time ---- */

enum job_counters_turn {
    JOB_COUNTERS_NO_TURN, /* there are counts to serve from */
    JOB_COUNTERS_DUE,     /* the caller counts; there are counts to serve from if that fails */
    JOB_COUNTERS_NEEDED,  /* the caller counts; there is nothing to serve from */
    JOB_COUNTERS_LATE,    /* another thread was still counting at the deadline */
};

/* Says whether the caller is to count all jobs. Where there is no state it waits, until the
 * deadline, for another thread that counts. After DUE and NEEDED the caller fills the tally that
 * job_counters_fresh returns, and then calls job_counters_commit or job_counters_failed. */
enum job_counters_turn job_counters_take_turn(struct job_counters *counters, int64_t now,
                                              int64_t deadline);

/* An empty tally for the full count, owned by the counters. */
struct job_tally *job_counters_fresh(struct job_counters *counters);

/* Puts the fresh tally into force and ends the turn. True where counts had failed before. */
bool job_counters_commit(struct job_counters *counters, int64_t now);

/* Ends the turn with nothing changed. The next try is due after a pause that doubles with each
 * failure, up to `recount_ms`. True for the first failure after a success. */
bool job_counters_failed(struct job_counters *counters, int64_t now);

#endif
