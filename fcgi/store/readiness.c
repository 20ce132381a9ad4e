/* SPDX-License-Identifier: MIT
 * Tables and rights, by sql/ready.sql. */
#include "store/readiness.h"

#include "store/db.h"
#include "store/history.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <libpq-fe.h>

static bool check(struct db *db, int64_t deadline, struct error *error)
{
    PGresult *result = db_read(db, &SQL_READY, NULL, deadline, error);
    if (!result)
        return false;
    bool may_update = bool_named(result, "may_update");
    bool rows_hidden = bool_named(result, "rows_hidden");
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

bool store_ready(struct store *store, int64_t deadline, bool *has_history, struct error *error)
{
    return check(store->db, deadline, error) &&
           history_exists(store->db, deadline, has_history, error);
}

bool store_check(const struct conf_database *conf, int64_t deadline, bool *has_history,
                 struct error *error)
{
    /* On a connection that lives for this alone there is nothing to prepare. */
    struct conf_database unprepared = *conf;
    unprepared.prepared_statements = false;
    struct db *db = db_new(&unprepared);
    bool good = db ? check(db, deadline, error) && history_exists(db, deadline, has_history, error)
                   : error_out_of_memory(error);
    db_free(db);
    return good;
}
