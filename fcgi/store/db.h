/* SPDX-License-Identifier: MIT
 *
 * db: one connection to PostgreSQL, made when first needed and remade when lost.
 *
 * It belongs to one thread. Every wait in it, connecting included, ends at a deadline,
 * a moment of clock_ms(); a statement given up there is cancelled on the server, by a
 * thread that nobody waits for. Of several hosts and addresses, each gets its share of the time,
 * and the one that served last comes first. No session state is left behind between transactions
 * and no statement is named, so PgBouncer's transaction pooling may stand in between (contract,
 * section 6). Results are in PostgreSQL's binary format, text in UTF-8.
 */
#ifndef BBM_DB_H
#define BBM_DB_H

#include "base/conf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct db;
struct pg_result; /* libpq's PGresult */

/* What a statement does decides what may be done about a connection that turns out to be
 * dead. There is no transaction of several statements, so nothing in one can be sent twice. */
enum db_retry {
    DB_RETRY, /* reads: sent once more on a new connection */
    DB_ONCE,  /* changes: a read-write transaction of its own, never sent again */
};

struct db *db_new(const struct conf_database *conf);
void db_free(struct db *db);

/* Runs one statement with `count` text parameters (NULL for SQL's NULL). The caller
 * clears the result with PQclear. NULL on failure, with `error` saying 503 where
 * waiting or another try may help and 500 where it will not, and that the outcome of a
 * change is unknown where it is. */
struct pg_result *db_run(struct db *db, const char *sql, const char *const *params, int count,
                         enum db_retry retry, int64_t deadline, struct error *error);

/* Waits for the cancel requests and look-ups under way, of all connections. False where some
 * still are at the deadline: the process then has to end by _exit(), as their threads use
 * what exit() takes away. */
bool db_settle(int64_t deadline);

#endif
