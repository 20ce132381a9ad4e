/* SPDX-License-Identifier: MIT
 * Cancel requests, each in a thread of its own. */
#include "store/db_cancel.h"

#include "base/metrics.h"
#include "store/db_thread.h"

#include <openssl/crypto.h>

/* Cancel requests under way at once, of all threads. With so many, the server answers none
 * of them, and a connection is closed without one. */
#define CANCELS_MAX 16

/* No name is resolved, no TLS spoken. */
#define STACK_SIZE ((size_t)256 * 1024)

static atomic_int cancels;

/* A cancel request is a connection of its own, and libpq (before version 17) waits for its
 * end without a limit. So no thread that answers requests sends one. The connection is
 * closed only afterwards: PgBouncer finds the statement by the client that is still there. */
static void cancel_and_close(void *argument)
{
    PGconn *conn = argument;
    char why[256];
    PGcancel *cancel = PQgetCancel(conn);
    if (cancel && PQcancel(cancel, why, sizeof why))
        metrics_database_cancelled();
    PQfreeCancel(cancel);
    PQfinish(conn);
    OPENSSL_thread_stop(); /* here, as the thread's end may come after db_settle() */
}

void db_cancel(PGconn *conn)
{
    if (!db_thread_start(&cancels, CANCELS_MAX, STACK_SIZE, cancel_and_close, conn))
        PQfinish(conn);
}
