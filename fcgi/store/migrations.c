/* SPDX-License-Identifier: MIT
 * The migrations with the counts of their jobs. */
#include "base/clock.h"
#include "base/text.h"
#include "store/count_jobs.h"
#include "store/db.h"
#include "store/in_flight.h"
#include "store/job_counters.h"
#include "store/list_version.h"
#include "store/migration_rows.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store.h"
#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

/* How many full counts one request may cause. */
#define COUNTS_MAX 2

/* How many columns the statements add to the table's own: jobs_unchanged, or the job's four; of
 * sql/unchanged_list.sql these; and the last is lock_is_held. */
#define UNCHANGED_EXTRA  2
#define MIGRATIONS_EXTRA 5
enum {
    LIST_ROW_VERSION,
    LIST_JOBS_UNCHANGED,
    LIST_ROWS_UNCHANGED,
    LIST_LOCK_IS_HELD,
    LIST_EXTRA,
};

/* ---- statements ---- */

/* One request for migrations, over its tries. */
struct search {
    struct store *store;
    const int64_t *id; /* NULL: all */
    int64_t deadline;
    const struct list_version *known; /* of all migrations, read before; NULL: nothing to compare */
    bool unchanged;                   /* all is as it was then */
    int counts;                       /* full counts so far */
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

/* Runs sql/unchanged_list.sql with these versions of the rows; with "{}" it returns all rows. */
static PGresult *run_list(const struct search *search, const struct job_lookup *lookup,
                          const char *newest, const char *unfinished, const char *versions,
                          struct error *error)
{
    struct number mark;
    struct number failed;
    struct db *db = search->store->db;
    const char *const all[SQL_UNCHANGED_LIST_PARAMS] = {
        [SQL_UNCHANGED_LIST_MARK] = number(&mark, lookup->mark),
        [SQL_UNCHANGED_LIST_NEWEST] = newest,
        [SQL_UNCHANGED_LIST_UNFINISHED] = unfinished,
        [SQL_UNCHANGED_LIST_FAILED] = number(&failed, (int64_t)lookup->unfinished_count),
        [SQL_UNCHANGED_LIST_VERSIONS] = versions,
    };
    const char *const few[SQL_UNCHANGED_LIST_FINISHED_PARAMS] = {
        [SQL_UNCHANGED_LIST_FINISHED_MARK] = mark.text,
        [SQL_UNCHANGED_LIST_FINISHED_NEWEST] = newest,
        [SQL_UNCHANGED_LIST_FINISHED_VERSIONS] = versions,
    };
    return lookup->unfinished_count > 0
               ? db_read(db, &SQL_UNCHANGED_LIST, all, search->deadline, error)
               : db_read(db, &SQL_UNCHANGED_LIST_FINISHED, few, search->deadline, error);
}

/* True where the result is the one row that says that nothing has changed. */
static bool is_unchanged(const PGresult *result, int columns)
{
    return integer_at(result, 0, columns + LIST_JOBS_UNCHANGED) != 0 &&
           integer_at(result, 0, columns + LIST_ROWS_UNCHANGED) != 0 &&
           integer_at(result, 0, columns + LIST_LOCK_IS_HELD) == 0;
}

/* The same as check_unchanged for all migrations of a long list, which are read only where one of
 * them, or a job, has changed. */
static bool check_list(struct search *search, const struct job_lookup *lookup, const char *newest,
                       const char *unfinished, struct listing *listing, bool *done,
                       struct error *error)
{
    const struct list_version *known = search->known;
    const char *versions = known->counters == lookup->generation ? known->rows : "{}";
    PGresult *result = run_list(search, lookup, newest, unfinished, versions, error);
    int columns = result ? PQnfields(result) - LIST_EXTRA : 0;
    if (result && is_unchanged(result, columns)) {
        *done = search->unchanged = list_version_has_columns(known, result, columns);
        PQclear(result);
        if (*done)
            return true;
        /* The rows are the same and the table's columns are not. */
        result = run_list(search, lookup, newest, unfinished, "{}", error);
        columns = result ? PQnfields(result) - LIST_EXTRA : 0;
    }
    if (!result || !listing_read(result, LIST_EXTRA, false, listing, error))
        return false;
    *done = integer_at(result, 0, columns + LIST_JOBS_UNCHANGED) != 0 &&
            job_counters_unchanged(search->store->counters, lookup, listing->ids, listing->counts,
                                   listing->migrations.count);
    /* While a worker is in a run, each list looks at what it does. */
    if (*done && listing->migrations.count >= LIST_VERSION_MIN && !listing->migrations.lock_is_held)
        listing->migrations.version =
            list_version_of(result, columns, columns + LIST_ROW_VERSION, lookup->generation);
    return true;
}

/* The cheap statement: the migrations, and whether no job has changed. `*done` where none has. */
static bool check_unchanged(struct search *search, const struct job_lookup *lookup,
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
    if (search->known)
        return check_list(search, lookup, newest, unfinished, listing, done, error);
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
    if (!result || !listing_read(result, UNCHANGED_EXTRA, false, listing, error))
        return false;
    /* Where there is no migration, there is no job to look for. */
    bool unchanged =
        PQntuples(result) == 0 || integer_at(result, 0, listing->migrations.columns) != 0;
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
    if (!result || !listing_read(result, MIGRATIONS_EXTRA, true, listing, error))
        return false;
    *verdict = job_counters_follow(search->store->counters, lookup, search->id, listing->jobs,
                                   listing->job_count, listing->ids, listing->counts,
                                   listing->migrations.count);
    return true;
}

static bool read_with(struct search *search, const struct job_lookup *lookup,
                      struct listing *listing, enum job_counters_verdict *verdict,
                      struct error *error)
{
    bool done;
    char *unfinished = array_text(lookup->unfinished, lookup->unfinished_count);
    if (!unfinished)
        return error_out_of_memory(error);
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
        return lookup.generation == 0 || error_out_of_memory(error);
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

/* Runs the search, and gives the migrations their counts. */
static bool find_migrations(struct search *search, struct migrations *migrations,
                            struct error *error)
{
    struct listing listing = {0};
    *migrations = (struct migrations){0};
    if (!read_migrations(search, &listing, error)) {
        listing_free(&listing);
        return false;
    }
    for (size_t i = 0; i < listing.migrations.count; i++) {
        struct migration *m = &listing.migrations.rows[i];
        m->finished_jobs = listing.counts[i].finished;
        m->failed_jobs = listing.counts[i].failed;
        m->pace = (struct opt_int64){listing.counts[i].pace > 0, listing.counts[i].pace};
    }
    if (listing.migrations.lock_is_held &&
        !in_flight_read(search->store, search->deadline, &listing.migrations, error)) {
        listing_free(&listing);
        return false;
    }
    *migrations = listing.migrations;
    listing.migrations = (struct migrations){0};
    listing_free(&listing);
    return true;
}

bool store_migrations(struct store *store, const int64_t *id, int64_t deadline,
                      struct migrations *migrations, struct error *error)
{
    struct search search = {.store = store, .id = id, .deadline = deadline};
    return find_migrations(&search, migrations, error);
}

bool store_list(struct store *store, const struct list_version *known, int64_t deadline,
                struct migrations *migrations, bool *unchanged, struct error *error)
{
    struct search search = {.store = store, .deadline = deadline, .known = known};
    bool good = find_migrations(&search, migrations, error);
    *unchanged = good && search.unchanged;
    /* Without memory for a version, the next list is read whole. */
    if (good && !search.unchanged && !migrations->version && migrations->count >= LIST_VERSION_MIN)
        migrations->version = list_version_new();
    return good;
}
