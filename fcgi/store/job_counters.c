/* SPDX-License-Identifier: MIT
 * Counts of jobs, kept up instead of made anew. */
#include "store/job_counters.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/text.h"
#include "store/store.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Up to so many unfinished jobs, all are asked for; beyond, the lowest few failed ones of
 * each migration, as a worker takes up the lowest first, and leaves none but failed ones
 * unfinished. */
#define ASK_ALL 256
#define ASK_FEW 8

/* Between two counts, in milliseconds, however fast they are. */
#define PAUSE_LEAST 200

/* No status, no time: not known. */
#define NONE INT64_MIN

/* Counts of one migration's jobs up to the mark, and when its latest ones began. */
struct entry {
    int64_t migration_id;
    int64_t finished;
    int64_t failed;
    int64_t recent[JOB_COUNTERS_RECENT]; /* ascending by job id */
    size_t recent_count;
    size_t asked;   /* of its unfinished jobs, while a statement is prepared */
    size_t changed; /* of those asked for, finished since, while its rows are taken in */
};

/* A job that is not finished. */
struct open {
    int64_t id;
    int64_t migration_id;
    int64_t status;
};

struct state {
    bool valid;
    int64_t begun;         /* counting it; clock_ms() */
    int64_t due;           /* to be counted anew; clock_ms() */
    int64_t mark;          /* 0: no job yet */
    int64_t mark_at;       /* when the job at the mark was created; NONE: not known */
    struct entry *entries; /* ascending by migration id */
    size_t entry_count;
    struct open *open; /* ascending by id */
    size_t open_count;
    struct job_counters_base asking; /* what to ask about all migrations; `open` NULL: to be made */
};

struct job_counters {
    int64_t recount_ms;
    pthread_mutex_t turn; /* held by the thread that counts anew; it alone touches `fresh` */
    struct state fresh;
    pthread_mutex_t lock; /* guards the rest */
    struct state state;
    uint64_t generation; /* of `state`; never 0 */
};

/* ---- a state ---- */

static void state_clear(struct state *state)
{
    free(state->entries);
    free(state->open);
    job_counters_base_free(&state->asking);
    *state = (struct state){0};
}

/* Where the migration's entry is, or would be. */
static size_t entry_place(const struct state *state, int64_t migration_id)
{
    size_t low = 0;
    size_t high = state->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (state->entries[middle].migration_id < migration_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *entry_find(const struct state *state, int64_t migration_id)
{
    size_t at = entry_place(state, migration_id);
    return at < state->entry_count && state->entries[at].migration_id == migration_id
               ? &state->entries[at]
               : NULL;
}

/* Makes room for one more element in an array that grows by doubling. */
static bool grow(void **array, size_t count, size_t size)
{
    if (count >= 16 && (count & (count - 1)) != 0)
        return true;
    void *more = realloc(*array, (count < 16 ? 16 : count * 2) * size);
    if (more)
        *array = more;
    return more != NULL;
}

/* The migration's entry, made where there is none. NULL when out of memory. */
static struct entry *entry_for(struct state *state, int64_t migration_id)
{
    struct entry *entry = entry_find(state, migration_id);
    if (entry)
        return entry;
    void *entries = state->entries;
    if (!grow(&entries, state->entry_count, sizeof *state->entries))
        return NULL;
    state->entries = entries;
    size_t at = entry_place(state, migration_id);
    entry = &state->entries[at];
    memmove(entry + 1, entry, (state->entry_count - at) * sizeof *entry);
    *entry = (struct entry){.migration_id = migration_id};
    state->entry_count++;
    return entry;
}

static void entry_recent(struct entry *entry, int64_t created_at)
{
    if (entry->recent_count == JOB_COUNTERS_RECENT) {
        entry->recent_count--;
        memmove(entry->recent, entry->recent + 1, entry->recent_count * sizeof *entry->recent);
    }
    entry->recent[entry->recent_count++] = created_at;
}

static bool open_add(struct state *state, const struct job_counters_job *job)
{
    void *open = state->open;
    if (!grow(&open, state->open_count, sizeof *state->open))
        return false;
    state->open = open;
    state->open[state->open_count++] = (struct open){job->id, job->migration_id, job->status};
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct open *left = a;
    const struct open *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static struct open *open_find(const struct state *state, int64_t id)
{
    const struct open key = {.id = id};
    return state->open_count > 0 ? bsearch(&key, state->open, state->open_count, sizeof key, by_id)
                                 : NULL;
}

/* ---- pace ---- */

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The median of the gaps between the latest jobs, among which a pause or an idle night
 * is one of many; or, where most are zero because a worker ran several jobs in one
 * transaction, their mean. 0 with fewer than two gaps. */
static int64_t pace_of(const struct entry *entry)
{
    int64_t gaps[JOB_COUNTERS_RECENT];
    size_t count = 0;
    if (entry->recent_count < 3)
        return 0;
    for (; count + 1 < entry->recent_count; count++)
        gaps[count] = entry->recent[count + 1] - entry->recent[count];
    qsort(gaps, count, sizeof *gaps, by_value);
    int64_t median = count % 2 ? gaps[count / 2] : (gaps[count / 2 - 1] + gaps[count / 2]) / 2;
    int64_t mean = (entry->recent[count] - entry->recent[0]) / (int64_t)count;
    return median > 0 ? median : mean;
}

/* ---- asking ---- */

void job_counters_base_free(struct job_counters_base *base)
{
    free(base->open);
    free(base->states);
    *base = (struct job_counters_base){0};
}

/* Whether a statement asks for the present state of an unfinished job. */
static bool is_asked(const struct state *state, const struct open *open, const int64_t *id)
{
    if (id && open->migration_id != *id)
        return false;
    struct entry *entry = entry_find(state, open->migration_id);
    return state->open_count <= ASK_ALL || (open->status == JOB_FAILED && entry->asked++ < ASK_FEW);
}

/* Writes the ids to ask for, and their states, as arrays, and counts what will come. */
static void write_asking(const struct state *state, const int64_t *id, FILE *ids, FILE *states,
                         struct job_counters_base *base)
{
    for (size_t i = 0; i < state->entry_count; i++)
        state->entries[i].asked = 0;
    base->expected = state->mark > 0;
    fputc('{', ids);
    fputc('{', states);
    for (size_t i = 0; i < state->open_count; i++) {
        const struct open *open = &state->open[i];
        if (!is_asked(state, open, id))
            continue;
        fprintf(ids, "%s%" PRId64, base->has_open ? "," : "", open->id);
        fprintf(states, "%s%" PRId64, base->has_open ? "," : "", open->status);
        base->has_open = true;
        base->expected += open->id != state->mark;
    }
    fputc('}', ids);
    fputc('}', states);
}

/* False when out of memory. */
static bool make_asking(const struct state *state, const int64_t *id,
                        struct job_counters_base *base)
{
    struct buffer ids;
    struct buffer states;
    if (!buffer_open(&ids))
        return false;
    bool opened = buffer_open(&states);
    if (opened) {
        write_asking(state, id, ids.out, states.out, base);
        base->states = buffer_close(&states);
    }
    base->open = buffer_close(&ids);
    bool good = base->open && base->states;
    if (!good)
        job_counters_base_free(base);
    return good;
}

/* The same at every request about all migrations, until something changes. */
static bool copy_asking(struct state *state, struct job_counters_base *base)
{
    if (!state->asking.open && !make_asking(state, NULL, &state->asking))
        return false;
    *base = state->asking;
    base->open = strdup(state->asking.open);
    base->states = strdup(state->asking.states);
    return base->open && base->states;
}

bool job_counters_base(struct job_counters *counts, const int64_t *id,
                       struct job_counters_base *base)
{
    struct state *state = &counts->state;
    *base = (struct job_counters_base){0};
    pthread_mutex_lock(&counts->lock);
    bool good = state->valid && (id ? make_asking(state, id, base) : copy_asking(state, base));
    uint64_t generation = state->valid ? counts->generation : 0;
    base->mark = state->mark;
    base->may_glance = state->mark == 0 || state->mark_at != NONE;
    char time[32] = "";
    if (state->mark > 0 && base->may_glance)
        text_rfc3339(state->mark_at, time);
    pthread_mutex_unlock(&counts->lock);
    snprintf(base->newest, sizeof base->newest, "{%s}", time);
    if (!good)
        job_counters_base_free(base);
    base->generation = generation;
    return good;
}

/* ---- taking in ---- */

/* Takes in one job, as it is now, into its migration's entry. Its status in the state
 * before is `before`, NONE where it is new. */
static void entry_take(struct entry *entry, const struct job_counters_job *job, int64_t before)
{
    if (before == job->status)
        return;
    if (before == JOB_FAILED)
        entry->failed--;
    if (job->status == JOB_FINISHED) {
        entry->finished++;
        entry->changed += before == JOB_FAILED;
    }
    if (job->status == JOB_FAILED)
        entry->failed++;
}

/* Takes in the jobs of one migration into a copy of its entry, and leaves the state. */
static enum job_counters_verdict take_one(const struct state *state,
                                          const struct job_counters_job *jobs, size_t count,
                                          struct entry *entry)
{
    for (size_t i = 0; i < count; i++) {
        const struct open *open = open_find(state, jobs[i].id);
        if (jobs[i].migration_id != entry->migration_id || (!open && jobs[i].id == state->mark))
            continue;
        entry_take(entry, &jobs[i], open ? open->status : NONE);
        if (!open)
            entry_recent(entry, jobs[i].created_at);
    }
    return JOB_COUNTERS_EXACT;
}

/* Takes in the jobs of all migrations into the state. */
static enum job_counters_verdict take_all(struct state *state, const struct job_counters_job *jobs,
                                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct open *open = open_find(state, jobs[i].id);
        if (!open && jobs[i].id == state->mark)
            continue;
        struct entry *entry = entry_for(state, jobs[i].migration_id);
        if (!entry)
            return JOB_COUNTERS_LOST;
        entry_take(entry, &jobs[i], open ? open->status : NONE);
        if (open) {
            open->status = jobs[i].status;
            continue;
        }
        entry_recent(entry, jobs[i].created_at);
        state->mark = jobs[i].id;
        state->mark_at = jobs[i].created_at;
        if (jobs[i].status != JOB_FINISHED && !open_add(state, &jobs[i]))
            return JOB_COUNTERS_LOST;
    }
    return JOB_COUNTERS_EXACT;
}

/* Drops from the unfinished jobs those that are finished by now. */
static void drop_finished(struct state *state)
{
    size_t kept = 0;
    for (size_t i = 0; i < state->open_count; i++) {
        if (state->open[i].status != JOB_FINISHED)
            state->open[kept++] = state->open[i];
    }
    state->open_count = kept;
}

/* Whether what was not asked for may have changed too: where a few of each migration's
 * unfinished jobs were asked for, and all those of one have changed. */
static bool may_hide_more(const struct state *state)
{
    for (size_t i = 0; state->open_count > ASK_ALL && i < state->entry_count; i++) {
        if (state->entries[i].changed >= ASK_FEW)
            return true;
    }
    return false;
}

/* Whether the statement saw the table that was counted: all that was asked for is there,
 * and at the mark stands the same job. `*new`: how many jobs are above it. */
static bool same_table(struct state *state, const struct job_counters_base *base,
                       const struct job_counters_job *jobs, size_t count, size_t *new)
{
    size_t old = 0;
    while (old < count && jobs[old].id <= state->mark)
        old++;
    *new = count - old;
    if (old != base->expected)
        return false;
    if (state->mark == 0)
        return true;
    if (jobs[old - 1].id != state->mark ||
        (state->mark_at != NONE && state->mark_at != jobs[old - 1].created_at))
        return false;
    state->mark_at = jobs[old - 1].created_at;
    return true;
}

static void tell(const struct entry *entry, struct job_counters_of *told)
{
    *told = entry ? (struct job_counters_of){entry->finished, entry->failed, pace_of(entry)}
                  : (struct job_counters_of){0, 0, 0};
}

/* About one migration: nothing is kept, as the statement did not see the others. */
static enum job_counters_verdict apply_one(const struct state *state, int64_t id,
                                           const struct job_counters_job *jobs, size_t count,
                                           struct job_counters_of *told)
{
    const struct entry *known = entry_find(state, id);
    struct entry entry = known ? *known : (struct entry){.migration_id = id};
    entry.changed = 0;
    if (take_one(state, jobs, count, &entry) != JOB_COUNTERS_EXACT ||
        (state->open_count > ASK_ALL && entry.changed >= ASK_FEW))
        return JOB_COUNTERS_LOST;
    tell(&entry, told);
    return JOB_COUNTERS_EXACT;
}

/* Whether anything differs from the state; most of the time nothing does. */
static bool has_news(const struct state *state, const struct job_counters_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct open *open = open_find(state, jobs[i].id);
        if (jobs[i].id > state->mark || (open && open->status != jobs[i].status))
            return true;
    }
    return false;
}

static enum job_counters_verdict apply_all(struct job_counters *counts,
                                           const struct job_counters_job *jobs, size_t count)
{
    struct state *state = &counts->state;
    if (!has_news(state, jobs, count))
        return JOB_COUNTERS_EXACT;
    for (size_t i = 0; i < state->entry_count; i++)
        state->entries[i].changed = 0;
    counts->generation++;
    job_counters_base_free(&state->asking);
    enum job_counters_verdict verdict = take_all(state, jobs, count);
    if (may_hide_more(state))
        verdict = JOB_COUNTERS_LOST;
    drop_finished(state);
    state->valid = verdict != JOB_COUNTERS_LOST;
    return verdict;
}

enum job_counters_verdict job_counters_apply(struct job_counters *counts,
                                             const struct job_counters_base *base,
                                             const int64_t *id, const struct job_counters_job *jobs,
                                             size_t job_count, const int64_t *ids,
                                             struct job_counters_of *told, size_t id_count)
{
    enum job_counters_verdict verdict = JOB_COUNTERS_AGAIN;
    pthread_mutex_lock(&counts->lock);
    struct state *state = &counts->state;
    size_t new;
    if (!state->valid || counts->generation != base->generation)
        goto out;
    verdict = JOB_COUNTERS_EXACT;
    if (id && id_count == 0)
        goto out;
    verdict = JOB_COUNTERS_LOST;
    if (!same_table(state, base, jobs, job_count, &new) || (id && new >= JOB_COUNTERS_NEW_MOST))
        goto out;
    if (id) {
        verdict = apply_one(state, *id, jobs, job_count, told);
        goto out;
    }
    verdict = apply_all(counts, jobs, job_count);
    if (verdict == JOB_COUNTERS_EXACT && new >= JOB_COUNTERS_NEW_MOST)
        verdict = JOB_COUNTERS_AGAIN;
    for (size_t i = 0; verdict == JOB_COUNTERS_EXACT && i < id_count; i++)
        tell(entry_find(state, ids[i]), &told[i]);
out:
    pthread_mutex_unlock(&counts->lock);
    return verdict;
}

bool job_counters_unchanged(struct job_counters *counts, const struct job_counters_base *base,
                            const int64_t *ids, struct job_counters_of *told, size_t id_count)
{
    pthread_mutex_lock(&counts->lock);
    const struct state *state = &counts->state;
    bool same = state->valid && counts->generation == base->generation;
    for (size_t i = 0; same && i < id_count; i++)
        tell(entry_find(state, ids[i]), &told[i]);
    pthread_mutex_unlock(&counts->lock);
    return same;
}

/* ---- counting anew ---- */

bool job_counters_my_turn(struct job_counters *counts, int64_t deadline, bool *late)
{
    *late = false;
    pthread_mutex_lock(&counts->lock);
    bool valid = counts->state.valid;
    bool due = clock_ms() >= counts->state.due;
    pthread_mutex_unlock(&counts->lock);
    if (valid)
        return due && pthread_mutex_trylock(&counts->turn) == 0;

    /* By the clock on the wall, as ThreadSanitizer knows no pthread_mutex_clocklock. Should it
     * be set back meanwhile, the wait ends when whoever counts has run into a deadline. */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + (deadline - clock_ms()) * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    if (ns < 0 || pthread_mutex_timedlock(&counts->turn, &until) != 0) {
        *late = true;
        return false;
    }
    pthread_mutex_lock(&counts->lock);
    valid = counts->state.valid;
    pthread_mutex_unlock(&counts->lock);
    if (valid) /* another thread has counted meanwhile */
        pthread_mutex_unlock(&counts->turn);
    return !valid;
}

void job_counters_end_turn(struct job_counters *counts)
{
    state_clear(&counts->fresh);
    pthread_mutex_unlock(&counts->turn);
}

void job_counters_begin(struct job_counters *counts)
{
    state_clear(&counts->fresh);
    counts->fresh.mark_at = NONE;
    counts->fresh.begun = clock_ms();
}

bool job_counters_add_jobs(struct job_counters *counts, int64_t migration_id, int64_t jobs,
                           int64_t newest)
{
    struct entry *entry = entry_for(&counts->fresh, migration_id);
    if (!entry)
        return false;
    entry->finished += jobs;
    if (newest > counts->fresh.mark)
        counts->fresh.mark = newest;
    return true;
}

bool job_counters_add_open(struct job_counters *counts, const struct job_counters_job *job)
{
    struct entry *entry = entry_for(&counts->fresh, job->migration_id);
    if (!entry || !open_add(&counts->fresh, job))
        return false;
    entry->finished--;
    entry->failed += job->status == JOB_FAILED;
    return true;
}

bool job_counters_add_recent(struct job_counters *counts, int64_t migration_id, int64_t created_at)
{
    struct entry *entry = entry_for(&counts->fresh, migration_id);
    if (!entry)
        return false;
    entry_recent(entry, created_at);
    return true;
}

int64_t job_counters_new_mark(const struct job_counters *counts)
{
    return counts->fresh.mark;
}

void job_counters_commit(struct job_counters *counts)
{
    struct state *fresh = &counts->fresh;
    if (fresh->open_count > 1)
        qsort(fresh->open, fresh->open_count, sizeof *fresh->open, by_id);
    fresh->valid = true;
    int64_t now = clock_ms();
    int64_t pause = (now - fresh->begun) * 100;
    pause = pause < PAUSE_LEAST ? PAUSE_LEAST : pause;
    fresh->due = now + (pause < counts->recount_ms ? pause : counts->recount_ms);
    pthread_mutex_lock(&counts->lock);
    struct state old = counts->state;
    counts->state = *fresh;
    counts->generation++;
    pthread_mutex_unlock(&counts->lock);
    *fresh = old;
}

void job_counters_forget(struct job_counters *counts, uint64_t generation)
{
    pthread_mutex_lock(&counts->lock);
    if (counts->generation == generation)
        counts->state.valid = false;
    pthread_mutex_unlock(&counts->lock);
}

struct job_counters *job_counters_new(int64_t recount_ms)
{
    struct job_counters *counts = calloc(1, sizeof *counts);
    if (!counts)
        return NULL;
    counts->recount_ms = recount_ms;
    counts->generation = 1;
    pthread_mutex_init(&counts->turn, NULL);
    pthread_mutex_init(&counts->lock, NULL);
    return counts;
}

void job_counters_free(struct job_counters *counts)
{
    if (!counts)
        return;
    state_clear(&counts->fresh);
    state_clear(&counts->state);
    pthread_mutex_destroy(&counts->turn);
    pthread_mutex_destroy(&counts->lock);
    free(counts);
}
