/* SPDX-License-Identifier: MIT
 *
 * readiness: whether the database has what requests need.
 *
 * On failure the error's reason says what is wrong, in PostgreSQL's words, and its remedy, where
 * there is one, what an operator can do.
 */
#ifndef BBM_READINESS_H
#define BBM_READINESS_H

#include "base/conf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

/* True where the database answers, has the registry's tables, and gives the role all rights on
 * them that requests need. `*has_history`: it has a history, too. */
bool store_ready(struct store *store, int64_t deadline, bool *has_history, struct error *error);

/* The same on a connection of its own, closed afterwards: for the program's start. */
bool store_check(const struct conf_database *conf, int64_t deadline, bool *has_history,
                 struct error *error);

#endif
