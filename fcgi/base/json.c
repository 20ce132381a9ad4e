/* SPDX-License-Identifier: MIT
 * JSON, whole or not at all. */
#include "base/json.h"

#include <errno.h>
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

void json_add_int64(struct json_object **whole, const char *key, int64_t value)
{
    json_add(whole, key, json_object_new_int64(value));
}

void json_add_string(struct json_object **whole, const char *key, const char *value)
{
    json_add(whole, key, json_object_new_string(value));
}

void json_append(struct json_object **whole, struct json_object *part)
{
    if (!*whole || !part || json_object_array_add(*whole, part))
        give_up(whole, part);
}

struct json_object *json_flat(struct json_object *whole)
{
    size_t len;
    const char *text = json_text(whole, &len);
    struct json_object *flat = text ? json_object_new_boolean(0) : NULL;
    char *copy = flat ? strdup(text) : NULL;
    json_object_put(whole);
    if (!copy) {
        json_object_put(flat);
        return NULL;
    }
    json_object_set_serializer(flat, json_object_userdata_to_json_string, copy,
                               json_object_free_userdata);
    return flat;
}

const char *json_text(struct json_object *whole, size_t *len)
{
    if (!whole)
        return NULL;
    errno = 0;
    const char *text = json_object_to_json_string_length(
        whole, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, len);
    return errno == ENOMEM ? NULL : text;
}
