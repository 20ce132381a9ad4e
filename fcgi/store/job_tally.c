/* SPDX-License-Identifier: MIT
 * Counts of jobs that follow the table. */
#include "store/job_tally.h"

#include "store/job_status.h"

#include <stdlib.h>
#include <string.h>

void job_tally_init(struct job_tally *tally)
{
    *tally = (struct job_tally){.mark = JOB_TALLY_NO_MARK, .mark_created_at = JOB_TALLY_NO_TIME};
}

void job_tally_free(struct job_tally *tally)
{
    free(tally->rows);
    unfinished_jobs_free(&tally->unfinished);
    job_tally_init(tally);
}

/* ---- the migrations ---- */

/* The index of the migration's row, or where it would stand. */
static size_t place_of(const struct job_tally *tally, int64_t migration_id)
{
    size_t low = 0;
    size_t high = tally->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tally->rows[middle].migration_id < migration_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct migration_tally *job_tally_find(const struct job_tally *tally, int64_t migration_id)
{
    size_t at = place_of(tally, migration_id);
    bool found = at < tally->count && tally->rows[at].migration_id == migration_id;
    return found ? &tally->rows[at] : NULL;
}

/* The migration's row, which is added where there is none. NULL when out of memory. */
static struct migration_tally *find_or_add(struct job_tally *tally, int64_t migration_id)
{
    struct migration_tally *row = job_tally_find(tally, migration_id);
    if (row)
        return row;
    if (tally->count == tally->room) {
        size_t room = tally->room ? tally->room * 2 : 16;
        struct migration_tally *rows = realloc(tally->rows, room * sizeof *rows);
        if (!rows)
            return NULL;
        tally->rows = rows;
        tally->room = room;
    }
    size_t at = place_of(tally, migration_id);
    row = &tally->rows[at];
    memmove(row + 1, row, (tally->count - at) * sizeof *row);
    *row = (struct migration_tally){.migration_id = migration_id};
    tally->count++;
    return row;
}

/* Drops from the unfinished jobs those that are finished by now and, where they have become too
 * many, all but the lowest failed ones of each migration. */
static void tidy_unfinished(struct job_tally *tally)
{
    struct unfinished_jobs *jobs = &tally->unfinished;
    size_t kept = 0;
    jobs->complete = jobs->complete && jobs->count <= UNFINISHED_ALL_MAX;
    for (size_t i = 0; i < tally->count; i++)
        tally->rows[i].kept = 0;
    for (size_t i = 0; i < jobs->count; i++) {
        const struct unfinished_job job = jobs->rows[i];
        struct migration_tally *row = job_tally_find(tally, job.migration_id);
        bool failed = job.status == JOB_FAILED;
        if (job.status == JOB_FINISHED ||
            (!jobs->complete && (!failed || row->kept == UNFINISHED_KEPT)))
            continue;
        row->kept += failed;
        jobs->rows[kept++] = job;
    }
    jobs->count = kept;
}

/* ---- a full count ---- */

bool job_tally_add_jobs(struct job_tally *tally, int64_t migration_id, int64_t jobs, int64_t newest)
{
    struct migration_tally *row = find_or_add(tally, migration_id);
    if (!row)
        return false;
    row->finished += jobs;
    if (newest > tally->mark)
        tally->mark = newest;
    return true;
}

bool job_tally_add_unfinished(struct job_tally *tally, const struct unfinished_job *job,
                              int64_t unfinished, int64_t failed)
{
    struct migration_tally *row = find_or_add(tally, job->migration_id);
    if (!row || !unfinished_jobs_add(&tally->unfinished, job))
        return false;
    row->unfinished = unfinished;
    row->failed = failed;
    return true;
}

bool job_tally_add_recent(struct job_tally *tally, int64_t migration_id, int64_t created_at)
{
    struct migration_tally *row = find_or_add(tally, migration_id);
    if (!row)
        return false;
    if (created_at != JOB_TALLY_NO_TIME)
        job_pace_add(&row->pace, created_at);
    return true;
}

void job_tally_counted(struct job_tally *tally)
{
    int64_t unfinished = 0;
    for (size_t i = 0; i < tally->count; i++) {
        tally->rows[i].finished -= tally->rows[i].unfinished;
        unfinished += tally->rows[i].unfinished;
    }
    tally->unfinished.complete = unfinished == (int64_t)tally->unfinished.count;
    unfinished_jobs_sort(&tally->unfinished);
    tidy_unfinished(tally);
}

/* ---- what to read ---- */

size_t job_tally_to_read(struct job_tally *tally, const int64_t *migration_id, int64_t *ids)
{
    const struct unfinished_jobs *jobs = &tally->unfinished;
    size_t count = 0;
    for (size_t i = 0; i < tally->count; i++)
        tally->rows[i].read = 0;
    for (size_t i = 0; i < jobs->count; i++) {
        const struct unfinished_job *job = &jobs->rows[i];
        if (migration_id && job->migration_id != *migration_id)
            continue;
        if (jobs->complete || job_tally_find(tally, job->migration_id)->read++ < UNFINISHED_READ)
            ids[count++] = job->id;
    }
    return count;
}

/* ---- following the table ---- */

/* Notes, before a statement's rows are followed, which failed jobs it has read. */
static void prepare(struct migration_tally *row, bool complete)
{
    row->read = complete || row->kept < UNFINISHED_READ ? row->kept : UNFINISHED_READ;
    row->unread = row->failed - (int64_t)row->read;
    row->retried = 0;
}

/* True where failed jobs that the statement did not read may have changed too: all that it read
 * have. A worker goes on to a higher one only after the lower ones are done. */
static bool may_hide_more(const struct migration_tally *row)
{
    return row->retried > 0 && row->retried == row->read && row->unread > 0;
}

static void follow_known(struct migration_tally *row, int64_t before, int64_t status)
{
    if (before == status)
        return;
    row->failed -= before == JOB_FAILED;
    row->kept -= before == JOB_FAILED;
    row->retried += before == JOB_FAILED;
    row->failed += status == JOB_FAILED;
    row->kept += status == JOB_FAILED;
    row->finished += status == JOB_FINISHED;
}

static void follow_new(struct migration_tally *row, const struct job_row *job)
{
    row->finished += job->status == JOB_FINISHED;
    row->failed += job->status == JOB_FAILED;
    if (job->created_at != JOB_TALLY_NO_TIME)
        job_pace_add(&row->pace, job->created_at);
}

/* Adds a new job to the unfinished ones: where no lower one of its migration is missing there. */
static bool keep_new(struct job_tally *tally, struct migration_tally *row,
                     const struct job_row *job)
{
    bool failed = job->status == JOB_FAILED;
    bool none_missing = (int64_t)row->kept == row->failed - failed;
    if (job->status == JOB_FINISHED || (!tally->unfinished.complete && (!failed || !none_missing)))
        return true;
    row->kept += failed;
    const struct unfinished_job unfinished = {job->id, job->migration_id, job->status};
    return unfinished_jobs_add(&tally->unfinished, &unfinished);
}

static enum job_tally_verdict follow(struct job_tally *tally, const struct job_row *job)
{
    struct unfinished_job *known = unfinished_jobs_find(&tally->unfinished, job->id);
    if (!known && job->id <= tally->mark)
        return JOB_TALLY_EXACT; /* the job at the mark */
    if (known && known->migration_id != job->migration_id)
        return JOB_TALLY_OTHER;
    struct migration_tally *row = find_or_add(tally, job->migration_id);
    if (!row)
        return JOB_TALLY_NO_MEMORY;
    if (known) {
        follow_known(row, known->status, job->status);
        known->status = job->status;
        return JOB_TALLY_EXACT;
    }
    follow_new(row, job);
    tally->mark = job->id;
    tally->mark_created_at = job->created_at;
    return keep_new(tally, row, job) ? JOB_TALLY_EXACT : JOB_TALLY_NO_MEMORY;
}

enum job_tally_verdict job_tally_follow(struct job_tally *tally, const struct job_row *rows,
                                        size_t count)
{
    enum job_tally_verdict verdict = JOB_TALLY_EXACT;
    for (size_t i = 0; i < tally->count; i++)
        prepare(&tally->rows[i], tally->unfinished.complete);
    for (size_t i = 0; verdict == JOB_TALLY_EXACT && i < count; i++)
        verdict = follow(tally, &rows[i]);
    for (size_t i = 0; verdict == JOB_TALLY_EXACT && i < tally->count; i++) {
        if (may_hide_more(&tally->rows[i]))
            verdict = JOB_TALLY_OTHER;
    }
    if (verdict == JOB_TALLY_EXACT)
        tidy_unfinished(tally);
    return verdict;
}

enum job_tally_verdict job_tally_follow_one(const struct job_tally *tally, int64_t migration_id,
                                            const struct job_row *rows, size_t count,
                                            struct migration_tally *result)
{
    const struct migration_tally *row = job_tally_find(tally, migration_id);
    *result = row ? *row : (struct migration_tally){.migration_id = migration_id};
    prepare(result, tally->unfinished.complete);
    for (size_t i = 0; i < count; i++) {
        const struct unfinished_job *known = unfinished_jobs_find(&tally->unfinished, rows[i].id);
        if (known && known->migration_id != rows[i].migration_id)
            return JOB_TALLY_OTHER;
        if (rows[i].migration_id != migration_id)
            continue; /* the job at the mark is another migration's */
        if (known)
            follow_known(result, known->status, rows[i].status);
        else if (rows[i].id > tally->mark)
            follow_new(result, &rows[i]);
    }
    return may_hide_more(result) ? JOB_TALLY_OTHER : JOB_TALLY_EXACT;
}

bool job_tally_is_same_table(struct job_tally *tally, size_t expected, const struct job_row *rows,
                             size_t count, size_t *above)
{
    size_t old = 0;
    while (old < count && rows[old].id <= tally->mark)
        old++;
    *above = count - old;
    if (old != expected)
        return false;
    if (tally->mark == JOB_TALLY_NO_MARK)
        return true;
    if (old == 0)
        return false;
    const struct job_row *last = &rows[old - 1];
    if (last->id != tally->mark ||
        (tally->mark_created_at != JOB_TALLY_NO_TIME && tally->mark_created_at != last->created_at))
        return false;
    tally->mark_created_at = last->created_at;
    return true;
}

bool job_tally_is_news(const struct job_tally *tally, const struct job_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct unfinished_job *known = unfinished_jobs_find(&tally->unfinished, rows[i].id);
        if (rows[i].id > tally->mark || (known && known->status != rows[i].status))
            return true;
    }
    return false;
}
