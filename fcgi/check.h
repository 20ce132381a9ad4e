/* SPDX-License-Identifier: MIT
 *
 * check: what bbm-fcgi -t does: tries everything that the configuration names, and prints what is
 * in force.
 */
#ifndef BBM_CHECK_H
#define BBM_CHECK_H

#include "auth/trust_bundle.h"
#include "base/conf.h"

#include <stdbool.h>
#include <stddef.h>

/* Tries the TLS files and the listening address. On failure `why` is one line. */
bool check_files(const struct conf *conf, char *why, size_t why_size);

/* Connects to the database, and tries its tables and this role's rights. Writes nothing there. On
 * failure `why` is one line, with PostgreSQL's words and the remedy. `*has_history`: there is a
 * history of actions (contract, section 8). */
bool check_database(const struct conf *conf, bool *has_history, char *why, size_t why_size);

/* The same in a thread of its own; a failure is one warning in the log, and else one line says
 * whether there is a history. `conf` must live until db_settle() has returned. */
void check_database_at_start(const struct conf *conf);

/* Prints what is in force to standard output, without secrets. `has_history` is NULL
 * where the database has not been tried. */
void check_print(const struct conf *conf, struct trust_bundle *bundle, const bool *has_history);

#endif
