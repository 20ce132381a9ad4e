/* SPDX-License-Identifier: MIT
 *
 * list_version: which state of all migrations and their jobs has been read, so that the database
 * can say that it is still the same (sql/unchanged_list.sql).
 *
 * Immutable: all threads may read it at once.
 */
#ifndef BBM_LIST_VERSION_H
#define BBM_LIST_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg_result; /* libpq's PGresult */

/* A list of fewer migrations has no version: to read it costs less than to compare it. */
#define LIST_VERSION_MIN 100

/* A column of the result, with all that distinguishes it from another one of the same name. */
struct list_column {
    char name[64];
    unsigned table;
    unsigned type;
    int number;
};

struct list_version {
    uint64_t counters; /* the generation of the job counters; 0: the rows' versions are not known */
    char *rows;        /* the rows' versions, as they were read, as an array parameter; owned,
                        * as is the next */
    struct list_column *columns;
    int column_count;
};

/* A version of a list of which nothing is known but that it is long. NULL when out of memory. */
struct list_version *list_version_new(void);
void list_version_free(struct list_version *version); /* NULL does nothing */

/* The version of the rows in this result, whose first `columns` columns are the table's own, and
 * whose column `row_version` has the rows' versions; with that generation of the counters. NULL
 * when out of memory. */
struct list_version *list_version_of(const struct pg_result *result, int columns, int row_version,
                                     uint64_t counters);

/* True where the result's columns are those of the version. */
bool list_version_has_columns(const struct list_version *version, const struct pg_result *result,
                              int columns);

#endif
