/* SPDX-License-Identifier: MIT
 * The parameters of a query or of a body. */
#include "http/params.h"

#include "base/buffer.h"
#include "base/json_input.h"
#include "base/text.h"
#include "store/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_USUAL  100
#define REASON_MOST 500

/* Bytes of the names of all parameters, with commas between. */
#define NAMES_SIZE 128

enum verdict {
    GOOD,
    WRONG_TYPE,
    WRONG_VALUE,
    NO_MEMORY,
};

/* ---- one value each ---- */

static enum verdict read_number(const char *text, int64_t most, int64_t *number)
{
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    size_t digits = strspn(text + (*text == '-'), "0123456789");
    if (digits == 0 || *end)
        return WRONG_TYPE;
    if (errno == ERANGE || parsed < 1 || parsed > most)
        return WRONG_VALUE;
    *number = parsed;
    return GOOD;
}

static enum verdict read_n(struct params *params, const char *text)
{
    return read_number(text, JOBS_PAGE_MAX, &params->n);
}

static enum verdict read_id(struct opt_int64 *id, const char *text)
{
    enum verdict verdict = read_number(text, INT64_MAX, &id->value);
    id->given = verdict == GOOD;
    return verdict;
}

static enum verdict read_last(struct params *params, const char *text)
{
    return read_id(&params->last, text);
}

static enum verdict read_action_id(struct params *params, const char *text)
{
    return read_id(&params->action_id, text);
}

static enum verdict read_states(struct params *params, const char *text)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        unsigned bit = 0;
        for (int64_t i = MIGRATION_PAUSED; i <= MIGRATION_RUNNING; i++) {
            const char *name = store_status_name(i);
            if (strlen(name) == len && memcmp(name, text, len) == 0)
                bit = 1U << i;
        }
        if (!bit)
            return WRONG_VALUE;
        params->states |= bit;
        if (!text[len])
            return GOOD;
        text += len + 1;
    }
}

static enum verdict read_job_status(struct params *params, const char *text)
{
    for (int64_t i = JOB_ACTIVE; i <= JOB_FAILED; i++) {
        if (strcmp(store_job_status_name(i), text) == 0)
            params->status = (struct opt_int64){true, i};
    }
    return params->status.given ? GOOD : WRONG_VALUE;
}

/* Unicode's control characters (general category Cc). */
static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point < 0xA0);
}

static enum verdict read_reason(struct params *params, const char *text)
{
    size_t len = strlen(text);
    size_t count = 0;
    if (!text_is_utf8(text, len))
        return WRONG_VALUE;
    for (size_t at = 0; at < len; count++) {
        uint32_t point;
        at += text_decode((const unsigned char *)text + at, len - at, &point);
        if (is_control(point))
            return WRONG_VALUE;
    }
    if (count == 0 || count > REASON_MOST)
        return WRONG_VALUE;
    params->reason = strdup(text);
    return params->reason ? GOOD : NO_MEMORY;
}

static enum verdict read_dry_run(struct params *params, const char *text)
{
    params->dry_run = strcmp(text, "true") == 0;
    return params->dry_run || strcmp(text, "false") == 0 ? GOOD : WRONG_VALUE;
}

static const struct {
    const char *name;
    json_type type; /* in a body; JSON_TRUE stands for false, too */
    enum verdict (*read)(struct params *params, const char *text);
    const char *kind;    /* what the value must be */
    const char *allowed; /* and which of these are allowed */
} table[PARAM_COUNT] = {
    [PARAM_N] = {"n", JSON_INTEGER, read_n, "an integer", "from 1 to 1000"},
    [PARAM_LAST_JOB] = {"last", JSON_INTEGER, read_last, "an integer",
                        "a job's id, from 1 to 9223372036854775807"},
    [PARAM_LAST_ACTION] = {"last", JSON_INTEGER, read_last, "an integer",
                           "an action's id, from 1 to 9223372036854775807"},
    [PARAM_STATES] = {"status", JSON_STRING, read_states, "a string",
                      "one or several of paused, active, finished, failed, running, with a comma "
                      "between"},
    [PARAM_JOB_STATUS] = {"status", JSON_STRING, read_job_status, "a string",
                          "one of active, finished, failed"},
    [PARAM_REASON] = {"reason", JSON_STRING, read_reason, "a string",
                      "1 to 500 characters of UTF-8 without control characters"},
    [PARAM_DRY_RUN] = {"dry_run", JSON_TRUE, read_dry_run, "a boolean", "true or false"},
    [PARAM_ACTION_ID] = {"action_id", JSON_INTEGER, read_action_id, "an integer",
                         "an action's id, from 1 to 9223372036854775807"},
};

/* ---- what both sources share ---- */

/* The parameter of this name in the set; PARAM_COUNT: none. */
static enum param find(unsigned allowed, const char *name)
{
    for (int i = 0; i < PARAM_COUNT; i++) {
        if (allowed & PARAM(i) && strcmp(table[i].name, name) == 0)
            return (enum param)i;
    }
    return PARAM_COUNT;
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
        buffer_string(&names, table[i].name);
    }
    return names.len > 0 ? buffer_text(&names) : "none";
}

static bool out_of_memory(struct error *error)
{
    return error_unavailable(error, "out of memory");
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
    enum param param = find(allowed, name);
    if (param == PARAM_COUNT)
        return refuse_name(allowed, name, error);
    if (params->given & PARAM(param))
        return error_parameter_name(error,
                                    "the '%s' query parameter is given twice; allowed here, "
                                    "once each: %s",
                                    name, names_of(allowed, names));
    params->given |= PARAM(param);
    switch (table[param].read(params, value)) {
    case WRONG_TYPE:
        return error_parameter_type(error, name, table[param].kind);
    case WRONG_VALUE:
        return error_parameter_value(error, name, table[param].allowed);
    case NO_MEMORY:
        return out_of_memory(error);
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
        return out_of_memory(error);
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

/* The value as the query would write it; NULL: of another type. `number` takes 24 bytes. */
static const char *text_of(const json_t *value, json_type type, char *number)
{
    if (type == JSON_TRUE && json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    if (type == JSON_STRING && json_is_string(value))
        return json_string_value(value);
    if (type != JSON_INTEGER || !json_is_integer(value))
        return NULL;
    snprintf(number, 24, "%lld", (long long)json_integer_value(value));
    return number;
}

static bool read_member(struct params *params, enum param param, const json_t *value,
                        struct error *error)
{
    const char *name = table[param].name;
    char number[24];
    if (params->given & PARAM(param))
        return error_invalid_body(error, "'%s' is given in the query, too", name);
    params->given |= PARAM(param);
    const char *text = text_of(value, table[param].type, number);
    switch (text ? table[param].read(params, text) : WRONG_TYPE) {
    case WRONG_TYPE:
        return error_invalid_body(error, "the member '%s' must be %s", name, table[param].kind);
    case WRONG_VALUE:
        return error_invalid_body(error, "the member '%s' must be %s", name, table[param].allowed);
    case NO_MEMORY:
        return out_of_memory(error);
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
        const json_t *member = allowed & PARAM(i) ? json_input_member(object, table[i].name) : NULL;
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
        out_of_memory(error);
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
