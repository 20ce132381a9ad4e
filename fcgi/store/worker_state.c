/* SPDX-License-Identifier: MIT
 * The worker, read from its locks. */
#include "store/worker_state.h"

#include "store/db.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store.h"
#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

bool worker_state_read(struct store *store, int64_t deadline, struct worker_state *worker,
                       struct error *error)
{
    PGresult *result = db_read(store->db, &SQL_WORKER, NULL, deadline, error);
    if (!result)
        return false;
    struct str_view xids = str_view_at(result, 0, PQfnumber(result, "xids"));
    free(worker->xids);
    *worker = (struct worker_state){
        .in_run = bool_named(result, "in_run"),
        .has_chosen = bool_named(result, "has_chosen"),
        .past_choosing = bool_named(result, "past_choosing"),
        .has_marked = bool_named(result, "has_marked"),
        .one_is_running = bool_named(result, "one_is_running"),
        .has_error_code = bool_named(result, "has_error_code"),
        .xids = xids.at ? strndup(xids.at, xids.len) : NULL,
    };
    bool has_xids = xids.at != NULL;
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
