/* SPDX-License-Identifier: MIT
 *
 * value: what a column may hold.
 */
#ifndef BBM_VALUE_H
#define BBM_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A column that may be NULL, or absent on an older registry. */
struct opt_int64 {
    bool given;
    int64_t value; /* of times: microseconds since the Unix epoch */
};

/* A text column; not terminated by zero, and perhaps not valid UTF-8. */
struct str_view {
    const char *at; /* NULL where the column is NULL or absent */
    size_t len;
};

#endif
