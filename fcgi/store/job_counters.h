/* SPDX-License-Identifier: MIT
 *
 * counts: how many jobs of each migration are finished and failed, and how fast they
 * follow each other, without counting them anew each time.
 *
 * What is kept is the exact state of the jobs table at some past moment: a mark, the
 * highest job id then, the counts of the jobs up to it, and which of those were not
 * finished. From there the state at a statement's own snapshot follows from few rows
 * (sql/migrations.sql), because of what a worker does (contract, section 7): jobs are
 * added one at a time with ascending ids, a finished job stays finished, and of the
 * failed ones it takes up the lowest first. So what is told equals a fresh count at the
 * statement's moment, in every process. What a hand at psql does otherwise (rows deleted,
 * a finished job set back) is seen at the latest when all is counted anew: after a
 * hundred times the time that counting takes, and at the most `recount_ms`.
 *
 * One object for all threads of a process, behind its own lock. No I/O.
 */
#ifndef BBM_JOB_COUNTERS_H
#define BBM_JOB_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many new jobs sql/migrations.sql reads at a time, beside the one at the mark, and
 * how many of the latest jobs tell a migration's pace. */
#define JOB_COUNTERS_NEW_MOST 999
#define JOB_COUNTERS_RECENT   21

struct job_counters_job {
    int64_t id;
    int64_t migration_id;
    int64_t status;
    int64_t created_at; /* microseconds since the epoch */
};

/* What is told of one migration. */
struct job_counters_of {
    int64_t finished;
    int64_t failed;
    int64_t pace; /* microseconds from one job to the next; 0: not known */
};

/* The state that a statement's rows will be set against; released by job_counters_base_free. */
struct job_counters_base {
    uint64_t generation;
    int64_t mark;
    char newest[40]; /* when the job at the mark was created, as PostgreSQL's array text */
    bool may_glance; /* that is known, so that sql/glance.sql can tell */
    char *open;      /* the ids to ask for, as array text; owned, as is the next */
    char *states;    /* and the states they have */
    bool has_open;   /* there are any */
    size_t expected; /* how many jobs up to the mark sql/migrations.sql must find */
};

enum job_counters_verdict {
    JOB_COUNTERS_EXACT, /* the counts told are those of the statement's moment */
    JOB_COUNTERS_AGAIN, /* another thread was faster, or there are more new jobs: ask again */
    JOB_COUNTERS_LOST,  /* something no worker does: count anew */
};

struct job_counters;

/* NULL when out of memory. */
struct job_counters *job_counters_new(int64_t recount_ms);
void job_counters_free(struct job_counters *counts);

/* The base for a statement about one migration, or with `id` NULL all. False where there
 * is none yet; or when out of memory, and then the base has a generation. */
bool job_counters_base(struct job_counters *counts, const int64_t *id,
                       struct job_counters_base *base);

void job_counters_base_free(struct job_counters_base *base);

/* Tells the counts after sql/glance.sql has found all as it was. False where the state is
 * another by now. */
bool job_counters_unchanged(struct job_counters *counts, const struct job_counters_base *base,
                            const int64_t *ids, struct job_counters_of *told, size_t id_count);

/* Takes the jobs that the statement read, ascending by id, each once, and tells the counts of the
 * migrations `ids` in `told`. With `id` as given to job_counters_base. */
enum job_counters_verdict job_counters_apply(struct job_counters *counts,
                                             const struct job_counters_base *base,
                                             const int64_t *id, const struct job_counters_job *jobs,
                                             size_t job_count, const int64_t *ids,
                                             struct job_counters_of *told, size_t id_count);

/* Counting anew is for one thread at a time. True where it is the caller's turn, who must
 * call job_counters_end_turn: because there is no state (waiting, until the deadline in
 * clock_ms(), while another thread counts) or because it is due and nobody else is at it. `*late`:
 * the deadline passed first. */
bool job_counters_my_turn(struct job_counters *counts, int64_t deadline, bool *late);
void job_counters_end_turn(struct job_counters *counts);

/* A new state, built by the one whose turn it is: begin before counting; add all jobs of each
 * migration, counted, and each one that is not finished, in any order; then the recent jobs'
 * times in ascending order; commit. `newest` is the highest id of all jobs. The adders return
 * false when out of memory. Between begin and commit the old state goes on serving. */
void job_counters_begin(struct job_counters *counts);
bool job_counters_add_jobs(struct job_counters *counts, int64_t migration_id, int64_t jobs,
                           int64_t newest);
bool job_counters_add_open(struct job_counters *counts, const struct job_counters_job *job);
bool job_counters_add_recent(struct job_counters *counts, int64_t migration_id, int64_t created_at);
int64_t job_counters_new_mark(const struct job_counters *counts);
void job_counters_commit(struct job_counters *counts);

/* The state with this generation is of no use. */
void job_counters_forget(struct job_counters *counts, uint64_t generation);

#endif
