/* SPDX-License-Identifier: MIT
 * Rows into structs. */
#include "store.h"

#include "db.h"
#include "sql.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

struct store {
    struct db *db;
};

/* From PostgreSQL's epoch, 2000-01-01, to Unix's, in microseconds. */
#define POSTGRES_EPOCH (INT64_C(946684800) * 1000000)

/* ---- columns ---- */

/* A smallint, integer or bigint in network byte order. */
static int64_t integer_at(const PGresult *result, int row, int column)
{
    const unsigned char *p = (const unsigned char *)PQgetvalue(result, row, column);
    int len = PQgetlength(result, row, column);
    uint64_t value = len > 0 && p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < len; i++)
        value = value << 8 | p[i];
    return (int64_t)value;
}

static struct maybe maybe_at(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return (struct maybe){0};
    return (struct maybe){true, integer_at(result, row, column)};
}

/* A timestamptz; "infinity" and its opposite name no moment and count as none. */
static struct maybe time_at(const PGresult *result, int row, int column)
{
    struct maybe time = maybe_at(result, row, column);
    if (time.value == INT64_MAX || time.value == INT64_MIN ||
        time.value > INT64_MAX - POSTGRES_EPOCH)
        return (struct maybe){0};
    time.value += POSTGRES_EPOCH;
    return time;
}

static struct span span_at(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return (struct span){0};
    return (struct span){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

/* ---- migrations ---- */

/* The columns in the order of sql/migrations.sql. */
static struct migration migration_at(const PGresult *result, int row)
{
    int column = 0;
    struct migration m;
    m.id = integer_at(result, row, column++);
    m.name = span_at(result, row, column++);
    m.status = integer_at(result, row, column++);
    m.job_signature_name = span_at(result, row, column++);
    m.table_name = span_at(result, row, column++);
    m.column_name = span_at(result, row, column++);
    m.batch_size = integer_at(result, row, column++);
    m.sub_batch_size = maybe_at(result, row, column++);
    m.min_value = integer_at(result, row, column++);
    m.max_value = integer_at(result, row, column++);
    m.batching_strategy = span_at(result, row, column++);
    m.total_tuple_count = maybe_at(result, row, column++);
    m.failure_error_code = maybe_at(result, row, column++);
    m.created_at = time_at(result, row, column++);
    m.updated_at = time_at(result, row, column++);
    m.started_at = time_at(result, row, column++);
    m.finished_at = time_at(result, row, column++);
    m.finished_jobs = integer_at(result, row, column++);
    m.failed_jobs = integer_at(result, row, column);
    return m;
}

bool store_migrations(struct store *store, const int64_t *id, int64_t deadline,
                      struct migrations *migrations, struct error *error)
{
    char text[24];
    const char *params[] = {NULL};
    *migrations = (struct migrations){0};
    if (id) {
        snprintf(text, sizeof text, "%" PRId64, *id);
        params[0] = text;
    }
    migrations->result = db_run(store->db, SQL_MIGRATIONS, params, 1, DB_RETRY, deadline, error);
    if (!migrations->result)
        return false;
    migrations->count = (size_t)PQntuples(migrations->result);
    migrations->rows = calloc(migrations->count + 1, sizeof *migrations->rows);
    if (!migrations->rows) {
        store_migrations_free(migrations);
        return error_unavailable(error, "out of memory");
    }
    for (size_t i = 0; i < migrations->count; i++)
        migrations->rows[i] = migration_at(migrations->result, (int)i);
    return true;
}

void store_migrations_free(struct migrations *migrations)
{
    PQclear(migrations->result);
    free(migrations->rows);
    *migrations = (struct migrations){0};
}

/* ---- actions ---- */

static int by_id(const void *a, const void *b)
{
    const struct change *left = a;
    const struct change *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* Takes over `result`, whose columns are id, name, previous_status, status. */
static bool read_changes(PGresult *result, struct changes *changes, struct error *error)
{
    changes->result = result;
    changes->count = (size_t)PQntuples(result);
    changes->rows = calloc(changes->count + 1, sizeof *changes->rows);
    if (!changes->rows)
        return error_unavailable(error, "out of memory");
    for (size_t i = 0; i < changes->count; i++) {
        changes->rows[i] = (struct change){
            integer_at(result, (int)i, 0),
            span_at(result, (int)i, 1),
            integer_at(result, (int)i, 2),
            integer_at(result, (int)i, 3),
        };
    }
    qsort(changes->rows, changes->count, sizeof *changes->rows, by_id);
    return true;
}

static bool worker_in_run(struct store *store, int64_t deadline, bool *in_run, struct error *error)
{
    PGresult *result = db_run(store->db, SQL_WORKER, NULL, 0, DB_ONCE, deadline, error);
    *in_run = result && integer_at(result, 0, 0) != 0;
    PQclear(result);
    return !error->status;
}

/* One transaction: the change, and whether a worker is about. Nothing is told as
 * changed before it is committed. */
static bool act(struct store *store, const char *sql, int64_t deadline, struct changes *changes,
                struct error *error)
{
    *changes = (struct changes){0};
    if (!db_begin(store->db, deadline, error))
        return false;
    PGresult *result = db_run(store->db, sql, NULL, 0, DB_ONCE, deadline, error);
    if (result && read_changes(result, changes, error) &&
        worker_in_run(store, deadline, &changes->job_in_flight, error) &&
        db_commit(store->db, deadline, error))
        return true;
    db_abandon(store->db);
    store_changes_free(changes);
    return false;
}

bool store_pause(struct store *store, int64_t deadline, struct changes *changes,
                 struct error *error)
{
    return act(store, SQL_PAUSE, deadline, changes, error);
}

bool store_resume(struct store *store, int64_t deadline, struct changes *changes,
                  struct error *error)
{
    return act(store, SQL_RESUME, deadline, changes, error);
}

void store_changes_free(struct changes *changes)
{
    PQclear(changes->result);
    free(changes->rows);
    *changes = (struct changes){0};
}

struct store *store_new(const struct conf_database *conf)
{
    struct store *store = calloc(1, sizeof *store);
    if (store && !(store->db = db_new(conf))) {
        free(store);
        return NULL;
    }
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    db_free(store->db);
    free(store);
}
