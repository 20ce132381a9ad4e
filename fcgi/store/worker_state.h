/* SPDX-License-Identifier: MIT
 *
 * worker_state: where in its run the registry's worker is (contract, section 7).
 */
#ifndef BBM_WORKER_STATE_H
#define BBM_WORKER_STATE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

/* What sql/worker.sql sees. */
struct worker_state {
    bool in_run;
    bool has_chosen;     /* its migration; or it is about to */
    bool past_choosing;  /* it writes jobs: no step that sets a migration running follows */
    bool has_marked;     /* it has updated a migration, or has added a job to one */
    bool one_is_running; /* a migration has the state running */
    bool has_error_code; /* the registry has one that a restart may clear */
    char *xids; /* owned: its transactions as an array's text; NULL where it has none yet */
};

/* Reads the state again and releases the old one. False with an error. */
bool worker_state_read(struct store *store, int64_t deadline, struct worker_state *worker,
                       struct error *error);

/* True where the worker may have chosen an active migration, before it was paused, and not yet
 * set it running, which it will do with no look at the present status. */
bool worker_state_may_undo(const struct worker_state *worker);

void worker_state_free(struct worker_state *worker);

#endif
