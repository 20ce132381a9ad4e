/* SPDX-License-Identifier: MIT
 * JSON that a stranger sent. */
#include "strict.h"

#include <string.h>

/* Deep enough for any token, shallow enough for a thread's stack. */
#define DEPTH_MOST 16

/* The members of all objects in `value`. */
static size_t count_members(struct json_object *value)
{
    size_t count = 0;
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            count += count_members(json_object_array_get_idx(value, i));
    } else if (json_object_is_type(value, json_type_object)) {
        struct json_object_iterator at = json_object_iter_begin(value);
        struct json_object_iterator end = json_object_iter_end(value);
        for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
            count += 1 + count_members(json_object_iter_peek_value(&at));
    }
    return count;
}

/* The members as written: each has one colon outside strings. json-c takes strings in
 * apostrophes too, even when told to be strict; they are no JSON. */
static bool count_written(const char *text, size_t len, size_t *count)
{
    bool quoted = false;
    *count = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            quoted = !quoted;
        else if (quoted && text[i] == '\\')
            i++;
        else if (!quoted && text[i] == ':')
            ++*count;
        else if (!quoted && text[i] == '\'')
            return false;
    }
    return true;
}

/* json-c keeps the last of members with one name and says nothing of the others, but
 * then fewer are there than were written. */
static bool names_are_unique(const char *text, size_t len, struct json_object *object)
{
    size_t written;
    return count_written(text, len, &written) && written == count_members(object);
}

struct json_object *strict_object(const char *text, size_t len)
{
    struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MOST);
    struct json_object *json = NULL;
    if (!tokener)
        return NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    json = json_tokener_parse_ex(tokener, text, (int)len);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        json_tokener_get_parse_end(tokener) != len ||
        !json_object_is_type(json, json_type_object) || !names_are_unique(text, len, json)) {
        json_object_put(json);
        json = NULL;
    }
    json_tokener_free(tokener);
    return json;
}

const char *strict_text(struct json_object *value)
{
    if (!json_object_is_type(value, json_type_string))
        return NULL;
    const char *s = json_object_get_string(value);
    return strlen(s) == (size_t)json_object_get_string_len(value) ? s : NULL;
}

const char *strict_string(struct json_object *object, const char *name)
{
    struct json_object *value;
    return json_object_object_get_ex(object, name, &value) ? strict_text(value) : NULL;
}

bool strict_has(struct json_object *object, const char *name)
{
    return json_object_object_get_ex(object, name, NULL);
}

bool strict_is(struct json_object *value, const char *text)
{
    const char *s = strict_text(value);
    return s && strcmp(s, text) == 0;
}

int strict_integer(struct json_object *object, const char *name, int64_t *value)
{
    struct json_object *member;
    if (!json_object_object_get_ex(object, name, &member))
        return 0;
    if (!json_object_is_type(member, json_type_int))
        return -1;
    *value = json_object_get_int64(member);
    /* json-c clamps what does not fit. */
    return json_object_get_uint64(member) > INT64_MAX || *value == INT64_MIN ? -1 : 1;
}
