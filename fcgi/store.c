/* SPDX-License-Identifier: MIT
 * Rows into structs. */
#include "store.h"

#include "clock.h"
#include "db.h"
#include "sql.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct store {
    struct db *db;
};

const char *store_status_name(int64_t status)
{
    static const char *const names[] = {"paused", "active", "finished", "failed", "running"};
    return status >= 0 && status < 5 ? names[status] : "unknown";
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

static struct maybe maybe_at(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return (struct maybe){0};
    return (struct maybe){true, integer_at(result, row, column)};
}

/* A timestamptz; "infinity" and its opposite name no moment and count as none. */
static struct maybe time_at(const PGresult *result, int row, int column)
{
    struct maybe time = maybe_at(result, row, column);
    if (time.value == INT64_MAX || time.value == INT64_MIN ||
        time.value > INT64_MAX - POSTGRES_EPOCH)
        return (struct maybe){0};
    time.value += POSTGRES_EPOCH;
    return time;
}

static struct span span_at(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return (struct span){0};
    return (struct span){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
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

/* ---- migrations ---- */

/* The columns in the order of sql/migrations.sql. */
static struct migration migration_at(const PGresult *result, int row)
{
    int column = 0;
    struct migration m;
    m.id = integer_at(result, row, column++);
    m.name = span_at(result, row, column++);
    m.status = integer_at(result, row, column++);
    m.job_signature_name = span_at(result, row, column++);
    m.table_name = span_at(result, row, column++);
    m.column_name = span_at(result, row, column++);
    m.batch_size = integer_at(result, row, column++);
    m.sub_batch_size = maybe_at(result, row, column++);
    m.min_value = integer_at(result, row, column++);
    m.max_value = integer_at(result, row, column++);
    m.batching_strategy = span_at(result, row, column++);
    m.total_tuple_count = maybe_at(result, row, column++);
    m.failure_error_code = maybe_at(result, row, column++);
    m.created_at = time_at(result, row, column++);
    m.updated_at = time_at(result, row, column++);
    m.started_at = time_at(result, row, column++);
    m.finished_at = time_at(result, row, column++);
    m.finished_jobs = integer_at(result, row, column++);
    m.failed_jobs = integer_at(result, row, column++);
    m.pace = maybe_at(result, row, column);
    return m;
}

bool store_migrations(struct store *store, const int64_t *id, int64_t deadline,
                      struct migrations *migrations, struct error *error)
{
    struct number text;
    const char *const params[] = {id ? number(&text, *id) : NULL};
    *migrations = (struct migrations){0};
    migrations->result = db_run(store->db, SQL_MIGRATIONS, params, 1, DB_RETRY, deadline, error);
    if (!migrations->result)
        return false;
    migrations->count = (size_t)PQntuples(migrations->result);
    migrations->rows = calloc(migrations->count + 1, sizeof *migrations->rows);
    if (!migrations->rows) {
        store_migrations_free(migrations);
        return error_unavailable(error, "out of memory");
    }
    for (size_t i = 0; i < migrations->count; i++)
        migrations->rows[i] = migration_at(migrations->result, (int)i);
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

/* The columns of sql/jobs.sql before a job's own: known, looked_at, last_seen. */
enum {
    JOBS_KNOWN,
    JOBS_LOOKED_AT,
    JOBS_LAST_SEEN,
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
    job.failure_error_code = maybe_at(result, row, column++);
    job.created_at = time_at(result, row, column++);
    job.updated_at = time_at(result, row, column++);
    job.started_at = time_at(result, row, column++);
    job.finished_at = time_at(result, row, column);
    return job;
}

/* The rows of a page, one more of which says that there is a next one. A filtered page
 * that looked at all the rows it may has a next one too, whatever it found. */
static bool read_jobs(const PGresult *result, int64_t n, int64_t look, struct jobs *jobs,
                      struct error *error)
{
    size_t found = PQgetisnull(result, 0, JOBS_FIRST) ? 0 : (size_t)PQntuples(result);
    jobs->rows = calloc(found + 1, sizeof *jobs->rows);
    if (!jobs->rows)
        return error_unavailable(error, "out of memory");
    jobs->count = found > (size_t)n ? (size_t)n : found;
    for (size_t i = 0; i < jobs->count; i++)
        jobs->rows[i] = job_at(result, (int)i);
    if (found > jobs->count) {
        jobs->more = true;
        jobs->last = jobs->rows[jobs->count - 1].id;
    } else if (integer_at(result, 0, JOBS_LOOKED_AT) >= look) {
        jobs->more = true;
        jobs->last = integer_at(result, 0, JOBS_LAST_SEEN);
    }
    return true;
}

bool store_jobs(struct store *store, int64_t id, const int64_t *last, const int64_t *status,
                int64_t n, int64_t deadline, struct jobs *jobs, struct error *error)
{
    struct number numbers[5];
    int64_t look = status ? LOOK_MOST : n + 1;
    /* In the order in which sql/jobs.sql first names them. */
    const char *const params[] = {
        number(&numbers[0], id),   last ? number(&numbers[1], *last) : NULL,
        number(&numbers[2], look), status ? number(&numbers[3], *status) : NULL,
        number(&numbers[4], n),
    };
    *jobs = (struct jobs){0};
    PGresult *result = db_run(store->db, SQL_JOBS, params, 5, DB_RETRY, deadline, error);
    if (!result)
        return false;
    bool good = integer_at(result, 0, JOBS_KNOWN) != 0 ? read_jobs(result, n, look, jobs, error)
                                                       : error_id_not_found(error, id);
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
    struct span name = span_at(result, row, 1);
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
    memcpy(copy, name.at, name.len);
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
    char xid[16]; /* its transaction; "" where it has none yet */
};

static bool look(struct store *store, int64_t deadline, struct worker *worker, struct error *error)
{
    PGresult *result = db_run(store->db, SQL_WORKER, NULL, 0, DB_RETRY, deadline, error);
    if (!result)
        return false;
    *worker = (struct worker){
        .in_run = integer_at(result, 0, 0) != 0,
        .has_chosen = integer_at(result, 0, 1) != 0,
        .past_choosing = integer_at(result, 0, 2) != 0,
        .has_marked = integer_at(result, 0, 3) != 0,
        .one_is_running = integer_at(result, 0, 4) != 0,
    };
    snprintf(worker->xid, sizeof worker->xid, "%.*s", PQgetlength(result, 0, 5),
             PQgetvalue(result, 0, 5));
    PQclear(result);
    return true;
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

/* The outcomes of sql/pause.sql and sql/resume.sql. */
enum {
    UNTOUCHED,
    CHANGED,
    HELD,
};

/* An action under way. */
struct action {
    bool pausing;
    const int64_t *id; /* NULL: all */
    int64_t deadline;
    struct worker worker; /* as last looked */
    bool was_running;     /* the last pass paused one that was running */
    size_t changed;       /* by the last pass */
};

/* A row of a single migration that the pass had nothing to do with: right or wrong? */
static bool judge_untouched(const struct action *action, const PGresult *result, int row,
                            const struct changes *changes, struct error *error)
{
    int64_t status = integer_at(result, row, 2);
    bool there =
        status == MIGRATION_PAUSED || status == MIGRATION_ACTIVE || status == MIGRATION_RUNNING;
    /* Paused by us just now, and then finished or failed by a run that had come to that. */
    if (there || changes->done.count > 0)
        return true;
    return error_state_conflict(error, *action->id, store_status_name(status));
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

/* One statement that changes what can be had now, and tells what cannot. */
static bool pass(struct store *store, struct action *action, struct changes *changes,
                 struct error *error)
{
    struct number id;
    const char *xid = action->worker.xid;
    const char *const params[] = {*xid ? xid : NULL, action->id ? number(&id, *action->id) : NULL};
    PGresult *result =
        action->pausing
            ? db_run(store->db, SQL_PAUSE, params, 2, DB_ONCE, action->deadline, error)
            : db_run(store->db, SQL_RESUME, params + 1, 1, DB_ONCE, action->deadline, error);
    bool good = result && read_pass(action, result, changes, error);
    PQclear(result);
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
        changes->unsettled = action->pausing && !action->was_running && may_undo(&action->worker);
        if (!changes->unsettled)
            return true;
    } while (wait_a_moment(action, &ms));
    return error_unavailable(error, "a worker in a run may set a paused migration running");
}

/* Changes what is meant, pass by pass. It is done when a pass finds nothing left to do
 * that was preceded by a look at the worker after all changes were committed, and the
 * worker could undo none of them: then no later run can either, as it finds them paused. */
static bool act(struct store *store, struct action *action, struct changes *changes,
                struct error *error)
{
    int64_t ms = 2;
    *changes = (struct changes){0};
    if (!look(store, action->deadline, &action->worker, error))
        return false;
    bool settled = !action->pausing || !may_undo(&action->worker);
    for (;;) {
        if (!pass(store, action, changes, error))
            return false;
        if (changes->held.count > 0 && !wait_a_moment(action, &ms))
            return error_unavailable(error, "%zu migrations are held by another transaction",
                                     changes->held.count);
        if (settled && action->changed == 0 && changes->held.count == 0) {
            changes->job_in_flight = action->worker.in_run;
            return true;
        }
        if (!settle(store, action, changes, error))
            return false;
        settled = true;
    }
}

bool store_pause(struct store *store, const int64_t *id, int64_t deadline, struct changes *changes,
                 struct error *error)
{
    struct action action = {.pausing = true, .id = id, .deadline = deadline};
    return act(store, &action, changes, error);
}

bool store_resume(struct store *store, const int64_t *id, int64_t deadline, struct changes *changes,
                  struct error *error)
{
    struct action action = {.pausing = false, .id = id, .deadline = deadline};
    return act(store, &action, changes, error);
}

/* ---- restart ---- */

/* Within the transaction: `result` is the locked row. */
static bool restart_locked(struct store *store, const char *id, const PGresult *result,
                           int64_t deadline, struct changes *changes, struct error *error)
{
    int64_t status = integer_at(result, 0, 2);
    bool has_error_code = integer_at(result, 0, 3) != 0;
    const char *const params[] = {id};
    if (status == MIGRATION_ACTIVE || status == MIGRATION_RUNNING)
        return true;
    if (status != MIGRATION_FAILED)
        return error_state_conflict(error, integer_at(result, 0, 0), store_status_name(status));
    PQclear(db_run(store->db, has_error_code ? SQL_RESTART : SQL_RESTART_FIRST, params, 1, DB_ONCE,
                   deadline, error));
    if (!error->status)
        PQclear(db_run(store->db, SQL_RESTART_JOBS, params, 1, DB_ONCE, deadline, error));
    return !error->status && list_add(&changes->done, result, 0, error);
}

bool store_restart(struct store *store, int64_t id, int64_t deadline, struct changes *changes,
                   struct error *error)
{
    struct number text;
    struct worker worker;
    const char *const params[] = {number(&text, id)};
    *changes = (struct changes){0};
    if (!db_begin(store->db, deadline, error))
        return false;
    PGresult *result = db_run(store->db, SQL_RESTART_LOCK, params, 1, DB_ONCE, deadline, error);
    bool good = result && (PQntuples(result) > 0 || error_id_not_found(error, id)) &&
                restart_locked(store, params[0], result, deadline, changes, error) &&
                db_commit(store->db, deadline, error) && look(store, deadline, &worker, error);
    if (good)
        changes->job_in_flight = worker.in_run;
    PQclear(result);
    db_abandon(store->db);
    return good;
}

/* ---- a store ---- */

struct store *store_new(const struct conf_database *conf)
{
    struct store *store = calloc(1, sizeof *store);
    if (store && !(store->db = db_new(conf))) {
        free(store);
        return NULL;
    }
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    db_free(store->db);
    free(store);
}
