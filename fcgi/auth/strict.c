/* SPDX-License-Identifier: MIT
 * JSON that a stranger sent. */
#include "auth/strict.h"

#include <stdlib.h>
#include <string.h>

/* Deep enough for any token, shallow enough for a thread's stack. */
#define DEPTH_MOST 16

/* More than the parser takes for any token that a registry's issuer makes. It reads through
 * the NULL that strdup has given it: so it is looked first whether there is as much. What has
 * just been free most likely is so in a moment. */
#define PARSER_MEMORY ((size_t)32 * 1024)

static bool has_memory(void)
{
    void *volatile probe = malloc(PARSER_MEMORY); /* volatile: else both calls are left out */
    bool there = probe != NULL;
    free(probe);
    return there;
}

/* What a text holds: as written, and as json-c has read it. */
struct tally {
    size_t members; /* of all objects */
    size_t bytes;   /* of all strings, names among them */
};

static void count_read(struct json_object *value, struct tally *tally)
{
    if (json_object_is_type(value, json_type_string)) {
        tally->bytes += (size_t)json_object_get_string_len(value);
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            count_read(json_object_array_get_idx(value, i), tally);
    } else if (json_object_is_type(value, json_type_object)) {
        struct json_object_iterator at = json_object_iter_begin(value);
        struct json_object_iterator end = json_object_iter_end(value);
        for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
            tally->members++;
            tally->bytes += strlen(json_object_iter_peek_name(&at));
            count_read(json_object_iter_peek_value(&at), tally);
        }
    }
}

/* The UTF-16 unit of a \uXXXX at `s`; 0: there is none. */
static unsigned unit_at(const char *s, const char *end)
{
    char digits[5] = "";
    if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
        return 0;
    memcpy(digits, s + 2, 4);
    return (unsigned)strtoul(digits, NULL, 16);
}

/* Passes an escape in a string, and returns how many bytes of UTF-8 it stands for. Half a
 * surrogate pair reads as U+FFFD, which takes three as any other beyond U+07FF does. */
static size_t pass_escape(const char **s, const char *end)
{
    unsigned unit = unit_at(*s, end);
    bool is_hex = end - *s > 1 && (*s)[1] == 'u';
    *s += is_hex ? 6 : 2;
    if (unit < 0x80)
        return 1;
    if (unit < 0x800)
        return 2;
    unsigned next = unit_at(*s, end);
    if (unit < 0xD800 || unit > 0xDBFF || next < 0xDC00 || next > 0xDFFF)
        return 3;
    *s += 6;
    return 4;
}

/* Of a text that json-c has taken. A member has one colon outside strings. json-c takes strings
 * in apostrophes too, even when told to be strict; they are no JSON. */
static bool count_written(const char *text, size_t len, struct tally *tally)
{
    const char *end = text + len;
    bool quoted = false;
    for (const char *s = text; s < end;) {
        if (quoted && *s == '\\') {
            tally->bytes += pass_escape(&s, end);
            continue;
        }
        if (!quoted && *s == '\'')
            return false;
        if (*s == '"')
            quoted = !quoted;
        else
            tally->bytes += quoted;
        tally->members += !quoted && *s == ':';
        s++;
    }
    return true;
}

/* json-c keeps the last of members with one name and says nothing of the others. And where
 * memory runs out, it may leave out a member or a piece of a string, and say nothing either.
 * But then there is less than was written. */
static bool is_whole(const char *text, size_t len, struct json_object *object)
{
    struct tally written = {0};
    struct tally read = {0};
    count_read(object, &read);
    return count_written(text, len, &written) && written.members == read.members &&
           written.bytes == read.bytes;
}

struct json_object *strict_object(const char *text, size_t len)
{
    struct json_object *json = NULL;
    struct json_tokener *tokener = has_memory() ? json_tokener_new_ex(DEPTH_MOST) : NULL;
    if (!tokener)
        return NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    json = json_tokener_parse_ex(tokener, text, (int)len);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        json_tokener_get_parse_end(tokener) != len ||
        !json_object_is_type(json, json_type_object) || !is_whole(text, len, json)) {
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
