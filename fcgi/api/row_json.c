/* SPDX-License-Identifier: MIT
 * Migrations and jobs as JSON. */
#include "api/row_json.h"

#include "api/progress.h"
#include "base/json.h"
#include "base/text.h"

const char *row_json_error_name(int64_t code)
{
    static const char *const names[] = {
        [FAILURE_UNKNOWN] = "unknown",           [FAILURE_TABLE] = "invalid_bbm_table",
        [FAILURE_COLUMN] = "invalid_bbm_column", [FAILURE_SIGNATURE] = "invalid_job_signature",
        [FAILURE_ATTEMPTS] = "max_job_retry",    [FAILURE_STRATEGY] = "invalid_batching_strategy"};
    return code >= FAILURE_UNKNOWN && code <= FAILURE_STRATEGY ? names[code] : "unknown";
}

/* The text of a column, "" where it is NULL or absent. */
void row_json_add_text(struct json_object **object, const char *key, struct str_view text)
{
    json_add(object, key, text.at ? text_json(text.at, text.len) : json_object_new_string(""));
}

/* The number of a column, left out where it is NULL or absent. */
static void add_opt_int64(struct json_object **object, const char *key, struct opt_int64 value)
{
    if (value.given)
        json_add_int64(object, key, value.value);
}

void row_json_add_time(struct json_object **object, const char *key, struct opt_int64 time)
{
    char text[32];
    if (time.given && text_rfc3339(time.value, text))
        json_add_string(object, key, text);
}

static void add_progress(struct json_object **object, const struct migration *migration)
{
    struct progress progress = progress_of(migration);
    if (!progress.known)
        return;
    json_add(object, "progress", text_json_number(progress.percent));
    json_add(object, "capped", json_object_new_boolean(progress.capped));
    add_opt_int64(object, "estimated_seconds_remaining", progress_seconds_remaining(migration));
}

static void add_failure(struct json_object **object, struct opt_int64 code)
{
    add_opt_int64(object, "error_code", code);
    if (code.given)
        json_add_string(object, "error", row_json_error_name(code.value));
}

static void add_pause(struct json_object **object, const struct migration *m)
{
    row_json_add_time(object, "paused_at", m->paused_at);
    if (m->paused_by.at)
        row_json_add_text(object, "paused_by", m->paused_by);
    if (m->pause_reason.at)
        row_json_add_text(object, "pause_reason", m->pause_reason);
}

struct json_object *row_json_migration(const struct migration *m)
{
    struct json_object *object = json_object_new_object();
    json_add_int64(&object, "id", m->id);
    row_json_add_text(&object, "name", m->name);
    json_add_string(&object, "status", store_status_name(m->status));
    row_json_add_text(&object, "job_signature_name", m->job_signature_name);
    row_json_add_text(&object, "target_table", m->table_name);
    row_json_add_text(&object, "target_column", m->column_name);
    json_add_int64(&object, "batch_size", m->batch_size);
    add_opt_int64(&object, "sub_batch_size", m->sub_batch_size);
    json_add_int64(&object, "min_value", m->min_value);
    json_add_int64(&object, "max_value", m->max_value);
    row_json_add_text(&object, "batching_strategy", m->batching_strategy);
    add_opt_int64(&object, "total_tuple_count", m->total_tuple_count);
    add_failure(&object, m->failure_error_code);
    json_add_int64(&object, "finished_jobs", m->finished_jobs);
    json_add_int64(&object, "failed_jobs", m->failed_jobs);
    add_progress(&object, m);
    row_json_add_time(&object, "created_at", m->created_at);
    row_json_add_time(&object, "updated_at", m->updated_at);
    row_json_add_time(&object, "started_at", m->started_at);
    row_json_add_time(&object, "finished_at", m->finished_at);
    row_json_add_time(&object, "in_flight_since", m->in_flight_since);
    add_pause(&object, m);
    return object;
}

struct json_object *row_json_job(const struct job *job)
{
    struct json_object *object = json_object_new_object();
    json_add_int64(&object, "id", job->id);
    json_add_int64(&object, "min_value", job->min_value);
    json_add_int64(&object, "max_value", job->max_value);
    json_add_string(&object, "status", store_job_status_name(job->status));
    json_add_int64(&object, "attempts", job->attempts);
    add_opt_int64(&object, "error_code", job->failure_error_code);
    /* A job that finishes on a retry keeps the code of the try that failed. */
    if (job->failure_error_code.given && job->status != JOB_FINISHED)
        json_add_string(&object, "error", row_json_error_name(job->failure_error_code.value));
    row_json_add_time(&object, "created_at", job->created_at);
    row_json_add_time(&object, "updated_at", job->updated_at);
    row_json_add_time(&object, "started_at", job->started_at);
    row_json_add_time(&object, "finished_at", job->finished_at);
    return object;
}
