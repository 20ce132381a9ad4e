/* SPDX-License-Identifier: MIT
 *
 * action_private: an action under way, for the two files that carry it out: actions.c reads what a
 * pass did and decides whether another one is due, action_statements.c sends it.
 */
#ifndef BBM_ACTION_PRIVATE_H
#define BBM_ACTION_PRIVATE_H

#include "store/actions.h"
#include "store/value.h"
#include "store/worker_state.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

struct store;

/* An action under way. */
struct action {
    const struct action_request *request;
    struct store *store;
    struct changes *changes;
    bool has_history;
    struct worker_state worker; /* as last read */
    struct opt_int64 at;        /* the moment of its first change, which all its changes bear */
    bool was_running;           /* the last pass paused one that was running */
    size_t changed;             /* by the last pass */
    bool overtaken;             /* the last pass left all alone: look for an equal request again */
    bool was_held;              /* by now a pass had to leave something to another transaction */
    int64_t seen; /* the newest action under the correlation id, as last looked; 0: none */
};

/* Sends the statement of a pass: with its record where there is a history. The caller clears the
 * result; NULL on failure. */
PGresult *action_send(const struct action *action, struct error *error);

#endif
