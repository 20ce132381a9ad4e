/* SPDX-License-Identifier: MIT
 *
 * migration_rows: the rows of sql/unchanged.sql and its variants, or of sql/migrations.sql, as
 * structs.
 *
 * The columns of the migrations' table come first, and are found by their names: an older registry
 * lacks some. Those that the statement adds come last, and are found by their place, because the
 * registry may give its table a column of any name.
 */
#ifndef BBM_MIGRATION_ROWS_H
#define BBM_MIGRATION_ROWS_H

#include "base/error.h"
#include "store/job_counters.h"
#include "store/store.h"

#include <libpq-fe.h>

struct listing {
    struct migrations migrations; /* ascending by id; the counts of jobs are not set */
    int64_t *ids;                 /* of the migrations */
    struct job_counts *counts;    /* room for the counts of their jobs */
    struct job_row *jobs;         /* ascending by id, each once */
    size_t job_count;
};

/* Reads a result, which has `extra` columns after the table's own, and takes it over. A row without
 * a migration is a job, or without `with_jobs` nothing. The listing is the caller's to free in
 * either case. False when out of memory. */
bool listing_read(PGresult *result, int extra, bool with_jobs, struct listing *listing,
                  struct error *error);

void listing_free(struct listing *listing);

#endif
