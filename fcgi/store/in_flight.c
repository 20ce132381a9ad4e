/* SPDX-License-Identifier: MIT
 * The worker's run, read from its locks. */
#include "store/in_flight.h"

#include "store/db.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <libpq-fe.h>

bool in_flight_read(struct store *store, int64_t deadline, struct migrations *migrations,
                    struct error *error)
{
    PGresult *result = db_read(store->db, &SQL_IN_FLIGHT, NULL, deadline, error);
    if (!result)
        return false;
    struct opt_int64 id = opt_int64_at(result, 0, PQfnumber(result, "migration_id"));
    struct opt_int64 since = time_at(result, 0, PQfnumber(result, "since"));
    migrations->job_in_flight = bool_named(result, "in_run");
    for (size_t i = 0; id.given && i < migrations->count; i++) {
        if (migrations->rows[i].id == id.value)
            migrations->rows[i].in_flight_since = since;
    }
    PQclear(result);
    return true;
}
