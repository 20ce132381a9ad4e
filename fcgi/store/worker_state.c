/* SPDX-License-Identifier: MIT
 * The worker, read from its locks. */
#include "store/worker_state.h"

#include "store/db.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

bool worker_state_read(struct store *store, int64_t deadline, struct worker_state *worker,
                       struct error *error)
{
    PGresult *result = db_run(store->db, SQL_WORKER, NULL, 0, DB_RETRY, deadline, error);
    if (!result)
        return false;
    bool has_xids = !PQgetisnull(result, 0, 5);
    free(worker->xids);
    *worker = (struct worker_state){
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
    struct worker_state worker = {0};
    bool good = worker_state_read(store, deadline, &worker, error);
    *in_flight = worker.in_run;
    worker_state_free(&worker);
    return good;
}

/* Not where it has not chosen yet: what was committed before, it will see. Not where one
 * is running: it will have taken that one, and those are not set running again. Not where
 * it writes jobs, or has marked a migration: then that step is behind it, and the
 * migration it took, if it is one of ours, bears its transaction. */
bool worker_state_may_undo(const struct worker_state *worker)
{
    return worker->in_run && worker->has_chosen && !worker->past_choosing && !worker->has_marked &&
           !worker->one_is_running;
}

void worker_state_free(struct worker_state *worker)
{
    free(worker->xids);
    *worker = (struct worker_state){0};
}
