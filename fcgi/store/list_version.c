/* SPDX-License-Identifier: MIT
 * Versions of the list. */
#include "store/list_version.h"

#include "store/row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct list_column column_at(const PGresult *result, int column)
{
    struct list_column found = {
        .table = PQftable(result, column),
        .type = PQftype(result, column),
        .number = PQftablecol(result, column),
    };
    snprintf(found.name, sizeof found.name, "%s", PQfname(result, column));
    return found;
}

static bool same_column(const struct list_column *a, const struct list_column *b)
{
    return a->table == b->table && a->type == b->type && a->number == b->number &&
           strcmp(a->name, b->name) == 0;
}

bool list_version_has_columns(const struct list_version *version, const PGresult *result,
                              int columns)
{
    bool same = columns == version->column_count;
    for (int i = 0; same && i < columns; i++) {
        const struct list_column found = column_at(result, i);
        same = same_column(&found, &version->columns[i]);
    }
    return same;
}

/* The rows' versions as an array parameter, in the order of the result. NULL when out of memory. */
static char *versions_text(const PGresult *result, int row_version)
{
    int count = PQntuples(result);
    int64_t *versions = calloc((size_t)count + 1, sizeof *versions);
    if (!versions)
        return NULL;
    /* A transaction's number has 32 bits, and no sign. */
    for (int row = 0; row < count; row++)
        versions[row] = (uint32_t)integer_at(result, row, row_version);
    char *text = array_text(versions, (size_t)count);
    free(versions);
    return text;
}

struct list_version *list_version_new(void)
{
    return calloc(1, sizeof(struct list_version));
}

struct list_version *list_version_of(const PGresult *result, int columns, int row_version,
                                     uint64_t counters)
{
    struct list_version *version = list_version_new();
    if (!version)
        return NULL;
    version->counters = counters;
    version->column_count = columns;
    version->columns = calloc((size_t)columns + 1, sizeof *version->columns);
    version->rows = versions_text(result, row_version);
    if (!version->columns || !version->rows) {
        list_version_free(version);
        return NULL;
    }
    for (int i = 0; i < columns; i++)
        version->columns[i] = column_at(result, i);
    return version;
}

void list_version_free(struct list_version *version)
{
    if (!version)
        return;
    free(version->rows);
    free(version->columns);
    free(version);
}
