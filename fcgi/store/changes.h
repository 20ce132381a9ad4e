/* SPDX-License-Identifier: MIT
 *
 * changes: the migrations that an action changed, or left, and why.
 *
 * They belong to the thread that made them.
 */
#ifndef BBM_CHANGES_H
#define BBM_CHANGES_H

#include "base/error.h"
#include "store/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg_result;

/* A migration as an action found it. */
struct change {
    int64_t id;
    char *name; /* owned, as is the byte string `name_len` long */
    size_t name_len;
    struct opt_int64 status; /* before the action; not given: the migration is gone */
    struct opt_int64 later;  /* of an undo: the action that changed it after the pause */
};

struct change_list {
    struct change *rows; /* ascending by id, each once */
    size_t count;
};

/* What an action did. On failure it says what had been done by then. */
struct changes {
    struct change_list done;     /* with the status that each had first */
    struct change_list held;     /* what another transaction holds, with the status it has */
    struct change_list left;     /* of an undo: what it had to leave, with the status it has */
    struct opt_int64 untouched;  /* the status of a single migration that needed no change */
    struct opt_int64 error_code; /* of a restart: why the migration had failed */
    struct opt_int64 action_id;  /* in the history */
    bool repeated;               /* an earlier request has done it */
    bool job_in_flight;          /* a worker was in a run when last looked */
    bool unsettled; /* it could not be seen in time that a worker will not undo a pause */
};

/* Where a migration stands in the rows of a result. */
struct change_columns {
    int id, name, previous_status;
};

struct change_columns change_columns_of(const struct pg_result *result);

/* Adds a row of a result. A migration that is there already stays as it is. False when out of
 * memory. */
bool change_list_add(struct change_list *list, const struct pg_result *result,
                     const struct change_columns *columns, int row, struct error *error);

bool change_list_has(const struct change_list *list, int64_t id);

void change_list_clear(struct change_list *list);

void changes_free(struct changes *changes);

#endif
