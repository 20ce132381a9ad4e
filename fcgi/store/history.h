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

struct db;

/* Whether there is a history that this role may read and write. */
bool history_exists(struct db *db, int64_t deadline, bool *exists, struct error *error);
bool store_has_history(struct store *store, int64_t deadline, bool *has_history,
                       struct error *error);

/* Looks for the action that the request repeats. Where there is one, `changes` gets its id and what
 * it did, and `at` its moment; `changes` that have an action's id take those of that action alone.
 * `*seen`: the newest action under the correlation id, be it a repeat or not; 0: none. */
bool history_find_repeated(struct store *store, const struct action_request *request,
                           struct changes *changes, struct opt_int64 *at, int64_t *seen,
                           struct error *error);

/* Adds to the migrations, all or the one `id`, who paused those that are paused, where the history
 * knows. Without a history it adds nothing. */
bool history_add_pauses(struct store *store, const int64_t *id, int64_t deadline,
                        struct migrations *migrations, struct error *error);

/* One recorded action, with what it changed. Texts point into the page's result. */
struct recorded_change {
    int64_t migration_id;
    struct str_view name;
    int64_t previous_status;
    int64_t status;
};

struct recorded_action {
    int64_t id;
    struct opt_int64 at;
    struct str_view action;
    struct str_view actor; /* NULL where it is not known, as the others may be */
    struct str_view token_id;
    struct str_view remote_addr;
    struct str_view correlation_id;
    struct str_view reason;
    struct opt_int64 undoes;
    const struct recorded_change *changes; /* ascending by migration */
    size_t change_count;
};

/* A page of the history, newest first. */
struct history_page {
    struct recorded_action *actions;
    size_t count;
    struct recorded_change *changes; /* of all */
    struct pg_result *result;
    bool more; /* there are older ones than the last */
};

/* Reads at most `n` actions that are older than `last` (NULL: from the newest on), of all
 * migrations or, with `id`, those that changed one. A page may be shorter than asked for, where its
 * actions changed many migrations. Without a history a 404; so too where there is neither such a
 * migration nor an action on it. The caller frees the page in either case. */
bool history_read(struct store *store, const int64_t *id, const int64_t *last, int64_t n,
                  int64_t deadline, struct history_page *page, struct error *error);
void history_page_free(struct history_page *page);

#endif
