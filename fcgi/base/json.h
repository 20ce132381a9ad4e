/* SPDX-License-Identifier: MIT
 *
 * json: objects and lists, built where memory may run out.
 *
 * A part that could not be made is NULL, and an object or list that misses a part becomes NULL,
 * too. So a caller checks only the outermost one, at the end. Pure and thread-safe.
 */
#ifndef BBM_JSON_H
#define BBM_JSON_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

/* Each takes over `part`. Where that is NULL, or there is no memory to keep it, `*whole` is
 * released and set to NULL. A key is a literal, and not in the object yet: json-c need
 * neither copy nor look for it. */
void json_add(struct json_object **whole, const char *key, struct json_object *part);
void json_append(struct json_object **whole, struct json_object *part);

/* The same for a number and for a text, which must be UTF-8. */
void json_add_int64(struct json_object **whole, const char *key, int64_t value);
void json_add_string(struct json_object **whole, const char *key, const char *value);

/* Takes over a part that is done, and returns one in its place that is only the part's text. A list
 * of such parts needs a fifth of the memory. NULL where the part is, or when out of memory. */
struct json_object *json_flat(struct json_object *whole);

/* The text of `whole` without a blank; it lives as long as that does. NULL where `whole` is, or
 * where there is no memory for all of it: json-c then leaves a piece out and goes on, and what it
 * returns may be valid JSON that lacks a name or a value. But the failed malloc has set errno,
 * which nothing clears in between. */
const char *json_text(struct json_object *whole, size_t *len);

#endif
