/* SPDX-License-Identifier: MIT
 *
 * strict: JSON that a stranger sent, read so that it has one meaning only.
 *
 * Pure and thread-safe. What is borrowed from an object lives as long as the object.
 */
#ifndef BBM_STRICT_H
#define BBM_STRICT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A JSON object; NULL for anything else, for invalid UTF-8, where any object in it has a
 * name twice (RFC 7515, 4, and RFC 7519, 4, leave the choice between refusing and taking
 * the last; two readers that choose differently see two tokens in one) or a name with a
 * zero byte, which json-c takes for its end; and where there is no memory for all of it.
 * The caller owns it. */
struct json_object *strict_object(const char *text, size_t len);

/* The string that `value` is; NULL where it is none, or has a zero byte in it, which C
 * would take for its end. */
const char *strict_text(struct json_object *value);

/* The string member `name`, likewise; NULL also where it is absent. */
const char *strict_string(struct json_object *object, const char *name);

/* True where the member is there, whatever it is, null too. */
bool strict_has(struct json_object *object, const char *name);

/* True where `value` is exactly the string `text`. */
bool strict_is(struct json_object *value, const char *text);

/* The integer member `name`: -1 of another type or beyond int64, 0 absent, 1 there. */
int strict_integer(struct json_object *object, const char *name, int64_t *value);

#endif
