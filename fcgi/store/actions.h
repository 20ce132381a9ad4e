/* SPDX-License-Identifier: MIT
 *
 * actions: pause, resume, restart and undo in the database (contract, sections 3, 7 and 8).
 */
#ifndef BBM_STORE_ACTIONS_H
#define BBM_STORE_ACTIONS_H

#include "base/error.h"
#include "store/changes.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

enum action_kind {
    ACTION_PAUSE,
    ACTION_RESUME,
    ACTION_RESTART,
};

/* The word in the history for an action. Static storage. */
const char *store_action_name(enum action_kind kind);

/* What is asked for, and what the history records of it. Texts are UTF-8, and lent. */
struct action_request {
    enum action_kind kind;
    const int64_t *id;     /* the migration; NULL: all. A restart is always of one */
    const int64_t *undoes; /* of a resume of all: the pause that it takes back; NULL: none */
    bool undoes_in_body;   /* it stands in the request's body, and not in its query */
    bool dry_run;          /* report what would change */
    bool may_be_repeat;    /* the correlation id is the client's own */
    int64_t deadline;      /* a moment of clock_ms() */
    const char *actor;     /* NULL where it is not known, as the next two */
    const char *token_id;
    const char *remote_addr;
    const char *correlation_id;
    const char *reason; /* NULL: none was given */
};

/* Acts. A migration or a pause that is unknown is a 404 or a 400, a state that forbids the action
 * on one migration a 409. With a history, each change is recorded in its own transaction; an undo
 * without one is a 404.
 *
 * When a pause returns true, every migration of those meant is paused, and no worker
 * that was in a run by then will set one running again (contract, section 7; the command
 * background-migrate apart). A restart also clears the error code and gives the failed jobs
 * their attempts back, in one transaction. When there is not enough time, `changes` says what
 * was done and what was not. A dry run changes nothing: what it would change is in `done`.
 *
 * `changes` is the caller's to free in either case. */
bool store_act(struct store *store, const struct action_request *request, struct changes *changes,
               struct error *error);

#endif
