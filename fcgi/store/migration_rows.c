/* SPDX-License-Identifier: MIT
 * Results as migrations and jobs. */
#include "store/migration_rows.h"

#include "store/list_version.h"
#include "store/row.h"

#include <stdlib.h>
#include <string.h>

/* ---- columns ---- */

/* Where the columns of the migrations' table stand; -1 where this registry has none. */
struct columns {
    int id, name, status, job_signature_name, table_name, column_name, batch_size, sub_batch_size,
        min_value, max_value, batching_strategy, total_tuple_count, failure_error_code, created_at,
        updated_at, started_at, finished_at;
};

/* Finds a column by its name among the table's own. Mostly it stands behind the last one that was
 * found, at `*next`. */
static int find_column(const PGresult *result, int count, const char *name, int *next)
{
    for (int i = 0; i < count; i++) {
        int column = *next < count ? *next : 0;
        *next = column + 1;
        if (strcmp(PQfname(result, column), name) == 0)
            return column;
    }
    return -1;
}

/* In the table's order. */
static struct columns columns_of(const PGresult *result, int count)
{
    struct columns c;
    int next = 0;
    c.id = find_column(result, count, "id", &next);
    c.name = find_column(result, count, "name", &next);
    c.created_at = find_column(result, count, "created_at", &next);
    c.updated_at = find_column(result, count, "updated_at", &next);
    c.min_value = find_column(result, count, "min_value", &next);
    c.max_value = find_column(result, count, "max_value", &next);
    c.batch_size = find_column(result, count, "batch_size", &next);
    c.status = find_column(result, count, "status", &next);
    c.job_signature_name = find_column(result, count, "job_signature_name", &next);
    c.table_name = find_column(result, count, "table_name", &next);
    c.column_name = find_column(result, count, "column_name", &next);
    c.failure_error_code = find_column(result, count, "failure_error_code", &next);
    c.started_at = find_column(result, count, "started_at", &next);
    c.finished_at = find_column(result, count, "finished_at", &next);
    c.batching_strategy = find_column(result, count, "batching_strategy", &next);
    c.total_tuple_count = find_column(result, count, "total_tuple_count", &next);
    c.sub_batch_size = find_column(result, count, "sub_batch_size", &next);
    return c;
}

static struct migration migration_at(const PGresult *result, const struct columns *c, int row)
{
    return (struct migration){
        .id = integer_at(result, row, c->id),
        .name = str_view_at(result, row, c->name),
        .status = integer_at(result, row, c->status),
        .job_signature_name = str_view_at(result, row, c->job_signature_name),
        .table_name = str_view_at(result, row, c->table_name),
        .column_name = str_view_at(result, row, c->column_name),
        .batch_size = integer_at(result, row, c->batch_size),
        .sub_batch_size = opt_int64_at(result, row, c->sub_batch_size),
        .min_value = integer_at(result, row, c->min_value),
        .max_value = integer_at(result, row, c->max_value),
        .batching_strategy = str_view_at(result, row, c->batching_strategy),
        .total_tuple_count = opt_int64_at(result, row, c->total_tuple_count),
        .failure_error_code = opt_int64_at(result, row, c->failure_error_code),
        .created_at = time_at(result, row, c->created_at),
        .updated_at = time_at(result, row, c->updated_at),
        .started_at = time_at(result, row, c->started_at),
        .finished_at = time_at(result, row, c->finished_at),
    };
}

/* ---- jobs ---- */

/* The columns of sql/migrations.sql after the table's own. */
enum {
    JOB_ID,
    JOB_MIGRATION_ID,
    JOB_STATUS,
    JOB_CREATED_AT,
};

static struct job_row job_at(const PGresult *result, int first, int row)
{
    struct opt_int64 created_at = time_at(result, row, first + JOB_CREATED_AT);
    return (struct job_row){integer_at(result, row, first + JOB_ID),
                            integer_at(result, row, first + JOB_MIGRATION_ID),
                            integer_at(result, row, first + JOB_STATUS),
                            created_at.given ? created_at.value : JOB_TALLY_NO_TIME};
}

static int compare_jobs(const void *a, const void *b)
{
    const struct job_row *left = a;
    const struct job_row *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* The job at the mark comes twice if it is an unfinished one too. */
static void sort_jobs(struct listing *listing)
{
    struct job_row *jobs = listing->jobs;
    size_t kept = 0;
    qsort(jobs, listing->job_count, sizeof *jobs, compare_jobs);
    for (size_t i = 0; i < listing->job_count; i++) {
        if (i == 0 || jobs[i].id != jobs[i - 1].id)
            jobs[kept++] = jobs[i];
    }
    listing->job_count = kept;
}

static int compare_migrations(const void *a, const void *b)
{
    const struct migration *left = a;
    const struct migration *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* By id, which is cheaper here than to have PostgreSQL plan a sort at every request. */
static void sort_migrations(struct listing *listing)
{
    struct migrations *migrations = &listing->migrations;
    qsort(migrations->rows, migrations->count, sizeof *migrations->rows, compare_migrations);
    for (size_t i = 0; i < migrations->count; i++)
        listing->ids[i] = migrations->rows[i].id;
}

/* ---- a listing ---- */

void listing_free(struct listing *listing)
{
    store_migrations_free(&listing->migrations);
    /* The analyzer loses sight of the assignment below. */
    free(listing->jobs); /* NOLINT(clang-analyzer-unix.Malloc) */
    free(listing->ids);
    free(listing->counts);
    *listing = (struct listing){0};
}

static bool is_migration(const PGresult *result, const struct columns *c, int row)
{
    return !PQgetisnull(result, row, c->id);
}

bool listing_read(PGresult *result, int extra, bool with_jobs, struct listing *listing,
                  struct error *error)
{
    int rows = PQntuples(result);
    int own = PQnfields(result) - extra;
    struct columns c = columns_of(result, own);
    size_t count = 0;
    struct migrations *migrations = &listing->migrations;
    *listing = (struct listing){.migrations = {.result = result, .columns = own}};
    for (int row = 0; row < rows; row++)
        count += is_migration(result, &c, row);
    migrations->rows = calloc(count + 1, sizeof *migrations->rows);
    listing->ids = calloc(count + 1, sizeof *listing->ids);
    listing->counts = calloc(count + 1, sizeof *listing->counts);
    listing->jobs = calloc((size_t)rows - count + 1, sizeof *listing->jobs);
    if (!migrations->rows || !listing->ids || !listing->counts || !listing->jobs)
        return error_out_of_memory(error);
    for (int row = 0; row < rows; row++) {
        if (is_migration(result, &c, row))
            migrations->rows[migrations->count++] = migration_at(result, &c, row);
        else if (with_jobs)
            listing->jobs[listing->job_count++] = job_at(result, own, row);
    }
    sort_jobs(listing);
    sort_migrations(listing);
    /* The last column, the same in all rows; where there is no row, it is not known. */
    migrations->lock_is_held = rows == 0 || integer_at(result, 0, PQnfields(result) - 1) != 0;
    return true;
}

/* ---- a digest ---- */

/* What a migration has beside its columns. */
#define COUNTS      7
#define COUNTS_SIZE (COUNTS * sizeof(int64_t))

/* Bytes in a row. */
struct digest_input {
    unsigned char *bytes; /* NULL: out of memory */
    size_t len;
    size_t size;
};

/* Makes room for more bytes than were expected. */
static void grow(struct digest_input *input, size_t more)
{
    size_t size = (input->len + more) * 2;
    unsigned char *bigger = realloc(input->bytes, size);
    if (!bigger)
        free(input->bytes);
    input->bytes = bigger;
    input->size = size;
}

static void put(struct digest_input *input, const void *bytes, size_t len)
{
    if (input->bytes && len > input->size - input->len)
        grow(input, len);
    if (!input->bytes)
        return;
    memcpy(input->bytes + input->len, bytes, len);
    input->len += len;
}

/* The names of the table's columns, and all of its values, each with its length, -1 for NULL. */
static void put_result(struct digest_input *input, const PGresult *result, int columns)
{
    for (int column = 0; column < columns; column++)
        put(input, PQfname(result, column), strlen(PQfname(result, column)) + 1);
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < columns; column++) {
            int32_t len = PQgetlength(result, row, column);
            if (len > 0) {
                put(input, &len, sizeof len);
                put(input, PQgetvalue(result, row, column), (size_t)len);
                continue;
            }
            if (PQgetisnull(result, row, column))
                len = -1;
            put(input, &len, sizeof len);
        }
    }
}

static void put_migrations(struct digest_input *input, const struct migrations *migrations)
{
    put_result(input, migrations->result, migrations->columns);
    put(input, &migrations->job_in_flight, sizeof migrations->job_in_flight);
    for (size_t i = 0; i < migrations->count; i++) {
        const struct migration *m = &migrations->rows[i];
        const int64_t counts[COUNTS] = {
            m->id,         m->finished_jobs,         m->failed_jobs,          m->pace.given,
            m->pace.value, m->in_flight_since.given, m->in_flight_since.value};
        put(input, counts, sizeof counts);
    }
}

bool store_migrations_digest(const struct migrations *migrations, const struct digest_key *key,
                             unsigned char digest[DIGEST_SIZE])
{
    /* More than the values take: a result needs more for each than its bytes and its length. */
    size_t size = PQresultMemorySize(migrations->result) + (migrations->count + 1) * COUNTS_SIZE;
    struct digest_input input = {.bytes = malloc(size), .size = size};
    put_migrations(&input, migrations);
    if (!input.bytes)
        return false;
    bool good = digest_of(key, input.bytes, input.len, digest);
    free(input.bytes);
    return good;
}

void store_migrations_free(struct migrations *migrations)
{
    PQclear(migrations->result);
    PQclear(migrations->pauses);
    list_version_free(migrations->version);
    free(migrations->rows);
    *migrations = (struct migrations){0};
}
