/* SPDX-License-Identifier: MIT
 * One value each: how it is read, and what is allowed, in words. A new parameter is a row here. */
#include "http/params_private.h"

#include "base/buffer.h"
#include "base/text.h"
#include "store/jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MOST 500

/* ---- one value each ---- */

static enum params_verdict read_number(const char *text, int64_t most, int64_t *number)
{
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    size_t digits = strspn(text + (*text == '-'), "0123456789");
    if (digits == 0 || *end)
        return PARAMS_WRONG_TYPE;
    if (errno == ERANGE || parsed < 1 || parsed > most)
        return PARAMS_WRONG_VALUE;
    *number = parsed;
    return PARAMS_GOOD;
}

static enum params_verdict read_n(struct params *params, const char *text)
{
    return read_number(text, JOBS_PAGE_MAX, &params->n);
}

static enum params_verdict read_id(struct opt_int64 *id, const char *text)
{
    enum params_verdict verdict = read_number(text, INT64_MAX, &id->value);
    id->given = verdict == PARAMS_GOOD;
    return verdict;
}

static enum params_verdict read_last(struct params *params, const char *text)
{
    return read_id(&params->last, text);
}

static enum params_verdict read_action_id(struct params *params, const char *text)
{
    return read_id(&params->action_id, text);
}

static enum params_verdict read_states(struct params *params, const char *text)
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
            return PARAMS_WRONG_VALUE;
        params->states |= bit;
        if (!text[len])
            return PARAMS_GOOD;
        text += len + 1;
    }
}

static enum params_verdict read_job_status(struct params *params, const char *text)
{
    for (int64_t i = JOB_ACTIVE; i <= JOB_FAILED; i++) {
        if (strcmp(store_job_status_name(i), text) == 0)
            params->status = (struct opt_int64){true, i};
    }
    return params->status.given ? PARAMS_GOOD : PARAMS_WRONG_VALUE;
}

/* Unicode's control characters (general category Cc). */
static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point < 0xA0);
}

static enum params_verdict read_reason(struct params *params, const char *text)
{
    size_t len = strlen(text);
    size_t count = 0;
    if (!text_is_utf8(text, len))
        return PARAMS_WRONG_VALUE;
    for (size_t at = 0; at < len; count++) {
        uint32_t point;
        at += text_decode((const unsigned char *)text + at, len - at, &point);
        if (is_control(point))
            return PARAMS_WRONG_VALUE;
    }
    if (count == 0 || count > REASON_MOST)
        return PARAMS_WRONG_VALUE;
    params->reason = strdup(text);
    return params->reason ? PARAMS_GOOD : PARAMS_NO_MEMORY;
}

static enum params_verdict read_dry_run(struct params *params, const char *text)
{
    params->dry_run = strcmp(text, "true") == 0;
    return params->dry_run || strcmp(text, "false") == 0 ? PARAMS_GOOD : PARAMS_WRONG_VALUE;
}

/* ---- what is allowed, in words ---- */

static void allow_n(struct buffer *out)
{
    buffer_format(out, "from 1 to %d", (int)JOBS_PAGE_MAX);
}

static void allow_job(struct buffer *out)
{
    buffer_format(out, "a job's id, from 1 to %" PRId64, INT64_MAX);
}

static void allow_action(struct buffer *out)
{
    buffer_format(out, "an action's id, from 1 to %" PRId64, INT64_MAX);
}

/* Adds the names from `first` to `last`, with a comma between. */
static void add_names(struct buffer *out, const char *(*name)(int64_t), int64_t first, int64_t last)
{
    for (int64_t i = first; i <= last; i++) {
        if (i > first)
            buffer_string(out, ", ");
        buffer_string(out, name(i));
    }
}

static void allow_states(struct buffer *out)
{
    buffer_string(out, "one or several of ");
    add_names(out, store_status_name, MIGRATION_PAUSED, MIGRATION_RUNNING);
    buffer_string(out, ", with a comma between");
}

static void allow_job_status(struct buffer *out)
{
    buffer_string(out, "one of ");
    add_names(out, store_job_status_name, JOB_ACTIVE, JOB_FAILED);
}

static void allow_reason(struct buffer *out)
{
    buffer_format(out, "1 to %d characters of UTF-8 without control characters", REASON_MOST);
}

static void allow_boolean(struct buffer *out)
{
    buffer_string(out, "true or false");
}

/* ---- the table ---- */

const struct param_kind params_table[PARAM_COUNT] = {
    [PARAM_N] = {"n", JSON_INTEGER, read_n, "an integer", allow_n},
    [PARAM_LAST_JOB] = {"last", JSON_INTEGER, read_last, "an integer", allow_job},
    [PARAM_LAST_ACTION] = {"last", JSON_INTEGER, read_last, "an integer", allow_action},
    [PARAM_STATES] = {"status", JSON_STRING, read_states, "a string", allow_states},
    [PARAM_JOB_STATUS] = {"status", JSON_STRING, read_job_status, "a string", allow_job_status},
    [PARAM_REASON] = {"reason", JSON_STRING, read_reason, "a string", allow_reason},
    [PARAM_DRY_RUN] = {"dry_run", JSON_TRUE, read_dry_run, "a boolean", allow_boolean},
    [PARAM_ACTION_ID] = {"action_id", JSON_INTEGER, read_action_id, "an integer", allow_action},
};
