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
