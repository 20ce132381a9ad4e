/* SPDX-License-Identifier: MIT
 *
 * history: who changed which migration, when and why (contract, section 8), as sql/history.sql
 * sets it up. It may be missing, and may come or go at any time.
 */
#ifndef BBM_STORE_HISTORY_H
#define BBM_STORE_HISTORY_H

#include "base/error.h"
#include "store/actions.h"
#include "store/changes.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg_result;

/* The word in the history for an action. Static storage. */
const char *store_action_name(enum action_kind kind);

/* Whether there is a history that this role may read and write. */
bool store_has_history(struct store *store, int64_t deadline, bool *has_history,
                       struct error *error);

/* Looks for the action that the request repeats. Where there is one, `changes` gets its id and what
 * it did, and `at` its moment. */
bool history_find_repeated(struct store *store, const struct action_request *request,
                           struct changes *changes, struct opt_int64 *at, struct error *error);

#endif
