/* SPDX-License-Identifier: MIT
 * JSON, whole or not at all. */
#include "json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void give_up(struct json_object **whole, struct json_object *part)
{
    json_object_put(part);
    json_object_put(*whole);
    *whole = NULL;
}

void json_add(struct json_object **whole, const char *key, struct json_object *part)
{
    if (!*whole || !part ||
        json_object_object_add_ex(*whole, key, part,
                                  JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY))
        give_up(whole, part);
}

void json_append(struct json_object **whole, struct json_object *part)
{
    if (!*whole || !part || json_object_array_add(*whole, part))
        give_up(whole, part);
}

/* ---- text ---- */

/* A text under construction. */
struct out {
    char *at; /* NULL: it could not grow, and all is lost */
    size_t len;
    size_t size; /* 0: likewise */
};

#define TEXT_LEAST 1024

/* Makes room for `len` more bytes, unless memory is out, now or before. */
static void grow(struct out *out, size_t len)
{
    size_t size = 2 * (out->len + len);
    char *bigger = out->size > 0 ? realloc(out->at, size) : NULL;
    if (!bigger)
        free(out->at);
    *out = (struct out){bigger, out->len, bigger ? size : 0};
}

static void put(struct out *out, const char *s, size_t len)
{
    if (out->len + len > out->size)
        grow(out, len);
    if (!out->at)
        return;
    memcpy(out->at + out->len, s, len);
    out->len += len;
}

static void put_text(struct out *out, const char *s)
{
    put(out, s, strlen(s));
}

static void put_escaped(struct out *out, char c)
{
    static const char controls[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    char escaped[8];
    const char *found = c ? strchr(controls, c) : NULL;
    int len = found ? snprintf(escaped, sizeof escaped, "\\%c", letters[found - controls])
                    : snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)(unsigned char)c);
    put(out, escaped, (size_t)len);
}

static void put_string(struct out *out, const char *s, size_t len)
{
    size_t from = 0; /* what is not written yet */
    put(out, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')
            continue;
        put(out, s + from, i - from);
        put_escaped(out, s[i]);
        from = i + 1;
    }
    put(out, s + from, len - from);
    put(out, "\"", 1);
}

static void put_value(struct out *out, struct json_object *value);

static void put_list(struct out *out, struct json_object *list)
{
    put(out, "[", 1);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        put(out, ",", i > 0);
        put_value(out, json_object_array_get_idx(list, i));
    }
    put(out, "]", 1);
}

static void put_object(struct out *out, struct json_object *object)
{
    struct json_object_iterator at = json_object_iter_begin(object);
    struct json_object_iterator end = json_object_iter_end(object);
    put(out, "{", 1);
    for (bool more = false; !json_object_iter_equal(&at, &end); more = true) {
        const char *name = json_object_iter_peek_name(&at);
        put(out, ",", more);
        put_string(out, name, strlen(name));
        put(out, ":", 1);
        put_value(out, json_object_iter_peek_value(&at));
        json_object_iter_next(&at);
    }
    put(out, "}", 1);
}

static void put_value(struct out *out, struct json_object *value)
{
    char digits[24];
    switch (json_object_get_type(value)) {
    case json_type_null:
        put_text(out, "null");
        break;
    case json_type_boolean:
        put_text(out, json_object_get_boolean(value) ? "true" : "false");
        break;
    case json_type_int:
        snprintf(digits, sizeof digits, "%" PRId64, json_object_get_int64(value));
        put_text(out, digits);
        break;
    case json_type_double: /* its text, which json_object_new_double_s has kept */
        put_text(out, json_object_get_userdata(value));
        break;
    case json_type_string:
        put_string(out, json_object_get_string(value), (size_t)json_object_get_string_len(value));
        break;
    case json_type_array:
        put_list(out, value);
        break;
    case json_type_object:
        put_object(out, value);
        break;
    }
}

char *json_text(struct json_object *whole, size_t *len)
{
    struct out out = {malloc(TEXT_LEAST), 0, TEXT_LEAST};
    if (!whole || !out.at) {
        free(out.at);
        return NULL;
    }
    put_value(&out, whole);
    put(&out, "", 1);
    *len = out.len - 1;
    return out.at;
}
