/* SPDX-License-Identifier: MIT
 * Reading the history. */
#include "store/history.h"

#include "store/db.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <libpq-fe.h>

bool store_has_history(struct store *store, int64_t deadline, bool *has_history,
                       struct error *error)
{
    PGresult *result = db_run(store->db, SQL_HAS_HISTORY, NULL, 0, DB_RETRY, deadline, error);
    *has_history = result && integer_at(result, 0, 0) != 0;
    PQclear(result);
    return !error->status;
}

/* ---- repeats ---- */

/* The columns of sql/repeated.sql after those of a change. */
enum {
    REPEATED_ACTION_ID = 3,
    REPEATED_AT,
};

bool history_find_repeated(struct store *store, const struct action_request *request,
                           struct changes *changes, struct opt_int64 *at, struct error *error)
{
    struct number numbers[2];
    /* In the order in which sql/repeated.sql first names them. */
    const char *const params[] = {
        request->correlation_id,
        store_action_name(request->kind),
        request->actor,
        request->token_id,
        request->id ? number(&numbers[0], *request->id) : NULL,
        request->undoes ? number(&numbers[1], *request->undoes) : NULL,
    };
    PGresult *result =
        db_run(store->db, SQL_REPEATED, params, 6, DB_RETRY, request->deadline, error);
    bool good = result != NULL;
    for (int row = 0; good && row < PQntuples(result); row++) {
        changes->repeated = true;
        changes->action_id = opt_int64_at(result, row, REPEATED_ACTION_ID);
        *at = time_at(result, row, REPEATED_AT);
        good = change_list_add(&changes->done, result, row, error);
    }
    PQclear(result);
    return good;
}
