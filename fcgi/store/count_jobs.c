/* SPDX-License-Identifier: MIT
 * The full count of the jobs. */
#include "store/count_jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/db.h"
#include "store/job_counters.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdlib.h>

/* Where the columns of sql/counts.sql stand. */
struct columns {
    int migration_id, job_id, status, jobs, failed, newest;
};

static bool add_row(struct job_tally *tally, const PGresult *result, const struct columns *c,
                    int row)
{
    int64_t migration_id = integer_at(result, row, c->migration_id);
    struct opt_int64 job_id = opt_int64_at(result, row, c->job_id);
    int64_t jobs = integer_at(result, row, c->jobs);
    if (!job_id.given)
        return job_tally_add_jobs(tally, migration_id, jobs, integer_at(result, row, c->newest));
    const struct unfinished_job job = {job_id.value, migration_id,
                                       integer_at(result, row, c->status)};
    return job_tally_add_unfinished(tally, &job, jobs, integer_at(result, row, c->failed));
}

/* Reads how many jobs there are, and which are not finished. */
static bool read_counts(struct store *store, struct job_tally *tally, int64_t deadline,
                        struct error *error)
{
    struct number numbers[2];
    const char *const params[SQL_COUNTS_PARAMS] = {
        [SQL_COUNTS_ALL] = number(&numbers[0], UNFINISHED_ALL_MAX),
        [SQL_COUNTS_KEPT] = number(&numbers[1], UNFINISHED_KEPT),
    };
    PGresult *result = db_read(store->db, &SQL_COUNTS, params, deadline, error);
    if (!result)
        return false;
    bool good = true;
    const struct columns columns = {
        PQfnumber(result, "migration_id"), PQfnumber(result, "job_id"), PQfnumber(result, "status"),
        PQfnumber(result, "jobs"),         PQfnumber(result, "failed"), PQfnumber(result, "newest"),
    };
    for (int row = 0; good && row < PQntuples(result); row++)
        good = add_row(tally, result, &columns, row);
    PQclear(result);
    return good || error_out_of_memory(error);
}

/* The migrations that have jobs, as an array parameter; NULL when out of memory. */
static char *migration_ids(const struct job_tally *tally)
{
    int64_t *ids = calloc(tally->count + 1, sizeof *ids);
    if (!ids)
        return NULL;
    for (size_t i = 0; i < tally->count; i++)
        ids[i] = tally->rows[i].migration_id;
    char *text = array_text(ids, tally->count);
    free(ids);
    return text;
}

/* Reads when the latest jobs of each migration were created. */
static bool read_recent(struct store *store, struct job_tally *tally, int64_t deadline,
                        struct error *error)
{
    struct number numbers[2];
    char *ids = migration_ids(tally);
    if (!ids)
        return error_out_of_memory(error);
    const char *const params[SQL_RECENT_PARAMS] = {
        [SQL_RECENT_IDS] = ids,
        [SQL_RECENT_MARK] = number(&numbers[0], tally->mark),
        [SQL_RECENT_RECENT] = number(&numbers[1], JOB_PACE_RECENT),
    };
    PGresult *result = db_read(store->db, &SQL_RECENT, params, deadline, error);
    free(ids);
    if (!result)
        return false;
    bool good = true;
    int migration_id = PQfnumber(result, "migration_id");
    int column = PQfnumber(result, "created_at");
    for (int row = 0; good && row < PQntuples(result); row++) {
        struct opt_int64 created_at = time_at(result, row, column);
        good = job_tally_add_recent(tally, integer_at(result, row, migration_id),
                                    created_at.given ? created_at.value : JOB_TALLY_NO_TIME);
    }
    PQclear(result);
    return good || error_out_of_memory(error);
}

bool count_jobs(struct store *store, int64_t deadline, bool *counted, struct error *error)
{
    int64_t now = clock_ms();
    enum job_counters_turn turn = job_counters_take_turn(store->counters, now, deadline);
    *counted = false;
    if (turn == JOB_COUNTERS_NO_TURN)
        return true;
    if (turn == JOB_COUNTERS_LATE)
        return error_unavailable(error, "jobs not counted in time");
    bool due = turn == JOB_COUNTERS_DUE;
    int64_t end = due ? now + (deadline - now) / 4 * 3 : deadline;
    struct job_tally *tally = job_counters_fresh(store->counters);
    if (read_counts(store, tally, end, error) && read_recent(store, tally, end, error)) {
        *counted = true;
        if (job_counters_commit(store->counters, clock_ms()))
            log_message(LOG_INFO, "all jobs have been counted again");
        return true;
    }
    bool first = job_counters_failed(store->counters, clock_ms());
    if (!due)
        return false;
    if (first)
        log_message(LOG_WARN, "counting all jobs failed; the counts kept so far are served: %s",
                    error->reason);
    error_free(error);
    return true;
}
