/* SPDX-License-Identifier: MIT
 *
 * row: the columns of a result, which is in PostgreSQL's binary format; and integers as the text
 * parameters of a statement.
 *
 * A column below 0 is one that this registry does not have, and reads as NULL. All functions are
 * pure; a str_view points into the result.
 */
#ifndef BBM_ROW_H
#define BBM_ROW_H

#include "base/text.h"
#include "store/value.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A smallint, integer, bigint or boolean that is not NULL. */
int64_t integer_at(const PGresult *result, int row, int column);

/* The same where it may be NULL. */
struct opt_int64 opt_int64_at(const PGresult *result, int row, int column);

/* A timestamptz in microseconds since the Unix epoch. "infinity" and "-infinity" are no moment
 * and count as NULL, as do times that 64 bits cannot hold. */
struct opt_int64 time_at(const PGresult *result, int row, int column);

/* A column of a result with one row, by its name. A boolean that is NULL is false. */
bool bool_named(const PGresult *result, const char *name);

struct str_view str_view_at(const PGresult *result, int row, int column);

/* An integer as a statement's text parameter. */
struct number {
    char text[TEXT_INTEGER_SIZE];
};

/* Returns the text, which lives in `number`. */
const char *number(struct number *number, int64_t value);

/* An array parameter in PostgreSQL's text form, "{1,2}". The caller frees it; NULL when out of
 * memory. */
char *array_text(const int64_t *values, size_t count);

#endif
