/* SPDX-License-Identifier: MIT
 *
 * token_json: the JSON in a token, which a stranger wrote, read so that it has one meaning only.
 *
 * jansson parses it, as it does inside libjwt: what one of the two takes, the other takes.
 * Values are read with jansson's own functions. They live in memory that token_json_free()
 * releases at once: never call json_decref() on them.
 *
 * json-c, with which this program writes its answers, has functions of the same names as jansson:
 * json_object_get and json_object_iter_next. The linker takes json-c's, so they are forbidden here;
 * token_json_member() is in their place.
 *
 * Thread-safe: a struct token_json belongs to one thread.
 */
#ifndef BBM_TOKEN_JSON_H
#define BBM_TOKEN_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <string.h>

#pragma GCC poison json_object_get json_object_iter_next

/* The deepest nesting that is accepted, the object itself included. */
#define TOKEN_JSON_DEPTH 16

/* Why a text is not accepted. */
enum token_json_fault {
    TOKEN_JSON_GOOD,
    TOKEN_JSON_NO_OBJECT,     /* not JSON (RFC 8259), not valid UTF-8, or not an object */
    TOKEN_JSON_NAME_TWICE,    /* in one object; RFC 7515, 4 and RFC 7519, 4 allow to refuse it */
    TOKEN_JSON_NUMBER,        /* an integer beyond int64, or a number beyond a double */
    TOKEN_JSON_ZERO,          /* \u0000 in a string or a name */
    TOKEN_JSON_SURROGATE,     /* half a surrogate pair, which stands for no character */
    TOKEN_JSON_DEEP,          /* nested beyond TOKEN_JSON_DEPTH */
    TOKEN_JSON_OUT_OF_MEMORY, /* not judged */
};

struct token_json_block;

/* The memory of the objects of one token; zeros where there is none yet. */
struct token_json {
    struct token_json_block *blocks;
};

/* Reads the whole text as one JSON object. `object` is borrowed from `json`, and NULL where the
 * fault is not TOKEN_JSON_GOOD. */
enum token_json_fault token_json_read(struct token_json *json, const char *text, size_t len,
                                      const json_t **object);

/* The member of that name; NULL where it is absent, or `object` is NULL or no object. */
static inline const json_t *token_json_member(const json_t *object, const char *name)
{
    return json_object_getn(object, name, strlen(name));
}

/* The string that this member is; NULL where it is none. */
static inline const char *token_json_string(const json_t *object, const char *name)
{
    return json_string_value(token_json_member(object, name));
}

/* Releases all objects that were read, and the memory of texts that were not accepted. */
void token_json_free(struct token_json *json);

#endif
