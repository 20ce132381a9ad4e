/* SPDX-License-Identifier: MIT
 * Pages of jobs, by sql/jobs.sql and sql/jobs_filtered.sql. */
#include "store/jobs.h"

#include "store/db.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdlib.h>

/* How many ids a page with one status looks at: a few milliseconds' worth. */
#define IDS_MAX 10000

/* Where the columns of sql/jobs.sql stand. */
struct columns {
    int beyond, id, min_value, max_value, status, attempts, failure_error_code, created_at,
        updated_at, started_at, finished_at;
};

static struct columns columns_of(const PGresult *result)
{
    return (struct columns){
        .beyond = PQfnumber(result, "beyond"),
        .id = PQfnumber(result, "id"),
        .min_value = PQfnumber(result, "min_value"),
        .max_value = PQfnumber(result, "max_value"),
        .status = PQfnumber(result, "status"),
        .attempts = PQfnumber(result, "attempts"),
        .failure_error_code = PQfnumber(result, "failure_error_code"),
        .created_at = PQfnumber(result, "created_at"),
        .updated_at = PQfnumber(result, "updated_at"),
        .started_at = PQfnumber(result, "started_at"),
        .finished_at = PQfnumber(result, "finished_at"),
    };
}

static struct job job_at(const PGresult *result, const struct columns *c, int row)
{
    return (struct job){
        .id = integer_at(result, row, c->id),
        .min_value = integer_at(result, row, c->min_value),
        .max_value = integer_at(result, row, c->max_value),
        .status = integer_at(result, row, c->status),
        .attempts = integer_at(result, row, c->attempts),
        .failure_error_code = opt_int64_at(result, row, c->failure_error_code),
        .created_at = time_at(result, row, c->created_at),
        .updated_at = time_at(result, row, c->updated_at),
        .started_at = time_at(result, row, c->started_at),
        .finished_at = time_at(result, row, c->finished_at),
    };
}

/* The rows of a page, one more of which says that there is a next one. A filtered page has
 * a next one too where there may be jobs beyond those it looked at, whatever it found. */
static bool read_jobs(const PGresult *result, int64_t n, struct jobs *jobs, struct error *error)
{
    const struct columns c = columns_of(result);
    size_t found = PQgetisnull(result, 0, c.id) ? 0 : (size_t)PQntuples(result);
    struct opt_int64 beyond = opt_int64_at(result, 0, c.beyond);
    jobs->rows = calloc(found + 1, sizeof *jobs->rows);
    if (!jobs->rows)
        return error_out_of_memory(error);
    jobs->count = found > (size_t)n ? (size_t)n : found;
    for (size_t i = 0; i < jobs->count; i++)
        jobs->rows[i] = job_at(result, &c, (int)i);
    jobs->more = found > jobs->count || beyond.given;
    jobs->last = found > jobs->count ? jobs->rows[jobs->count - 1].id : beyond.value;
    return true;
}

bool store_jobs(struct store *store, int64_t id, const int64_t *last, const int64_t *status,
                int64_t n, int64_t deadline, struct jobs *jobs, struct error *error)
{
    struct number numbers[5];
    int64_t highest = INT64_MAX;
    if (last)
        highest = *last > INT64_MIN ? *last - 1 : INT64_MIN;
    const char *first = number(&numbers[0], highest);
    const char *const all[SQL_JOBS_PARAMS] = {
        [SQL_JOBS_ID] = number(&numbers[1], id),
        [SQL_JOBS_FIRST] = first,
        [SQL_JOBS_N] = number(&numbers[2], n),
    };
    const char *const filtered[SQL_JOBS_FILTERED_PARAMS] = {
        [SQL_JOBS_FILTERED_ID] = all[SQL_JOBS_ID],
        [SQL_JOBS_FILTERED_FIRST] = first,
        [SQL_JOBS_FILTERED_N] = all[SQL_JOBS_N],
        [SQL_JOBS_FILTERED_LOOK] = number(&numbers[3], IDS_MAX),
        [SQL_JOBS_FILTERED_STATUS] = status ? number(&numbers[4], *status) : NULL,
    };
    *jobs = (struct jobs){0};
    PGresult *result = status ? db_read(store->db, &SQL_JOBS_FILTERED, filtered, deadline, error)
                              : db_read(store->db, &SQL_JOBS, all, deadline, error);
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
