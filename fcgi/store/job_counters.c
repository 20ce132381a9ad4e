/* SPDX-License-Identifier: MIT
 * The job counters: one tally for all threads, and whose turn it is to count. */
#include "store/job_counters.h"

#include "store/job_status.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* Between two full counts pass this many times the time that one takes, and at least
 * PAUSE_MIN_MS; after one that failed, FAILED_SHARE times, which then doubles. */
#define SHARE        100
#define FAILED_SHARE 10
#define PAUSE_MIN_MS 200

struct job_counters {
    int64_t recount_ms;
    pthread_mutex_t turn;   /* held by the thread that counts; guards the next two */
    struct job_tally fresh; /* what it has counted so far */
    int64_t begun;          /* clock_ms() when it began */
    pthread_mutex_t lock;   /* guards the rest */
    struct job_tally tally;
    bool valid;          /* the tally may be served from */
    uint64_t generation; /* of the tally; never 0 */
    int64_t due;         /* clock_ms() at which the next full count is due */
    unsigned failures;   /* of full counts, since the last that succeeded */
};

/* ---- what statements read, and what they find ---- */

void job_lookup_free(struct job_lookup *lookup)
{
    free(lookup->unfinished);
    *lookup = (struct job_lookup){0};
}

/* Fills the lookup from the tally. False when out of memory. */
static bool fill_lookup(struct job_tally *tally, const int64_t *migration_id,
                        struct job_lookup *lookup)
{
    lookup->unfinished = calloc(tally->unfinished.count + 1, sizeof *lookup->unfinished);
    if (!lookup->unfinished)
        return false;
    lookup->mark = tally->mark;
    lookup->mark_created_at = tally->mark_created_at;
    lookup->unfinished_count = job_tally_to_read(tally, migration_id, lookup->unfinished);
    lookup->all_failed = true;
    lookup->expected = tally->mark != JOB_TALLY_NO_MARK;
    for (size_t i = 0; i < lookup->unfinished_count; i++) {
        const struct unfinished_job *job =
            unfinished_jobs_find(&tally->unfinished, lookup->unfinished[i]);
        lookup->all_failed = lookup->all_failed && job->status == JOB_FAILED;
        lookup->expected += job->id != tally->mark;
    }
    return true;
}

bool job_counters_look_up(struct job_counters *counters, const int64_t *migration_id,
                          struct job_lookup *lookup)
{
    *lookup = (struct job_lookup){0};
    pthread_mutex_lock(&counters->lock);
    bool good = counters->valid && fill_lookup(&counters->tally, migration_id, lookup);
    lookup->generation = counters->valid ? counters->generation : 0;
    pthread_mutex_unlock(&counters->lock);
    return good;
}

static struct job_counts counts_of(struct migration_tally *row)
{
    return row ? (struct job_counts){row->finished, row->failed, job_pace_micros(&row->pace)}
               : (struct job_counts){0};
}

/* The caller has the lock. */
static void read_counts(const struct job_tally *tally, const int64_t *ids,
                        struct job_counts *counts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        counts[i] = counts_of(job_tally_find(tally, ids[i]));
}

bool job_counters_unchanged(struct job_counters *counters, const struct job_lookup *lookup,
                            const int64_t *ids, struct job_counts *counts, size_t count)
{
    pthread_mutex_lock(&counters->lock);
    bool same = counters->valid && counters->generation == lookup->generation;
    if (same)
        read_counts(&counters->tally, ids, counts, count);
    pthread_mutex_unlock(&counters->lock);
    return same;
}

void job_counters_last(struct job_counters *counters, const int64_t *ids, struct job_counts *counts,
                       size_t count)
{
    pthread_mutex_lock(&counters->lock);
    read_counts(&counters->tally, ids, counts, count);
    pthread_mutex_unlock(&counters->lock);
}

/* Of one migration; `above` is how many rows are newer than the mark. */
static bool follow_one(const struct job_tally *tally, int64_t migration_id,
                       const struct job_row *rows, size_t row_count, size_t above,
                       struct job_counts *counts)
{
    struct migration_tally row;
    if (above >= JOB_COUNTERS_NEW_MAX ||
        job_tally_follow_one(tally, migration_id, rows, row_count, &row) != JOB_TALLY_EXACT)
        return false;
    *counts = counts_of(&row);
    return true;
}

/* Of all migrations; the tally changes only where there is news. */
static bool follow_all(struct job_counters *counters, const struct job_row *rows, size_t row_count)
{
    if (!job_tally_is_news(&counters->tally, rows, row_count))
        return true;
    counters->generation++;
    return job_tally_follow(&counters->tally, rows, row_count) == JOB_TALLY_EXACT;
}

enum job_counters_verdict
job_counters_follow(struct job_counters *counters, const struct job_lookup *lookup,
                    const int64_t *migration_id, const struct job_row *rows, size_t row_count,
                    const int64_t *ids, struct job_counts *counts, size_t count)
{
    enum job_counters_verdict verdict = JOB_COUNTERS_EXACT;
    size_t above;
    pthread_mutex_lock(&counters->lock);
    /* NOLINTBEGIN(bugprone-branch-clone): the order of the tests counts */
    if (!counters->valid || counters->generation != lookup->generation) {
        verdict = JOB_COUNTERS_AGAIN;
    } else if (migration_id && count == 0) {
        /* There is no such migration, and nothing to count. */
    } else if (!job_tally_is_same_table(&counters->tally, lookup->expected, rows, row_count,
                                        &above)) {
        verdict = JOB_COUNTERS_LOST;
    } else if (migration_id) {
        if (!follow_one(&counters->tally, *migration_id, rows, row_count, above, counts))
            verdict = JOB_COUNTERS_LOST;
    } else if (!follow_all(counters, rows, row_count)) {
        verdict = JOB_COUNTERS_LOST;
    } else if (above >= JOB_COUNTERS_NEW_MAX) {
        verdict = JOB_COUNTERS_AGAIN;
    } else {
        read_counts(&counters->tally, ids, counts, count);
    }
    /* NOLINTEND(bugprone-branch-clone) */
    if (verdict == JOB_COUNTERS_LOST)
        counters->valid = false;
    pthread_mutex_unlock(&counters->lock);
    return verdict;
}

/* ---- full counts ---- */

/* Waits for the turn. By the clock on the wall, as ThreadSanitizer does not know
 * pthread_mutex_clocklock. If that clock steps back, the wait ends when the thread that counts
 * reaches its own deadline. */
static bool wait_for_turn(struct job_counters *counters, int64_t wait_ms)
{
    struct timespec until;
    if (wait_ms < 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_mutex_timedlock(&counters->turn, &until) == 0;
}

static bool is_valid(struct job_counters *counters)
{
    pthread_mutex_lock(&counters->lock);
    bool valid = counters->valid;
    pthread_mutex_unlock(&counters->lock);
    return valid;
}

enum job_counters_turn job_counters_take_turn(struct job_counters *counters, int64_t now,
                                              int64_t deadline)
{
    pthread_mutex_lock(&counters->lock);
    bool valid = counters->valid;
    bool due = now >= counters->due;
    pthread_mutex_unlock(&counters->lock);
    if (valid && (!due || pthread_mutex_trylock(&counters->turn) != 0))
        return JOB_COUNTERS_NO_TURN;
    if (!valid) {
        if (!wait_for_turn(counters, deadline - now))
            return JOB_COUNTERS_LATE;
        if (is_valid(counters)) { /* another thread has counted meanwhile */
            pthread_mutex_unlock(&counters->turn);
            return JOB_COUNTERS_NO_TURN;
        }
    }
    job_tally_free(&counters->fresh);
    counters->begun = now;
    return valid ? JOB_COUNTERS_DUE : JOB_COUNTERS_NEEDED;
}

struct job_tally *job_counters_fresh(struct job_counters *counters)
{
    return &counters->fresh;
}

/* How long the next full count has to wait. */
static int64_t pause_ms(const struct job_counters *counters, int64_t took, unsigned failures)
{
    int64_t pause = took * (failures ? FAILED_SHARE : SHARE);
    pause = pause < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause;
    for (unsigned i = 0; i < failures && pause < counters->recount_ms; i++)
        pause *= 2;
    return pause < counters->recount_ms ? pause : counters->recount_ms;
}

bool job_counters_commit(struct job_counters *counters, int64_t now)
{
    job_tally_counted(&counters->fresh);
    pthread_mutex_lock(&counters->lock);
    struct job_tally old = counters->tally;
    bool failed_before = counters->failures > 0;
    counters->tally = counters->fresh;
    counters->valid = true;
    counters->generation++;
    counters->failures = 0;
    counters->due = now + pause_ms(counters, now - counters->begun, 0);
    pthread_mutex_unlock(&counters->lock);
    job_tally_init(&counters->fresh);
    pthread_mutex_unlock(&counters->turn);
    job_tally_free(&old);
    return failed_before;
}

bool job_counters_failed(struct job_counters *counters, int64_t now)
{
    job_tally_free(&counters->fresh);
    pthread_mutex_lock(&counters->lock);
    counters->failures++;
    bool first = counters->failures == 1;
    counters->due = now + pause_ms(counters, now - counters->begun, counters->failures);
    pthread_mutex_unlock(&counters->lock);
    pthread_mutex_unlock(&counters->turn);
    return first;
}

struct job_counters *job_counters_new(int64_t recount_ms)
{
    struct job_counters *counters = calloc(1, sizeof *counters);
    if (!counters)
        return NULL;
    counters->recount_ms = recount_ms;
    counters->generation = 1;
    job_tally_init(&counters->fresh);
    job_tally_init(&counters->tally);
    pthread_mutex_init(&counters->turn, NULL);
    pthread_mutex_init(&counters->lock, NULL);
    return counters;
}

void job_counters_free(struct job_counters *counters)
{
    if (!counters)
        return;
    job_tally_free(&counters->fresh);
    job_tally_free(&counters->tally);
    pthread_mutex_destroy(&counters->turn);
    pthread_mutex_destroy(&counters->lock);
    free(counters);
}
