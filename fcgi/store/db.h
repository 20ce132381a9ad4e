/* SPDX-License-Identifier: MIT
 *
 * db: one connection to PostgreSQL, made when first needed and remade when lost.
 *
 * It belongs to one thread. Every wait in it, connecting included, ends at a deadline,
 * a moment of clock_ms(); a statement given up there is cancelled on the server, by a
 * thread that nobody waits for. Of several hosts, each gets its share of the time, and the
 * one that served last comes first. No session state is left behind between transactions and no
 * statement is named, so PgBouncer's transaction pooling may stand in between
 * (contract, section 6). Results are in PostgreSQL's binary format, text in UTF-8.
 */
#ifndef BBM_DB_H
#define BBM_DB_H

#include "base/conf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct db;
struct pg_result; /* libpq's PGresult */

/* What may be done about a connection that turns out to be dead. */
enum db_retry {
    DB_RETRY, /* changes nothing: sent once more on a new connection */
    DB_ONCE,  /* may change something, or stands inside a transaction */
};

struct db *db_new(const struct conf_database *conf);
void db_free(struct db *db);

/* Runs one statement with `count` text parameters (NULL for SQL's NULL). The caller
 * clears the result with PQclear. NULL on failure, with `error` saying 503 where
 * waiting or another try may help and 500 where it will not; after a failure no
 * transaction is open any more. */
struct pg_result *db_run(struct db *db, const char *sql, const char *const *params, int count,
                         enum db_retry retry, int64_t deadline, struct error *error);

/* Opens a transaction. As it changes nothing, it finds a dead connection before that
 * matters, and bounds every wait for a lock in it by the deadline. */
bool db_begin(struct db *db, int64_t deadline, struct error *error);

/* Commits. Where the connection is lost meanwhile, the error says that the outcome is
 * not known. */
bool db_commit(struct db *db, int64_t deadline, struct error *error);

/* Gives up the transaction, if one is open, by closing the connection. */
void db_abandon(struct db *db);

/* Waits for the cancel requests under way, of all connections. False where some still are
 * at the deadline: their threads then use what exit() takes away (OpenSSL does, in its
 * own exit handler), and the process has to end by _exit(). */
bool db_settle(int64_t deadline);

#endif
