/* SPDX-License-Identifier: MIT
 *
 * row_json: how a row of the database reads as JSON (contract, section 2).
 *
 * All functions are pure and thread-safe. The caller owns the result; NULL when out of memory.
 */
#ifndef BBM_ROW_JSON_H
#define BBM_ROW_JSON_H

#include "store/store.h"

#include <json-c/json.h>

/* The contract's word for a failure_error_code. Static storage. */
const char *row_json_error_name(int64_t code);

struct json_object *row_json_migration(const struct migration *m);
struct json_object *row_json_job(const struct job *job);

#endif
