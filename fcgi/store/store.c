/* SPDX-License-Identifier: MIT
 * Rows into structs. */
#include "store/store.h"

#include "base/clock.h"
#include "store/db.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* The columns of sql/ready.sql. */
enum {
    READY_MAY_UPDATE,
    READY_ROWS_HIDDEN,
};

static bool check(struct db *db, int64_t deadline, struct error *error)
{
    PGresult *result = db_run(db, SQL_READY, NULL, 0, DB_RETRY, deadline, error);
    if (!result)
        return false;
    bool may_update = integer_at(result, 0, READY_MAY_UPDATE) != 0;
    bool rows_hidden = integer_at(result, 0, READY_ROWS_HIDDEN) != 0;
    PQclear(result);
    if (!may_update) {
        error_unavailable(error, "the role may not update what actions change");
        error_remedy(error, "run sql/role.sql in the registry's database");
    } else if (rows_hidden) {
        error_unavailable(error, "row-level security hides rows from the role");
        error_remedy(error, "give the role a policy that shows all rows: row-level security on "
                            "the registry's tables hides some");
    }
    return may_update && !rows_hidden;
}

bool store_ready(struct store *store, int64_t deadline, struct error *error)
{
    return check(store->db, deadline, error);
}

bool store_check(const struct conf_database *conf, int64_t deadline, struct error *error)
{
    struct db *db = db_new(conf);
    bool good = db ? check(db, deadline, error) : error_unavailable(error, "out of memory");
    db_free(db);
    return good;
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

bool store_job_in_flight(struct store *store, int64_t deadline, bool *in_flight,
                         struct error *error)
{
    struct worker worker = {0};
    bool good = look(store, deadline, &worker, error);
    *in_flight = worker.in_run;
    free(worker.xids);
    return good;
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

struct store *store_new(const struct conf_database *conf, struct job_counters *counters)
{
    struct store *store = calloc(1, sizeof *store);
    if (store && !(store->db = db_new(conf))) {
        free(store);
        return NULL;
    }
    if (store)
        store->counters = counters;
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    db_free(store->db);
    free(store);
}
