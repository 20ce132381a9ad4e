/* SPDX-License-Identifier: MIT
 *
 * db_connect: a new connection to the primary among the configured servers.
 *
 * Each host, and each address of a host's name, gets its share of the time, and the one
 * that served last comes first. Belongs to one thread.
 */
#ifndef BBM_DB_CONNECT_H
#define BBM_DB_CONNECT_H

#include "base/conf.h"
#include "base/error.h"
#include "store/db_resolve.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* What is known of the servers. Starts as {.conf = …}. */
struct db_servers {
    const struct conf_database *conf;
    unsigned host; /* which of the hosts was a primary last */
    char address[sizeof(((struct db_addresses *)0)->at[0])]; /* and which of its addresses */
    /* The database has no encoding (SQL_ASCII), so the server can make no UTF-8 of its
     * bytes, and would refuse to send those that are none. They are read as they are. */
    bool raw;
    /* It has one, and yet holds a byte that is no character of it: as above, from then on.
     * Letters beyond ASCII then read as U+FFFD, and the rest of the answer is saved. */
    bool untranslatable;
};

/* The caller closes the connection, which does not block. NULL on failure, with `error`
 * set. */
PGconn *db_connect(struct db_servers *servers, int64_t deadline, struct error *error);

/* Waits for poll(2)'s `events` on the connection's socket; false where the deadline passes
 * first. */
bool db_wait(const PGconn *conn, short events, int64_t deadline);

#endif
