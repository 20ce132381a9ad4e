/* SPDX-License-Identifier: MIT
 *
 * json_input: JSON that a client wrote, a token's or a body's, read so that it has one meaning
 * only.
 *
 * jansson parses it, as it does inside libjwt: what one of the two accepts, the other accepts.
 * Values are read with jansson's own functions. They live in memory that json_input_free() releases
 * at once: never call json_decref() on them.
 *
 * json-c, with which this program writes its answers, has functions of the same names as jansson:
 * json_object_get and json_object_iter_next. The linker takes json-c's, so they are forbidden here;
 * json_input_member() is in their place.
 *
 * Thread-safe: a struct json_input belongs to one thread.
 */
#ifndef BBM_JSON_INPUT_H
#define BBM_JSON_INPUT_H

#include <jansson.h>
#include <stddef.h>
#include <string.h>

#pragma GCC poison json_object_get json_object_iter_next

/* The deepest nesting that is accepted, the object itself included. */
#define JSON_INPUT_DEPTH 16

/* Why a text is not accepted. */
enum json_input_fault {
    JSON_INPUT_GOOD,
    JSON_INPUT_NO_OBJECT,     /* not JSON (RFC 8259), not valid UTF-8, or not an object */
    JSON_INPUT_NAME_TWICE,    /* in one object; RFC 7515, 4 and RFC 7519, 4 allow to refuse it */
    JSON_INPUT_NUMBER,        /* an integer beyond int64, or a number beyond a double */
    JSON_INPUT_ZERO,          /* \u0000 in a string or a name */
    JSON_INPUT_SURROGATE,     /* half a surrogate pair, which stands for no character */
    JSON_INPUT_DEEP,          /* nested beyond JSON_INPUT_DEPTH */
    JSON_INPUT_OUT_OF_MEMORY, /* not judged */
};

struct json_input_block;

/* The memory of the objects that were read; zeros where there is none yet. */
struct json_input {
    struct json_input_block *blocks;
};

/* Reads the whole text as one JSON object. `object` is borrowed from `input`, and NULL where the
 * fault is not JSON_INPUT_GOOD. */
enum json_input_fault json_input_read(struct json_input *input, const char *text, size_t len,
                                      const json_t **object);

/* The member of that name; NULL where it is absent, or `object` is NULL or no object. */
static inline const json_t *json_input_member(const json_t *object, const char *name)
{
    return json_object_getn(object, name, strlen(name));
}

/* The string that this member is; NULL where it is none. */
static inline const char *json_input_string(const json_t *object, const char *name)
{
    return json_string_value(json_input_member(object, name));
}

/* Releases all objects that were read, and the memory of texts that were not accepted. */
void json_input_free(struct json_input *input);

#endif
