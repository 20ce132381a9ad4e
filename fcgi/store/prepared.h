/* SPDX-License-Identifier: MIT
 *
 * prepared: which statements a connection has prepared, and what to do when they are gone.
 *
 * A prepared statement belongs to a session. A pooler that gives a client another session for each
 * transaction and does not know of prepared statements (PgBouncer before 1.21) loses them, so this
 * finds out and stops preparing, in all threads. Belongs to one thread; no I/O.
 */
#ifndef BBM_PREPARED_H
#define BBM_PREPARED_H

#include "store/sql.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Of one connection. Starts as {.unusable = …}. */
struct prepared {
    atomic_bool *unusable; /* shared by all threads: statements get lost on the way, or the
                            * configuration says that none is to be prepared */
    unsigned runs;         /* of prepared statements */
    struct {
        bool there;            /* prepared in this session */
        unsigned char changed; /* times in a row that its columns were found changed */
        unsigned lost;         /* `runs` when it was last found to be gone; 0: never */
    } statements[SQL_STATEMENTS];
};

enum prepared_verdict {
    PREPARED_NOT_CONCERNED, /* the error has nothing to do with it */
    PREPARED_RETRY,         /* nothing has run: send it again */
    PREPARED_RECONNECT,     /* likewise, on a new connection */
};

/* True where the statement is to be sent prepared. */
bool prepared_wanted(const struct prepared *prepared, const struct sql *sql);

/* True where it has to be prepared first. */
bool prepared_missing(const struct prepared *prepared, const struct sql *sql);

/* The statement was prepared. */
void prepared_add(struct prepared *prepared, const struct sql *sql);

/* It has run. */
void prepared_ran(struct prepared *prepared, const struct sql *sql);

/* A prepared statement was refused with this SQLSTATE as it was prepared or bound. */
enum prepared_verdict prepared_refused(struct prepared *prepared, const struct sql *sql,
                                       const char *sqlstate);

/* The session is gone. */
void prepared_clear(struct prepared *prepared);

#endif
