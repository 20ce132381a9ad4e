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
    return !has_xids || worker->xids || error_out_of_memory(error);
}

/* False in these cases:
 * - The worker has not chosen yet: it will see what was committed before.
 * - A migration is running: the worker has chosen that one, and does not set it running again.
 * - The worker writes jobs, or has marked a migration: it is past setting one running, and the
 *   migration that it chose bears its transaction (sql/pause.sql). */
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
