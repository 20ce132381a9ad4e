/* SPDX-License-Identifier: MIT
 *
 * store: migrations and jobs as structs; which statement does what.
 *
 * A store belongs to one thread. Every function takes a deadline (a moment of
 * clock_ms()) and fills `error` on failure. The statements are those of sql/.
 */
#ifndef BBM_STORE_H
#define BBM_STORE_H

#include "conf.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers in the table's status column. */
enum migration_status {
    MIGRATION_PAUSED = 0,
    MIGRATION_ACTIVE = 1,
    MIGRATION_FINISHED = 2,
    MIGRATION_FAILED = 3,
    MIGRATION_RUNNING = 4,
};

/* A column that may be NULL, or absent on an older registry. */
struct maybe {
    bool given;
    int64_t value; /* of times: microseconds since the Unix epoch */
};

/* A text column; not terminated by zero, and perhaps not valid UTF-8. */
struct span {
    const char *at; /* NULL where the column is NULL or absent */
    size_t len;
};

struct migration {
    int64_t id;
    struct span name;
    int64_t status; /* enum migration_status, or a number unknown to us */
    struct span job_signature_name;
    struct span table_name;
    struct span column_name;
    int64_t batch_size;
    struct maybe sub_batch_size;
    int64_t min_value;
    int64_t max_value;
    struct span batching_strategy;
    struct maybe total_tuple_count;
    struct maybe failure_error_code;
    struct maybe created_at;
    struct maybe updated_at;
    struct maybe started_at;
    struct maybe finished_at;
    int64_t finished_jobs;
    int64_t failed_jobs;
};

/* A migration whose status an action replaced. */
struct change {
    int64_t id;
    struct span name;
    int64_t previous_status;
    int64_t status;
};

struct pg_result;

/* Rows, and the result that their spans point into; released by store_rows_free. */
struct migrations {
    struct migration *rows;
    size_t count;
    struct pg_result *result;
};

struct changes {
    struct change *rows;
    size_t count;
    struct pg_result *result;
    bool job_in_flight; /* a worker was in a run when this was asked, right after the change */
};

struct store;

struct store *store_new(const struct conf_database *conf);
void store_free(struct store *store);

/* All migrations by id ascending; or, with `id`, that one, or none. */
bool store_migrations(struct store *store, const int64_t *id, int64_t deadline,
                      struct migrations *migrations, struct error *error);
void store_migrations_free(struct migrations *migrations);

/* The actions on all (contract, section 3): what was eligible is changed, in one
 * transaction, and told. */
bool store_pause(struct store *store, int64_t deadline, struct changes *changes,
                 struct error *error);
bool store_resume(struct store *store, int64_t deadline, struct changes *changes,
                  struct error *error);
void store_changes_free(struct changes *changes);

#endif
