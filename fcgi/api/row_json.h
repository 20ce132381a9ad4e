/* SPDX-License-Identifier: MIT
 *
 * row_json: how a row of the database reads as JSON (contract, section 2).
 *
 * All functions are pure and thread-safe. The caller owns an object; NULL when out of memory.
 */
#ifndef BBM_ROW_JSON_H
#define BBM_ROW_JSON_H

#include "store/jobs.h"
#include "store/store.h"

#include <json-c/json.h>

/* The contract's word for a failure_error_code. Static storage. */
const char *row_json_error_name(int64_t code);

struct json_object *row_json_migration(const struct migration *m);
struct json_object *row_json_job(const struct job *job);

/* Each adds a column's value: "" for a text that is NULL or absent; and no member for a moment that
 * is, or that RFC 3339 cannot write. */
void row_json_add_text(struct json_object **object, const char *key, struct str_view text);
void row_json_add_time(struct json_object **object, const char *key, struct opt_int64 time);

#endif
