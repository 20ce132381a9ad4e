/* SPDX-License-Identifier: MIT
 *
 * db: one connection to PostgreSQL, made when first needed and remade when lost.
 *
 * It belongs to one thread. Every wait in it, connecting included, ends at a deadline,
 * a moment of clock_ms(); a statement given up there is cancelled on the server, by a
 * thread that nobody waits for. Of several hosts and addresses, each gets its share of the time,
 * and the one that served last comes first. No session state is left behind between transactions,
 * except for statements that are prepared where the configuration says so (prepared.h): so
 * PgBouncer's transaction pooling may stand in between (contract, section 6). Results are in
 * PostgreSQL's binary format, text in UTF-8.
 */
#ifndef BBM_DB_H
#define BBM_DB_H

#include "base/conf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct db;
struct sql;
struct pg_result; /* libpq's PGresult */

struct db *db_new(const struct conf_database *conf);
void db_free(struct db *db);

/* Both run one statement with its parameters (text; NULL for SQL's NULL), as a transaction of
 * its own. The caller clears the result with PQclear. NULL on
 * failure, with `error` saying 503 where waiting or another try may help and 500 where it will
 * not. */

/* What changes nothing is sent once more, on a new connection, where the old one was dead. */
struct pg_result *db_read(struct db *db, const struct sql *sql, const char *const *params,
                          int64_t deadline, struct error *error);

/* A statement that takes a lock, which the end of the transaction releases. */
struct db_lock {
    const struct sql *sql;
    const char *const *params;
};

/* A change asks for a read-write transaction, and is never sent twice. It waits for `lock` first
 * (NULL: none), in the same transaction and round trip, and sees what was committed by the time it
 * has the lock. Where the connection is lost meanwhile, the error says that the outcome is not
 * known. */
struct pg_result *db_change(struct db *db, const struct db_lock *lock, const struct sql *sql,
                            const char *const *params, int64_t deadline, struct error *error);

/* Sends this statement in the round trip of the next one, behind it and as a transaction of its
 * own. It reads, and has no parameters. When db_read is called for it right after that one, the
 * answer is there already; where it is late or refused, db_read sends the statement as always.
 * NULL: nothing is sent along, and an answer that is there is dropped. */
void db_send_along(struct db *db, const struct sql *sql);

/* Waits for the cancel requests and look-ups under way, of all connections. False where some
 * still are at the deadline: the process then has to end by _exit(), as their threads use
 * what exit() takes away. */
bool db_settle(int64_t deadline);

#endif
