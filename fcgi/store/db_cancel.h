/* SPDX-License-Identifier: MIT
 *
 * db_cancel: ends connections whose statement was given up, and the statement with them.
 *
 * Thread-safe. The number of cancel requests under way is all that threads share here.
 */
#ifndef BBM_DB_CANCEL_H
#define BBM_DB_CANCEL_H

#include <libpq-fe.h>

/* Cancels the statement that `conn` still works on, and closes `conn`. Takes it over, and
 * returns at once. */
void db_cancel(PGconn *conn);

#endif
