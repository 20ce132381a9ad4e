/* SPDX-License-Identifier: MIT
 * The parameters of a query or of a body. */
#include "http/params.h"

#include "base/buffer.h"
#include "base/json_input.h"
#include "base/text.h"
#include "http/params_private.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_USUAL 100

/* Bytes of the names of all parameters, with commas between. */
#define NAMES_SIZE 128

/* Bytes of what a parameter allows. */
#define ALLOWED_SIZE 128

/* ---- what both sources share ---- */

/* The parameter of this name in the set; PARAM_COUNT: none. */
static enum param find(unsigned allowed, const char *name)
{
    for (int i = 0; i < PARAM_COUNT; i++) {
        if (allowed & PARAM(i) && strcmp(params_table[i].name, name) == 0)
            return (enum param)i;
    }
    return PARAM_COUNT;
}

/* What the parameter allows; `out` takes ALLOWED_SIZE bytes. */
static const char *allowed_text(enum param param, char *out)
{
    struct buffer allowed = buffer_fixed(out, ALLOWED_SIZE);
    params_table[param].allow(&allowed);
    return buffer_text(&allowed);
}

/* The names of the set, with a comma between; `out` takes NAMES_SIZE bytes. */
static const char *names_of(unsigned allowed, char *out)
{
    struct buffer names = buffer_fixed(out, NAMES_SIZE);
    for (int i = 0; i < PARAM_COUNT; i++) {
        if (!(allowed & PARAM(i)))
            continue;
        if (names.len > 0)
            buffer_string(&names, ", ");
        buffer_string(&names, params_table[i].name);
    }
    return names.len > 0 ? buffer_text(&names) : "none";
}

/* ---- the query ---- */

/* The value of a hexadecimal digit; -1: none. */
static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes `len` bytes into `out`, which takes as many and a zero. A zero byte among them
 * becomes a control character, which no name and no value has. */
static void decode(const char *s, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        int c = s[i] == '+' ? ' ' : (unsigned char)s[i];
        if (c == '%' && i + 2 < len && hex_of(s[i + 1]) >= 0 && hex_of(s[i + 2]) >= 0) {
            c = hex_of(s[i + 1]) * 16 + hex_of(s[i + 2]);
            i += 2;
        }
        *out++ = (char)(c ? c : '\1');
    }
    *out = '\0';
}

static bool refuse_name(unsigned allowed, const char *name, struct error *error)
{
    char names[NAMES_SIZE];
    return error_parameter_name(error, "the '%.64s' query parameter is unknown; allowed here: %s",
                                name, names_of(allowed, names));
}

/* One piece of the query, decoded. */
static bool read_pair(struct params *params, unsigned allowed, const char *name, const char *value,
                      struct error *error)
{
    char names[NAMES_SIZE];
    char values[ALLOWED_SIZE];
    enum param param = find(allowed, name);
    if (param == PARAM_COUNT)
        return refuse_name(allowed, name, error);
    if (params->given & PARAM(param))
        return error_parameter_name(error,
                                    "the '%s' query parameter is given twice; allowed here, "
                                    "once each: %s",
                                    name, names_of(allowed, names));
    params->given |= PARAM(param);
    switch (params_table[param].read(params, value)) {
    case PARAMS_WRONG_TYPE:
        return error_parameter_type(error, name, params_table[param].kind);
    case PARAMS_WRONG_VALUE:
        return error_parameter_value(error, name, allowed_text(param, values));
    case PARAMS_NO_MEMORY:
        return error_out_of_memory(error);
    default:
        return true;
    }
}

bool params_read_query(struct params *params, unsigned allowed, const char *query,
                       struct error *error)
{
    size_t room = strlen(query) + 2;
    *params = (struct params){.n = PAGE_USUAL};
    if (!*query)
        return true;
    char *text = malloc(room);
    bool good = true;
    if (!text)
        return error_out_of_memory(error);
    while (good && *query) {
        size_t len = strcspn(query, "&");
        size_t name_len = strcspn(query, "=&");
        if (len > 0) {
            size_t start = name_len + (name_len < len);
            char *value = text + name_len + 1;
            decode(query, name_len, text);
            decode(query + start, len - start, value);
            good = read_pair(params, allowed, text, value, error);
        }
        query += len + (query[len] == '&');
    }
    free(text);
    return good;
}

/* ---- the body ---- */

/* The value as the query would write it; NULL: of another type. `number` takes TEXT_INTEGER_SIZE
 * bytes. */
static const char *text_of(const json_t *value, json_type type, char *number)
{
    if (type == JSON_TRUE && json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    if (type == JSON_STRING && json_is_string(value))
        return json_string_value(value);
    if (type != JSON_INTEGER || !json_is_integer(value))
        return NULL;
    text_integer(json_integer_value(value), number);
    return number;
}

static bool read_member(struct params *params, enum param param, const json_t *value,
                        struct error *error)
{
    const char *name = params_table[param].name;
    char number[TEXT_INTEGER_SIZE];
    char values[ALLOWED_SIZE];
    if (params->given & PARAM(param))
        return error_invalid_body(error, "'%s' is given in the query, too", name);
    params->given |= PARAM(param);
    params->in_body |= PARAM(param);
    const char *text = text_of(value, params_table[param].type, number);
    switch (text ? params_table[param].read(params, text) : PARAMS_WRONG_TYPE) {
    case PARAMS_WRONG_TYPE:
        return error_invalid_body(error, "the member '%s' must be %s", name,
                                  params_table[param].kind);
    case PARAMS_WRONG_VALUE:
        return error_invalid_body(error, "the member '%s' must be %s", name,
                                  allowed_text(param, values));
    case PARAMS_NO_MEMORY:
        return error_out_of_memory(error);
    default:
        return true;
    }
}

static bool read_object(struct params *params, unsigned allowed, const json_t *object,
                        struct error *error)
{
    char names[NAMES_SIZE];
    size_t found = 0;
    for (int i = 0; i < PARAM_COUNT; i++) {
        const json_t *member =
            allowed & PARAM(i) ? json_input_member(object, params_table[i].name) : NULL;
        if (!member)
            continue;
        found++;
        if (!read_member(params, (enum param)i, member, error))
            return false;
    }
    return found == json_object_size(object) ||
           error_invalid_body(error, "the body has an unknown member; allowed here: %s",
                              names_of(allowed, names));
}

bool params_read_body(struct params *params, unsigned allowed, const char *body, size_t len,
                      struct error *error)
{
    char names[NAMES_SIZE];
    if (len == 0)
        return true;
    struct json_input input = {0};
    const json_t *object;
    bool good = false;
    switch (json_input_read(&input, body, len, &object)) {
    case JSON_INPUT_GOOD:
        good = read_object(params, allowed, object, error);
        break;
    case JSON_INPUT_OUT_OF_MEMORY:
        error_out_of_memory(error);
        break;
    default:
        error_invalid_body(error,
                           "the body must be empty or one JSON object, no member twice; "
                           "allowed members: %s",
                           names_of(allowed, names));
    }
    json_input_free(&input);
    return good;
}

void params_free(struct params *params)
{
    free(params->reason);
    params->reason = NULL;
}
