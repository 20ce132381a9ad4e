/* SPDX-License-Identifier: MIT
 * The handlers, and how a migration reads as JSON. */
#include "migrations.h"

#include "progress.h"
#include "text.h"

#include <stdio.h>

/* Keys are literals and never added twice: json-c need neither copy nor look for them. */
#define NEW_KEY (JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY)

const char *migrations_status_name(int64_t status)
{
    static const char *const names[] = {"paused", "active", "finished", "failed", "running"};
    return status >= 0 && status < 5 ? names[status] : "unknown";
}

const char *migrations_error_name(int64_t code)
{
    static const char *const names[] = {
        "unknown",       "invalid_bbm_table",        "invalid_bbm_column", "invalid_job_signature",
        "max_job_retry", "invalid_batching_strategy"};
    return code >= 0 && code < 6 ? names[code] : "unknown";
}

/* ---- JSON ---- */

static void add(struct json_object *object, const char *key, struct json_object *value)
{
    json_object_object_add_ex(object, key, value, NEW_KEY);
}

static void add_integer(struct json_object *object, const char *key, int64_t value)
{
    add(object, key, json_object_new_int64(value));
}

static void add_string(struct json_object *object, const char *key, const char *value)
{
    add(object, key, json_object_new_string(value));
}

/* The text of a column, "" where it is NULL or absent. */
static void add_span(struct json_object *object, const char *key, struct span span)
{
    add(object, key, span.at ? text_json(span.at, span.len) : json_object_new_string(""));
}

/* The number of a column, left out where it is NULL or absent. */
static void add_maybe(struct json_object *object, const char *key, struct maybe value)
{
    if (value.given)
        add_integer(object, key, value.value);
}

static void add_time(struct json_object *object, const char *key, struct maybe time)
{
    char text[32];
    if (time.given && text_rfc3339(time.value, text))
        add_string(object, key, text);
}

static void add_progress(struct json_object *object, const struct migration *migration)
{
    struct progress progress = progress_of(migration);
    if (!progress.known)
        return;
    add(object, "progress", text_json_number(progress.percent));
    add(object, "capped", json_object_new_boolean(progress.capped));
}

static struct json_object *migration_json(const struct migration *m)
{
    struct json_object *object = json_object_new_object();
    add_integer(object, "id", m->id);
    add_span(object, "name", m->name);
    add_string(object, "status", migrations_status_name(m->status));
    add_span(object, "job_signature_name", m->job_signature_name);
    add_span(object, "target_table", m->table_name);
    add_span(object, "target_column", m->column_name);
    add_integer(object, "batch_size", m->batch_size);
    add_maybe(object, "sub_batch_size", m->sub_batch_size);
    add_integer(object, "min_value", m->min_value);
    add_integer(object, "max_value", m->max_value);
    add_span(object, "batching_strategy", m->batching_strategy);
    add_maybe(object, "total_tuple_count", m->total_tuple_count);
    add_maybe(object, "error_code", m->failure_error_code);
    if (m->failure_error_code.given)
        add_string(object, "error", migrations_error_name(m->failure_error_code.value));
    add_integer(object, "finished_jobs", m->finished_jobs);
    add_integer(object, "failed_jobs", m->failed_jobs);
    add_progress(object, m);
    add_time(object, "created_at", m->created_at);
    add_time(object, "updated_at", m->updated_at);
    add_time(object, "started_at", m->started_at);
    add_time(object, "finished_at", m->finished_at);
    return object;
}

static struct json_object *change_json(const struct change *change)
{
    struct json_object *object = json_object_new_object();
    add_integer(object, "id", change->id);
    add_span(object, "name", change->name);
    add_string(object, "previous_status", migrations_status_name(change->previous_status));
    add_string(object, "status", migrations_status_name(change->status));
    return object;
}

/* ---- reading ---- */

bool migrations_list(struct call *call)
{
    struct migrations migrations;
    if (!store_migrations(call->store, NULL, call->deadline, &migrations, &call->error))
        return false;
    struct json_object *list = json_object_new_array_ext((int)migrations.count + 1);
    for (size_t i = 0; i < migrations.count; i++)
        json_object_array_add(list, migration_json(&migrations.rows[i]));
    store_migrations_free(&migrations);
    call->body = json_object_new_object();
    add(call->body, "migrations", list);
    return true;
}

bool migrations_one(struct call *call)
{
    struct migrations migrations;
    if (!store_migrations(call->store, &call->id, call->deadline, &migrations, &call->error))
        return false;
    if (migrations.count == 0) {
        store_migrations_free(&migrations);
        return error_id_not_found(&call->error, call->id);
    }
    call->body = json_object_new_object();
    add(call->body, "migration", migration_json(&migrations.rows[0]));
    store_migrations_free(&migrations);
    return true;
}

/* ---- actions ---- */

/* The answer to an action, and the same list of changes for the log. */
static void answer_action(struct call *call, const char *message, const struct changes *changes)
{
    struct json_object *list = json_object_new_array_ext((int)changes->count + 1);
    for (size_t i = 0; i < changes->count; i++)
        json_object_array_add(list, change_json(&changes->rows[i]));
    call->body = json_object_new_object();
    add(call->body, "success", json_object_new_boolean(true));
    add_string(call->body, "message", message);
    add(call->body, "migrations", list);
    add(call->body, "job_in_flight", json_object_new_boolean(changes->job_in_flight));
    call->changed = json_object_get(list);
}

bool migrations_pause(struct call *call)
{
    struct changes changes;
    if (!store_pause(call->store, call->deadline, &changes, &call->error))
        return false;
    answer_action(call, "All eligible background migrations have been paused", &changes);
    store_changes_free(&changes);
    return true;
}

bool migrations_resume(struct call *call)
{
    struct changes changes;
    if (!store_resume(call->store, call->deadline, &changes, &call->error))
        return false;
    answer_action(call, "All eligible background migrations have been resumed", &changes);
    store_changes_free(&changes);
    return true;
}
