/* SPDX-License-Identifier: MIT
 * Columns of a result, and parameters of a statement. */
#include "store/row.h"

#include "base/buffer.h"

/* From PostgreSQL's epoch, 2000-01-01, to Unix's, in microseconds. */
#define POSTGRES_EPOCH (INT64_C(946684800) * 1000000)

/* In network byte order. */
int64_t integer_at(const PGresult *result, int row, int column)
{
    const unsigned char *p = (const unsigned char *)PQgetvalue(result, row, column);
    int len = PQgetlength(result, row, column);
    uint64_t value = len > 0 && p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < len; i++)
        value = value << 8 | p[i];
    return (int64_t)value;
}

struct opt_int64 opt_int64_at(const PGresult *result, int row, int column)
{
    if (column < 0 || PQgetisnull(result, row, column))
        return (struct opt_int64){0};
    return (struct opt_int64){true, integer_at(result, row, column)};
}

struct opt_int64 time_at(const PGresult *result, int row, int column)
{
    struct opt_int64 time = opt_int64_at(result, row, column);
    if (time.value == INT64_MIN || time.value > INT64_MAX - POSTGRES_EPOCH)
        return (struct opt_int64){0};
    time.value += POSTGRES_EPOCH;
    return time;
}

bool bool_named(const PGresult *result, const char *name)
{
    int column = PQfnumber(result, name);
    return column >= 0 && integer_at(result, 0, column) != 0;
}

struct str_view str_view_at(const PGresult *result, int row, int column)
{
    if (column < 0 || PQgetisnull(result, row, column))
        return (struct str_view){0};
    return (struct str_view){PQgetvalue(result, row, column),
                             (size_t)PQgetlength(result, row, column)};
}

const char *number(struct number *number, int64_t value)
{
    text_integer(value, number->text);
    return number->text;
}

char *array_text(const int64_t *values, size_t count)
{
    struct buffer text = buffer_start(NULL, 0);
    buffer_char(&text, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_char(&text, ',');
        buffer_integer(&text, values[i]);
    }
    buffer_char(&text, '}');
    return buffer_take(&text);
}
