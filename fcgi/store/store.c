/* SPDX-License-Identifier: MIT
 * Rows into structs. */
#include "store/store.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "store/db.h"
#include "store/job_counters.h"
#include "store/sql.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct store {
    struct db *db;
    struct job_counters *counts; /* shared with the other threads' stores */
};

const char *store_status_name(int64_t status)
{
    static const char *const names[] = {"paused", "active", "finished", "failed", "running"};
    return status >= 0 && status < 5 ? names[status] : "unknown";
}

const char *store_job_status_name(int64_t status)
{
    static const char *const names[] = {
        [JOB_ACTIVE] = "active", [JOB_FINISHED] = "finished", [JOB_FAILED] = "failed"};
    return status >= JOB_ACTIVE && status <= JOB_FAILED ? names[status] : "unknown";
}

/* From PostgreSQL's epoch, 2000-01-01, to Unix's, in microseconds. */
#define POSTGRES_EPOCH (INT64_C(946684800) * 1000000)

/* ---- columns ---- */

/* A smallint, integer or bigint in network byte order. */
static int64_t integer_at(const PGresult *result, int row, int column)
{
    const unsigned char *p = (const unsigned char *)PQgetvalue(result, row, column);
    int len = PQgetlength(result, row, column);
    uint64_t value = len > 0 && p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < len; i++)
        value = value << 8 | p[i];
    return (int64_t)value;
}

static struct opt_int64 opt_int64_at(const PGresult *result, int row, int column)
{
    if (column < 0 || PQgetisnull(result, row, column))
        return (struct opt_int64){0};
    return (struct opt_int64){true, integer_at(result, row, column)};
}

/* A timestamptz; "infinity" and its opposite name no moment and count as none. */
static struct opt_int64 time_at(const PGresult *result, int row, int column)
{
    struct opt_int64 time = opt_int64_at(result, row, column);
    if (time.value == INT64_MAX || time.value == INT64_MIN ||
        time.value > INT64_MAX - POSTGRES_EPOCH)
        return (struct opt_int64){0};
    time.value += POSTGRES_EPOCH;
    return time;
}

static struct str_view str_view_at(const PGresult *result, int row, int column)
{
    if (column < 0 || PQgetisnull(result, row, column))
        return (struct str_view){0};
    return (struct str_view){PQgetvalue(result, row, column),
                             (size_t)PQgetlength(result, row, column)};
}

/* An integer as a statement's text parameter. */
struct number {
    char text[24];
};

static const char *number(struct number *number, int64_t value)
{
    snprintf(number->text, sizeof number->text, "%" PRId64, value);
    return number->text;
}

bool store_ready(struct store *store, int64_t deadline, struct error *error)
{
    PQclear(db_run(store->db, SQL_READY, NULL, 0, DB_RETRY, deadline, error));
    return !error->status;
}

/* ---- migrations ---- */

/* Where the columns of sql/migrations.sql stand; -1 where this registry has none. */
struct columns {
    int id, name, status, job_signature_name, table_name, column_name, batch_size, sub_batch_size,
        min_value, max_value, batching_strategy, total_tuple_count, failure_error_code, created_at,
        updated_at, started_at, finished_at, job_id, job_migration_id, job_status, job_created_at;
};

static struct columns columns_of(const PGresult *result)
{
    return (struct columns){
        .id = PQfnumber(result, "id"),
        .name = PQfnumber(result, "name"),
        .status = PQfnumber(result, "status"),
        .job_signature_name = PQfnumber(result, "job_signature_name"),
        .table_name = PQfnumber(result, "table_name"),
        .column_name = PQfnumber(result, "column_name"),
        .batch_size = PQfnumber(result, "batch_size"),
        .sub_batch_size = PQfnumber(result, "sub_batch_size"),
        .min_value = PQfnumber(result, "min_value"),
        .max_value = PQfnumber(result, "max_value"),
        .batching_strategy = PQfnumber(result, "batching_strategy"),
        .total_tuple_count = PQfnumber(result, "total_tuple_count"),
        .failure_error_code = PQfnumber(result, "failure_error_code"),
        .created_at = PQfnumber(result, "created_at"),
        .updated_at = PQfnumber(result, "updated_at"),
        .started_at = PQfnumber(result, "started_at"),
        .finished_at = PQfnumber(result, "finished_at"),
        .job_id = PQfnumber(result, "job_id"),
        .job_migration_id = PQfnumber(result, "job_migration_id"),
        .job_status = PQfnumber(result, "job_status"),
        .job_created_at = PQfnumber(result, "job_created_at"),
    };
}

static struct migration migration_at(const PGresult *result, const struct columns *c, int row)
{
    return (struct migration){
        .id = integer_at(result, row, c->id),
        .name = str_view_at(result, row, c->name),
        .status = integer_at(result, row, c->status),
        .job_signature_name = str_view_at(result, row, c->job_signature_name),
        .table_name = str_view_at(result, row, c->table_name),
        .column_name = str_view_at(result, row, c->column_name),
        .batch_size = integer_at(result, row, c->batch_size),
        .sub_batch_size = opt_int64_at(result, row, c->sub_batch_size),
        .min_value = integer_at(result, row, c->min_value),
        .max_value = integer_at(result, row, c->max_value),
        .batching_strategy = str_view_at(result, row, c->batching_strategy),
        .total_tuple_count = opt_int64_at(result, row, c->total_tuple_count),
        .failure_error_code = opt_int64_at(result, row, c->failure_error_code),
        .created_at = time_at(result, row, c->created_at),
        .updated_at = time_at(result, row, c->updated_at),
        .started_at = time_at(result, row, c->started_at),
        .finished_at = time_at(result, row, c->finished_at),
    };
}

/* The rows of sql/migrations.sql or sql/glance.sql taken apart: each migration once, and
 * the jobs. */
struct listing {
    struct migrations migrations;
    struct job_counters_job *jobs; /* ascending by id */
    size_t job_count;
    int64_t *ids; /* of the migrations */
    struct job_counters_of *counts;
};

static void listing_free(struct listing *listing)
{
    store_migrations_free(&listing->migrations);
    /* The analyzer loses sight of the assignment below. */
    free(listing->jobs); /* NOLINT(clang-analyzer-unix.Malloc) */
    free(listing->ids);
    free(listing->counts);
    *listing = (struct listing){0};
}

static int by_job_id(const void *a, const void *b)
{
    const struct job_counters_job *left = a;
    const struct job_counters_job *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* The job at the mark may have come twice, if it was asked for as unfinished too. */
static void sort_jobs(struct listing *listing)
{
    struct job_counters_job *jobs = listing->jobs;
    size_t kept = 0;
    qsort(jobs, listing->job_count, sizeof *jobs, by_job_id);
    for (size_t i = 0; i < listing->job_count; i++) {
        if (i == 0 || jobs[i].id != jobs[i - 1].id)
            jobs[kept++] = jobs[i];
    }
    listing->job_count = kept;
}

static int by_migration_id(const void *a, const void *b)
{
    const struct migration *left = a;
    const struct migration *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* By id, which is cheaper here than to have PostgreSQL plan a sort at every request. */
static void sort_migrations(struct listing *listing)
{
    struct migrations *migrations = &listing->migrations;
    qsort(migrations->rows, migrations->count, sizeof *migrations->rows, by_migration_id);
    for (size_t i = 0; i < migrations->count; i++)
        listing->ids[i] = migrations->rows[i].id;
}

/* Takes over `result`. */
static bool read_listing(PGresult *result, struct listing *listing, struct error *error)
{
    struct columns c = columns_of(result);
    size_t rows = (size_t)PQntuples(result);
    struct migrations *migrations = &listing->migrations;
    *listing = (struct listing){.migrations.result = result};
    migrations->rows = calloc(rows + 1, sizeof *migrations->rows);
    listing->jobs = calloc(rows + 1, sizeof *listing->jobs);
    listing->ids = calloc(rows + 1, sizeof *listing->ids);
    listing->counts = calloc(rows + 1, sizeof *listing->counts);
    if (!migrations->rows || !listing->jobs || !listing->ids || !listing->counts)
        return error_unavailable(error, "out of memory");
    for (int row = 0; row < (int)rows; row++) {
        int64_t id = integer_at(result, row, c.id);
        if (migrations->count == 0 || listing->ids[migrations->count - 1] != id) {
            listing->ids[migrations->count] = id;
            migrations->rows[migrations->count++] = migration_at(result, &c, row);
        }
        if (c.job_id < 0 || PQgetisnull(result, row, c.job_id))
            continue;
        listing->jobs[listing->job_count++] = (struct job_counters_job){
            integer_at(result, row, c.job_id), integer_at(result, row, c.job_migration_id),
            integer_at(result, row, c.job_status), time_at(result, row, c.job_created_at).value};
    }
    sort_jobs(listing);
    sort_migrations(listing);
    return true;
}

/* ---- counts of jobs ---- */

/* The columns of sql/counts.sql. */
static bool add_counted(struct job_counters *counts, const PGresult *result, int row)
{
    int64_t migration_id = integer_at(result, row, 0);
    struct opt_int64 open_id = opt_int64_at(result, row, 1);
    if (!open_id.given)
        return job_counters_add_jobs(counts, migration_id, integer_at(result, row, 3),
                                     integer_at(result, row, 4));
    const struct job_counters_job job = {open_id.value, migration_id, integer_at(result, row, 2),
                                         0};
    return job_counters_add_open(counts, &job);
}

/* The migrations that were counted, as PostgreSQL's array text; NULL: out of memory. */
static char *counted_ids(const PGresult *result)
{
    struct buffer ids;
    const char *comma = "";
    if (!buffer_open(&ids))
        return NULL;
    fputc('{', ids.out);
    for (int row = 0; row < PQntuples(result); row++) {
        if (!PQgetisnull(result, row, 1))
            continue; /* one row of each that has jobs */
        fprintf(ids.out, "%s%" PRId64, comma, integer_at(result, row, 0));
        comma = ",";
    }
    fputc('}', ids.out);
    return buffer_close(&ids);
}

static bool count_recent(struct store *store, const PGresult *counted, int64_t deadline,
                         struct error *error)
{
    struct number mark;
    char *ids = counted_ids(counted);
    const char *const params[] = {ids, number(&mark, job_counters_new_mark(store->counts))};
    PGresult *result = NULL;
    bool good = ids != NULL;
    if (good) {
        result = db_run(store->db, SQL_RECENT, params, 2, DB_RETRY, deadline, error);
        good = result != NULL;
    }
    for (int row = 0; good && row < PQntuples(result); row++)
        good = job_counters_add_recent(store->counts, integer_at(result, row, 0),
                                       time_at(result, row, 1).value);
    free(ids);
    PQclear(result);
    return good;
}

/* Counts all jobs anew; the caller has the turn. */
static bool count_all(struct store *store, int64_t deadline, struct error *error)
{
    bool good = true;
    job_counters_begin(store->counts);
    PGresult *result = db_run(store->db, SQL_COUNTS, NULL, 0, DB_RETRY, deadline, error);
    if (!result)
        return false;
    for (int row = 0; good && row < PQntuples(result); row++)
        good = add_counted(store->counts, result, row);
    good = good && count_recent(store, result, deadline, error);
    PQclear(result);
    if (good)
        job_counters_commit(store->counts);
    return good || error->status || error_unavailable(error, "out of memory");
}

/* Sees to it that there are counts to start from. */
static bool have_counts(struct store *store, int64_t deadline, struct error *error)
{
    bool late;
    if (!job_counters_my_turn(store->counts, deadline, &late))
        return !late || error_unavailable(error, "jobs not counted in time");
    bool good = count_all(store, deadline, error);
    job_counters_end_turn(store->counts);
    return good && !error->status;
}

/* The cheap statement: the migrations, and whether the jobs are as they were counted.
 * `*done` where they are. */
static bool list_by_glance(struct store *store, const char *id,
                           const struct job_counters_base *base, int64_t deadline,
                           struct listing *listing, bool *done, struct error *error)
{
    struct number mark;
    /* In the order in which sql/glance.sql and glance_newest.sql first name them. */
    const char *const all[] = {number(&mark, base->mark), base->newest, base->open, base->states,
                               id};
    const char *const few[] = {mark.text, base->newest, id};
    PGresult *result =
        base->has_open ? db_run(store->db, SQL_GLANCE, all, 5, DB_RETRY, deadline, error)
                       : db_run(store->db, SQL_GLANCE_NEWEST, few, 3, DB_RETRY, deadline, error);
    if (!result || !read_listing(result, listing, error))
        return false;
    /* Where there is no migration there is nothing to tell of its jobs. */
    bool unchanged =
        PQntuples(result) == 0 || integer_at(result, 0, PQfnumber(result, "jobs_unchanged")) != 0;
    *done = unchanged && job_counters_unchanged(store->counts, base, listing->ids, listing->counts,
                                                listing->migrations.count);
    return true;
}

/* The full statement, with what has changed among the jobs. */
static bool list_with_jobs(struct store *store, const int64_t *id,
                           const struct job_counters_base *base, int64_t deadline,
                           struct listing *listing, enum job_counters_verdict *verdict,
                           struct error *error)
{
    struct number numbers[2];
    /* In the order in which sql/migrations.sql first names them. */
    const char *const params[] = {number(&numbers[0], base->mark),
                                  id ? number(&numbers[1], *id) : NULL, base->open};
    PGresult *result = db_run(store->db, SQL_MIGRATIONS, params, 3, DB_RETRY, deadline, error);
    if (!result || !read_listing(result, listing, error))
        return false;
    *verdict = job_counters_apply(store->counts, base, id, listing->jobs, listing->job_count,
                                  listing->ids, listing->counts, listing->migrations.count);
    if (*verdict == JOB_COUNTERS_LOST)
        job_counters_forget(store->counts, base->generation);
    return true;
}

/* One try at the listing with its counts. */
static bool list_once(struct store *store, const int64_t *id, int64_t deadline,
                      struct listing *listing, enum job_counters_verdict *verdict,
                      struct error *error)
{
    struct number text;
    struct job_counters_base base;
    bool done = false;
    bool good = true;
    *verdict = JOB_COUNTERS_AGAIN;
    if (!have_counts(store, deadline, error))
        return false;
    if (!job_counters_base(store->counts, id, &base))
        return base.generation == 0 || error_unavailable(error, "out of memory");
    if (base.may_glance)
        good = list_by_glance(store, id ? number(&text, *id) : NULL, &base, deadline, listing,
                              &done, error);
    if (done)
        *verdict = JOB_COUNTERS_EXACT;
    if (good && !done) {
        listing_free(listing);
        good = list_with_jobs(store, id, &base, deadline, listing, verdict, error);
    }
    job_counters_base_free(&base);
    return good;
}

bool store_migrations(struct store *store, const int64_t *id, int64_t deadline,
                      struct migrations *migrations, struct error *error)
{
    enum job_counters_verdict verdict = JOB_COUNTERS_AGAIN;
    struct listing listing = {0};
    *migrations = (struct migrations){0};
    while (verdict != JOB_COUNTERS_EXACT) {
        listing_free(&listing);
        if (clock_ms() >= deadline)
            return error_unavailable(error, "jobs change faster than they are counted");
        if (!list_once(store, id, deadline, &listing, &verdict, error)) {
            listing_free(&listing);
            return false;
        }
    }
    for (size_t i = 0; i < listing.migrations.count; i++) {
        struct migration *m = &listing.migrations.rows[i];
        m->finished_jobs = listing.counts[i].finished;
        m->failed_jobs = listing.counts[i].failed;
        m->pace = (struct opt_int64){listing.counts[i].pace > 0, listing.counts[i].pace};
    }
    *migrations = listing.migrations;
    listing.migrations = (struct migrations){0};
    listing_free(&listing);
    return true;
}

void store_migrations_free(struct migrations *migrations)
{
    PQclear(migrations->result);
    free(migrations->rows);
    *migrations = (struct migrations){0};
}

/* ---- jobs ---- */

/* Rows that a filtered page looks at, at the most: a few milliseconds' worth. */
#define LOOK_MOST 10000

/* The columns of sql/jobs.sql before a job's own. */
enum {
    JOBS_BEYOND,
    JOBS_FIRST,
};

static struct job job_at(const PGresult *result, int row)
{
    int column = JOBS_FIRST;
    struct job job;
    job.id = integer_at(result, row, column++);
    job.min_value = integer_at(result, row, column++);
    job.max_value = integer_at(result, row, column++);
    job.status = integer_at(result, row, column++);
    job.attempts = integer_at(result, row, column++);
    job.failure_error_code = opt_int64_at(result, row, column++);
    job.created_at = time_at(result, row, column++);
    job.updated_at = time_at(result, row, column++);
    job.started_at = time_at(result, row, column++);
    job.finished_at = time_at(result, row, column);
    return job;
}

/* The rows of a page, one more of which says that there is a next one. A filtered page has
 * a next one too where there may be jobs beyond those it looked at, whatever it found. */
static bool read_jobs(const PGresult *result, int64_t n, struct jobs *jobs, struct error *error)
{
    size_t found = PQgetisnull(result, 0, JOBS_FIRST) ? 0 : (size_t)PQntuples(result);
    struct opt_int64 beyond = opt_int64_at(result, 0, JOBS_BEYOND);
    jobs->rows = calloc(found + 1, sizeof *jobs->rows);
    if (!jobs->rows)
        return error_unavailable(error, "out of memory");
    jobs->count = found > (size_t)n ? (size_t)n : found;
    for (size_t i = 0; i < jobs->count; i++)
        jobs->rows[i] = job_at(result, (int)i);
    jobs->more = found > jobs->count || beyond.given;
    jobs->last = found > jobs->count ? jobs->rows[jobs->count - 1].id : beyond.value;
    return true;
}

bool store_jobs(struct store *store, int64_t id, const int64_t *last, const int64_t *status,
                int64_t n, int64_t deadline, struct jobs *jobs, struct error *error)
{
    struct number numbers[5];
    /* In the order in which sql/jobs.sql first names them. */
    const char *const params[] = {
        last ? number(&numbers[0], *last) : NULL,
        number(&numbers[1], id),
        number(&numbers[2], LOOK_MOST),
        status ? number(&numbers[3], *status) : NULL,
        number(&numbers[4], n),
    };
    *jobs = (struct jobs){0};
    PGresult *result = db_run(store->db, SQL_JOBS, params, 5, DB_RETRY, deadline, error);
    if (!result)
        return false;
    bool good =
        PQntuples(result) > 0 ? read_jobs(result, n, jobs, error) : error_id_not_found(error, id);
    PQclear(result);
    return good;
}

void store_jobs_free(struct jobs *jobs)
{
    free(jobs->rows);
    *jobs = (struct jobs){0};
}

/* ---- what an action did ---- */

static void list_clear(struct change_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->rows[i].name);
    free(list->rows);
    *list = (struct change_list){0};
}

/* Adds a row of columns id, name, previous_status, in its place by id; one that is there
 * already keeps the status it had first. */
static bool list_add(struct change_list *list, const PGresult *result, int row, struct error *error)
{
    int64_t id = integer_at(result, row, 0);
    struct str_view name = str_view_at(result, row, 1);
    size_t at = list->count;
    while (at > 0 && list->rows[at - 1].id > id)
        at--;
    if (at > 0 && list->rows[at - 1].id == id)
        return true;
    struct change *rows = realloc(list->rows, (list->count + 1) * sizeof *rows);
    if (rows)
        list->rows = rows;
    char *copy = malloc(name.len + 1);
    if (!rows || !copy) {
        free(copy);
        return error_unavailable(error, "out of memory");
    }
    memcpy(copy, name.at ? name.at : "", name.len);
    copy[name.len] = '\0';
    memmove(rows + at + 1, rows + at, (list->count - at) * sizeof *rows);
    rows[at] = (struct change){id, copy, name.len, integer_at(result, row, 2)};
    list->count++;
    return true;
}

void store_changes_free(struct changes *changes)
{
    list_clear(&changes->done);
    list_clear(&changes->held);
}

/* ---- the worker ---- */

/* What sql/worker.sql sees. */
struct worker {
    bool in_run;
    bool has_chosen;
    bool past_choosing;
    bool has_marked;
    bool one_is_running;
    bool has_error_code; /* of the registry's: there is one that a restart may clear */
    char *xids; /* owned: its transactions as an array's text; NULL where it has none yet */
};

static bool look(struct store *store, int64_t deadline, struct worker *worker, struct error *error)
{
    PGresult *result = db_run(store->db, SQL_WORKER, NULL, 0, DB_RETRY, deadline, error);
    if (!result)
        return false;
    bool has_xids = !PQgetisnull(result, 0, 5);
    free(worker->xids);
    *worker = (struct worker){
        .in_run = integer_at(result, 0, 0) != 0,
        .has_chosen = integer_at(result, 0, 1) != 0,
        .past_choosing = integer_at(result, 0, 2) != 0,
        .has_marked = integer_at(result, 0, 3) != 0,
        .one_is_running = integer_at(result, 0, 4) != 0,
        .has_error_code = integer_at(result, 0, 6) != 0,
        .xids = has_xids ? strdup(PQgetvalue(result, 0, 5)) : NULL,
    };
    PQclear(result);
    return !has_xids || worker->xids || error_unavailable(error, "out of memory");
}

/* Whether the worker may have chosen an active migration, before it was paused, and not
 * yet set it running, which it will do with no look at the present status.
 *
 * Not where it has not chosen yet: what was committed before, it will see. Not where one
 * is running: it will have taken that one, and those are not set running again. Not where
 * it writes jobs, or has marked a migration: then that step is behind it, and the
 * migration it took, if it is one of ours, bears its transaction. */
static bool may_undo(const struct worker *worker)
{
    return worker->in_run && worker->has_chosen && !worker->past_choosing && !worker->has_marked &&
           !worker->one_is_running;
}

/* ---- actions ---- */

/* The outcomes of sql/pause.sql, resume.sql and restart.sql. */
enum {
    UNTOUCHED,
    CHANGED,
    HELD,
};

/* An action under way. */
struct action {
    enum action_kind kind;
    const int64_t *id; /* NULL: all */
    int64_t deadline;
    struct worker worker; /* as last looked */
    bool was_running;     /* the last pass paused one that was running */
    size_t changed;       /* by the last pass */
};

/* What a state allows, for those that allow less than was asked. */
static bool refuse_state(int64_t id, int64_t status, struct error *error)
{
    const char *allowed = "no action is possible";
    if (status == MIGRATION_PAUSED)
        allowed = "it can only be resumed";
    else if (status == MIGRATION_FAILED)
        allowed = "it can only be restarted";
    return error_state_conflict(error, id, store_status_name(status), allowed);
}

/* A row of a single migration that the pass had nothing to do with: right or wrong? */
static bool judge_untouched(const struct action *action, const PGresult *result, int row,
                            struct changes *changes, struct error *error)
{
    int64_t status = integer_at(result, row, 2);
    bool there = status == MIGRATION_ACTIVE || status == MIGRATION_RUNNING ||
                 (status == MIGRATION_PAUSED && action->kind != ACTION_RESTART);
    /* Paused by us just now, and then finished or failed by a run that had come to that. */
    if (!action->id || there || changes->done.count > 0)
        changes->left = (struct opt_int64){true, status};
    else
        return refuse_state(*action->id, status, error);
    return true;
}

static bool read_pass(struct action *action, const PGresult *result, struct changes *changes,
                      struct error *error)
{
    action->changed = 0;
    action->was_running = false;
    list_clear(&changes->held);
    if (action->id && PQntuples(result) == 0)
        return error_id_not_found(error, *action->id);
    for (int row = 0; row < PQntuples(result); row++) {
        bool good = true;
        switch (integer_at(result, row, 3)) {
        case CHANGED:
            action->changed++;
            if (integer_at(result, row, 2) == MIGRATION_RUNNING)
                action->was_running = true;
            good = list_add(&changes->done, result, row, error);
            break;
        case HELD:
            good = list_add(&changes->held, result, row, error);
            break;
        default:
            good = judge_untouched(action, result, row, changes, error);
        }
        if (!good)
            return false;
    }
    return true;
}

static PGresult *send_pass(struct store *store, const struct action *action, struct error *error)
{
    struct number number_of_id;
    const char *id = action->id ? number(&number_of_id, *action->id) : NULL;
    const char *const pause[] = {action->worker.xids, id};
    const char *const others[] = {id};
    if (action->kind == ACTION_PAUSE)
        return db_run(store->db, SQL_PAUSE, pause, 2, DB_ONCE, action->deadline, error);
    const char *sql = SQL_RESUME;
    if (action->kind == ACTION_RESTART)
        sql = action->worker.has_error_code ? SQL_RESTART : SQL_RESTART_FIRST;
    return db_run(store->db, sql, others, 1, DB_ONCE, action->deadline, error);
}

/* One statement that changes what can be had now, and reports what cannot. */
static bool pass(struct store *store, struct action *action, struct changes *changes,
                 struct error *error)
{
    PGresult *result = send_pass(store, action, error);
    bool good = result && read_pass(action, result, changes, error);
    PQclear(result);
    /* It has run: without memory to note what it changed, nobody can say. */
    if (result && !good && error->status == 503)
        error_outcome_unknown(error);
    return good;
}

/* Sleeps a moment, each longer than the last. False when the time is over. */
static bool wait_a_moment(const struct action *action, int64_t *ms)
{
    /* Some is left for the last look and the answer. */
    int64_t left = action->deadline - clock_ms() - 100;
    if (left <= 0)
        return false;
    const struct timespec moment = {0, (long)(*ms < left ? *ms : left) * 1000000};
    nanosleep(&moment, NULL);
    *ms = *ms < 50 ? *ms * 2 : *ms;
    return true;
}

/* Looks at the worker until it can undo nothing, with at least one look. False on error,
 * or with `unsettled` set, when the time is over. */
static bool settle(struct store *store, struct action *action, struct changes *changes,
                   struct error *error)
{
    int64_t ms = 2;
    do {
        if (!look(store, action->deadline, &action->worker, error))
            return false;
        changes->job_in_flight = action->worker.in_run;
        changes->unsettled =
            action->kind == ACTION_PAUSE && !action->was_running && may_undo(&action->worker);
        if (!changes->unsettled)
            return true;
    } while (wait_a_moment(action, &ms));
    return error_held(error, "a worker in a run may set a paused migration running");
}

/* Changes what is meant, pass by pass, until a pass leaves nothing out.
 *
 * A pause is done when a pass finds nothing left to do, and between it and the pass before, the
 * worker was seen to be able to undo nothing: no later run can either, as it finds them paused.
 * The look before the first pass does not count: what that pass finds paused, another caller may
 * have paused after it. */
static bool act(struct store *store, struct action *action, struct changes *changes,
                struct error *error)
{
    int64_t ms = 2;
    bool settled = action->kind != ACTION_PAUSE;
    *changes = (struct changes){0};
    if (!look(store, action->deadline, &action->worker, error))
        return false;
    changes->job_in_flight = action->worker.in_run;
    for (;;) {
        if (!pass(store, action, changes, error))
            return false;
        if (changes->held.count > 0 && !wait_a_moment(action, &ms))
            return error_held(error, "%zu migrations are held by another transaction",
                              changes->held.count);
        bool complete = action->kind != ACTION_PAUSE || action->changed == 0;
        if (settled && complete && changes->held.count == 0)
            return true;
        if (!settle(store, action, changes, error))
            return false;
        settled = true;
    }
}

bool store_act(struct store *store, enum action_kind kind, const int64_t *id, int64_t deadline,
               struct changes *changes, struct error *error)
{
    struct action action = {.kind = kind, .id = id, .deadline = deadline};
    bool good = act(store, &action, changes, error);
    free(action.worker.xids);
    return good;
}

/* ---- a store ---- */

struct store *store_new(const struct conf_database *conf, struct job_counters *counts)
{
    struct store *store = calloc(1, sizeof *store);
    if (store && !(store->db = db_new(conf))) {
        free(store);
        return NULL;
    }
    if (store)
        store->counts = counts;
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    db_free(store->db);
    free(store);
}
