/* SPDX-License-Identifier: MIT
 *
 * store: one thread's access to the database, and the migrations as structs.
 *
 *   store.c           a store; the words for the numbers in the status columns
 *   migrations.c      reads the migrations with the counts of their jobs
 *   migration_rows.c  a result's rows as struct migration; the digest of what was read
 *
 * Jobs, actions and the history have headers of their own. A store belongs to one thread. Every
 * function that sends a statement takes a deadline (a moment of clock_ms()) and fills `error` on
 * failure. The statements are those of sql/.
 */
#ifndef BBM_STORE_H
#define BBM_STORE_H

#include "base/conf.h"
#include "base/digest.h"
#include "base/error.h"
#include "store/job_status.h"
#include "store/value.h"

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

/* The numbers in failure_error_code, of migrations and of jobs (contract, section 2). */
enum failure_code {
    FAILURE_UNKNOWN = 0,
    FAILURE_TABLE = 1,
    FAILURE_COLUMN = 2,
    FAILURE_SIGNATURE = 3,
    FAILURE_ATTEMPTS = 4, /* a job has used up its attempts */
    FAILURE_STRATEGY = 5,
};

/* The contract's word for a status; "unknown" for a number that is none. Static storage. */
const char *store_status_name(int64_t status);

/* Likewise for enum job_status. */
const char *store_job_status_name(int64_t status);

/* A new field stands here, in migration_rows.c where it is a column, in api/row_json.c and in
 * page/openapi.json. */
struct migration {
    int64_t id;
    struct str_view name;
    int64_t status; /* enum migration_status, or a number unknown to us */
    struct str_view job_signature_name;
    struct str_view table_name;
    struct str_view column_name;
    int64_t batch_size;
    struct opt_int64 sub_batch_size;
    int64_t min_value;
    int64_t max_value;
    struct str_view batching_strategy;
    struct opt_int64 total_tuple_count;
    struct opt_int64 failure_error_code;
    struct opt_int64 created_at;
    struct opt_int64 updated_at;
    struct opt_int64 started_at;
    struct opt_int64 finished_at;
    struct opt_int64 in_flight_since; /* where a worker is known to hold it */
    struct opt_int64 paused_at;       /* where the history knows its pause, as the next two */
    struct str_view paused_by;
    struct str_view pause_reason;
    int64_t finished_jobs;
    int64_t failed_jobs;
    struct opt_int64 pace; /* microseconds from one of the latest jobs to the next */
};

struct pg_result;
struct list_version;

/* Rows, and the results that their texts point into. */
struct migrations {
    struct migration *rows;
    size_t count;
    int columns;                  /* of `result`: the table's own, which come first */
    struct list_version *version; /* of a long list of all migrations; NULL: none, or not known */
    struct pg_result *result;
    struct pg_result *pauses; /* NULL: none */
    bool lock_is_held;        /* the worker's, in this database or another */
    bool job_in_flight;       /* a worker is in a run */
};

struct job_counters;
struct store;

/* `counters` is shared by all stores of the process, and outlives them. */
struct store *store_new(const struct conf_database *conf, struct job_counters *counters);
void store_free(struct store *store);

/* All migrations by id ascending; or, with `id`, that one, or none. */
bool store_migrations(struct store *store, const int64_t *id, int64_t deadline,
                      struct migrations *migrations, struct error *error);
void store_migrations_free(struct migrations *migrations);

/* The same for all migrations, where the version of what was read last (NULL: nothing) is at hand.
 * `*unchanged`: all is as it was then, the counts of jobs too, and `migrations` is empty. */
bool store_list(struct store *store, const struct list_version *known, int64_t deadline,
                struct migrations *migrations, bool *unchanged, struct error *error);

/* A digest of all that was read: the names of the table's columns, known to this program or not,
 * their values, and the counts of jobs. False when out of memory. */
bool store_migrations_digest(const struct migrations *migrations, const struct digest_key *key,
                             unsigned char digest[DIGEST_SIZE]);

#endif
