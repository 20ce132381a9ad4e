/* SPDX-License-Identifier: MIT
 * The migrations with the counts of their jobs. */
#include "base/clock.h"
#include "base/text.h"
#include "store/count_jobs.h"
#include "store/db.h"
#include "store/job_counters.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store.h"
#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

/* How many full counts one request may cause. */
#define COUNTS_MAX 2

/* ---- rows ---- */

/* Where the columns of sql/migrations.sql stand; -1 where this registry has none. */
struct columns {
    int id, name, status, job_signature_name, table_name, column_name, batch_size, sub_batch_size,
        min_value, max_value, batching_strategy, total_tuple_count, failure_error_code, created_at,
        updated_at, started_at, finished_at, job_id, job_migration_id, job_status, job_created_at;
};

static struct columns columns_of(const PGresult *result)
{
    return (struct columns){
        .id = PQfnumber(result, "id"),
        .name = PQfnumber(result, "name"),
        .status = PQfnumber(result, "status"),
        .job_signature_name = PQfnumber(result, "job_signature_name"),
        .table_name = PQfnumber(result, "table_name"),
        .column_name = PQfnumber(result, "column_name"),
        .batch_size = PQfnumber(result, "batch_size"),
        .sub_batch_size = PQfnumber(result, "sub_batch_size"),
        .min_value = PQfnumber(result, "min_value"),
        .max_value = PQfnumber(result, "max_value"),
        .batching_strategy = PQfnumber(result, "batching_strategy"),
        .total_tuple_count = PQfnumber(result, "total_tuple_count"),
        .failure_error_code = PQfnumber(result, "failure_error_code"),
        .created_at = PQfnumber(result, "created_at"),
        .updated_at = PQfnumber(result, "updated_at"),
        .started_at = PQfnumber(result, "started_at"),
        .finished_at = PQfnumber(result, "finished_at"),
        .job_id = PQfnumber(result, "job_id"),
        .job_migration_id = PQfnumber(result, "job_migration_id"),
        .job_status = PQfnumber(result, "job_status"),
        .job_created_at = PQfnumber(result, "job_created_at"),
    };
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

/* The rows of sql/migrations.sql or sql/unchanged.sql, taken apart. */
struct listing {
    struct migrations migrations; /* ascending by id */
    int64_t *ids;                 /* of the migrations */
    struct job_counts *counts;    /* of their jobs */
    struct job_row *jobs;         /* ascending by id, each once */
    size_t job_count;
};

static void listing_free(struct listing *listing)
{
    store_migrations_free(&listing->migrations);
    /* The analyzer loses sight of the assignment below. */
    free(listing->jobs); /* NOLINT(clang-analyzer-unix.Malloc) */
    free(listing->ids);
    free(listing->counts);
    *listing = (struct listing){0};
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

static bool is_migration(const PGresult *result, const struct columns *c, int row)
{
    return !PQgetisnull(result, row, c->id);
}

static struct job_row job_at(const PGresult *result, const struct columns *c, int row)
{
    struct opt_int64 created_at = time_at(result, row, c->job_created_at);
    return (struct job_row){integer_at(result, row, c->job_id),
                            integer_at(result, row, c->job_migration_id),
                            integer_at(result, row, c->job_status),
                            created_at.given ? created_at.value : JOB_TALLY_NO_TIME};
}

/* Reads the rows, each of which is a migration or a job. Takes over `result`. */
static bool read_listing(PGresult *result, struct listing *listing, struct error *error)
{
    struct columns c = columns_of(result);
    int rows = PQntuples(result);
    size_t count = 0;
    struct migrations *migrations = &listing->migrations;
    *listing = (struct listing){.migrations.result = result};
    for (int row = 0; row < rows; row++)
        count += is_migration(result, &c, row);
    migrations->rows = calloc(count + 1, sizeof *migrations->rows);
    listing->ids = calloc(count + 1, sizeof *listing->ids);
    listing->counts = calloc(count + 1, sizeof *listing->counts);
    listing->jobs = calloc((size_t)rows - count + 1, sizeof *listing->jobs);
    if (!migrations->rows || !listing->ids || !listing->counts || !listing->jobs)
        return error_unavailable(error, "out of memory");
    for (int row = 0; row < rows; row++) {
        if (is_migration(result, &c, row))
            migrations->rows[migrations->count++] = migration_at(result, &c, row);
        else
            listing->jobs[listing->job_count++] = job_at(result, &c, row);
    }
    sort_jobs(listing);
    sort_migrations(listing);
    return true;
}

/* ---- statements ---- */

/* One request for migrations, over its tries. */
struct search {
    struct store *store;
    const int64_t *id; /* NULL: all */
    int64_t deadline;
    int counts; /* full counts so far */
};

/* The same as the array text that sql/unchanged.sql compares: when the job at the mark was created,
 * or nothing where there is no job. False where that cannot be written, or is not known. */
static bool newest_text(const struct job_lookup *lookup, char *text, size_t size)
{
    char time[32] = "";
    if (lookup->mark != JOB_TALLY_NO_MARK && (lookup->mark_created_at == JOB_TALLY_NO_TIME ||
                                              !text_rfc3339(lookup->mark_created_at, time)))
        return false;
    snprintf(text, size, "{%s}", time);
    return true;
}

/* The cheap statement: the migrations, and whether no job has changed. `*done` where none has. */
static bool check_unchanged(const struct search *search, const struct job_lookup *lookup,
                            const char *unfinished, struct listing *listing, bool *done,
                            struct error *error)
{
    char newest[40];
    struct number id;
    struct number mark;
    struct number failed;
    struct db *db = search->store->db;
    *done = false;
    if (!lookup->all_failed || !newest_text(lookup, newest, sizeof newest))
        return true;
    const char *id_text = search->id ? number(&id, *search->id) : NULL;
    const char *const all[SQL_UNCHANGED_PARAMS] = {
        [SQL_UNCHANGED_MARK] = number(&mark, lookup->mark),
        [SQL_UNCHANGED_NEWEST] = newest,
        [SQL_UNCHANGED_UNFINISHED] = unfinished,
        [SQL_UNCHANGED_FAILED] = number(&failed, (int64_t)lookup->unfinished_count),
        [SQL_UNCHANGED_ID] = id_text,
    };
    const char *const few[SQL_UNCHANGED_FINISHED_PARAMS] = {
        [SQL_UNCHANGED_FINISHED_MARK] = mark.text,
        [SQL_UNCHANGED_FINISHED_NEWEST] = newest,
        [SQL_UNCHANGED_FINISHED_ID] = id_text,
    };
    PGresult *result = lookup->unfinished_count > 0
                           ? db_read(db, &SQL_UNCHANGED, all, search->deadline, error)
                           : db_read(db, &SQL_UNCHANGED_FINISHED, few, search->deadline, error);
    if (!result || !read_listing(result, listing, error))
        return false;
    /* Where there is no migration, there is no job to look for. */
    bool unchanged =
        PQntuples(result) == 0 || integer_at(result, 0, PQfnumber(result, "jobs_unchanged")) != 0;
    *done = unchanged && job_counters_unchanged(search->store->counters, lookup, listing->ids,
                                                listing->counts, listing->migrations.count);
    return true;
}

/* The full statement, with the jobs that are new or unfinished. */
static bool read_changes(const struct search *search, const struct job_lookup *lookup,
                         const char *unfinished, struct listing *listing,
                         enum job_counters_verdict *verdict, struct error *error)
{
    struct number numbers[3];
    const char *const params[SQL_MIGRATIONS_PARAMS] = {
        [SQL_MIGRATIONS_ID] = search->id ? number(&numbers[0], *search->id) : NULL,
        [SQL_MIGRATIONS_MARK] = number(&numbers[1], lookup->mark),
        [SQL_MIGRATIONS_NEW] = number(&numbers[2], JOB_COUNTERS_NEW_MAX + 1),
        [SQL_MIGRATIONS_UNFINISHED] = unfinished,
    };
    listing_free(listing);
    PGresult *result = db_read(search->store->db, &SQL_MIGRATIONS, params, search->deadline, error);
    if (!result || !read_listing(result, listing, error))
        return false;
    *verdict = job_counters_follow(search->store->counters, lookup, search->id, listing->jobs,
                                   listing->job_count, listing->ids, listing->counts,
                                   listing->migrations.count);
    return true;
}

static bool read_with(const struct search *search, const struct job_lookup *lookup,
                      struct listing *listing, enum job_counters_verdict *verdict,
                      struct error *error)
{
    bool done;
    char *unfinished = array_text(lookup->unfinished, lookup->unfinished_count);
    if (!unfinished)
        return error_unavailable(error, "out of memory");
    bool good = check_unchanged(search, lookup, unfinished, listing, &done, error);
    *verdict = JOB_COUNTERS_EXACT;
    if (good && !done)
        good = read_changes(search, lookup, unfinished, listing, verdict, error);
    free(unfinished);
    return good;
}

/* One try. */
static bool try_once(struct search *search, struct listing *listing,
                     enum job_counters_verdict *verdict, struct error *error)
{
    bool counted;
    struct job_lookup lookup;
    *verdict = JOB_COUNTERS_AGAIN;
    listing_free(listing);
    if (clock_ms() >= search->deadline)
        return error_unavailable(error, "jobs change faster than they are counted");
    if (!count_jobs(search->store, search->deadline, &counted, error))
        return false;
    search->counts += counted;
    if (!job_counters_look_up(search->store->counters, search->id, &lookup))
        return lookup.generation == 0 || error_unavailable(error, "out of memory");
    bool good = read_with(search, &lookup, listing, verdict, error);
    job_lookup_free(&lookup);
    return good;
}

/* Tries until the counts are exact. Where a second full count does not lead there, something
 * other than a worker changes the jobs, and that count serves: a third would be no better. */
static bool read_migrations(struct search *search, struct listing *listing, struct error *error)
{
    enum job_counters_verdict verdict = JOB_COUNTERS_AGAIN;
    while (verdict != JOB_COUNTERS_EXACT && search->counts < COUNTS_MAX) {
        if (!try_once(search, listing, &verdict, error))
            return false;
    }
    if (verdict == JOB_COUNTERS_EXACT)
        return true;
    if (!listing->migrations.result)
        return error_unavailable(error, "jobs change otherwise than workers change them");
    job_counters_last(search->store->counters, listing->ids, listing->counts,
                      listing->migrations.count);
    return true;
}

bool store_migrations(struct store *store, const int64_t *id, int64_t deadline,
                      struct migrations *migrations, struct error *error)
{
    struct search search = {store, id, deadline, 0};
    struct listing listing = {0};
    *migrations = (struct migrations){0};
    if (!read_migrations(&search, &listing, error)) {
        listing_free(&listing);
        return false;
    }
    for (size_t i = 0; i < listing.migrations.count; i++) {
        struct migration *m = &listing.migrations.rows[i];
        m->finished_jobs = listing.counts[i].finished;
        m->failed_jobs = listing.counts[i].failed;
        m->pace = (struct opt_int64){listing.counts[i].pace > 0, listing.counts[i].pace};
    }
    *migrations = listing.migrations;
    listing.migrations = (struct migrations){0};
    listing_free(&listing);
    return true;
}

void store_migrations_free(struct migrations *migrations)
{
    PQclear(migrations->result);
    PQclear(migrations->pauses);
    free(migrations->rows);
    *migrations = (struct migrations){0};
}
