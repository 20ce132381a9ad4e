/* SPDX-License-Identifier: MIT
 * The handlers, and how a migration reads as JSON. */
#include "api/migrations.h"

#include "api/progress.h"
#include "base/json.h"
#include "base/text.h"
#include "http/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The contract's word for a failure_error_code. */
static const char *failure_name(int64_t code)
{
    static const char *const names[] = {
        "unknown",       "invalid_bbm_table",        "invalid_bbm_column", "invalid_job_signature",
        "max_job_retry", "invalid_batching_strategy"};
    return code >= 0 && code < 6 ? names[code] : "unknown";
}

static const char *const job_states[] = {
    [JOB_ACTIVE] = "active", [JOB_FINISHED] = "finished", [JOB_FAILED] = "failed"};

/* ---- JSON ---- */

static void add_integer(struct json_object **object, const char *key, int64_t value)
{
    json_add(object, key, json_object_new_int64(value));
}

static void add_string(struct json_object **object, const char *key, const char *value)
{
    json_add(object, key, json_object_new_string(value));
}

/* The text of a column, "" where it is NULL or absent. */
static void add_str_view(struct json_object **object, const char *key, struct str_view span)
{
    json_add(object, key, span.at ? text_json(span.at, span.len) : json_object_new_string(""));
}

/* The number of a column, left out where it is NULL or absent. */
static void add_opt_int64(struct json_object **object, const char *key, struct opt_int64 value)
{
    if (value.given)
        add_integer(object, key, value.value);
}

static void add_time(struct json_object **object, const char *key, struct opt_int64 time)
{
    char text[32];
    if (time.given && text_rfc3339(time.value, text))
        add_string(object, key, text);
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
        add_string(object, "error", failure_name(code.value));
}

static struct json_object *migration_json(const struct migration *m)
{
    struct json_object *object = json_object_new_object();
    add_integer(&object, "id", m->id);
    add_str_view(&object, "name", m->name);
    add_string(&object, "status", store_status_name(m->status));
    add_str_view(&object, "job_signature_name", m->job_signature_name);
    add_str_view(&object, "target_table", m->table_name);
    add_str_view(&object, "target_column", m->column_name);
    add_integer(&object, "batch_size", m->batch_size);
    add_opt_int64(&object, "sub_batch_size", m->sub_batch_size);
    add_integer(&object, "min_value", m->min_value);
    add_integer(&object, "max_value", m->max_value);
    add_str_view(&object, "batching_strategy", m->batching_strategy);
    add_opt_int64(&object, "total_tuple_count", m->total_tuple_count);
    add_failure(&object, m->failure_error_code);
    add_integer(&object, "finished_jobs", m->finished_jobs);
    add_integer(&object, "failed_jobs", m->failed_jobs);
    add_progress(&object, m);
    add_time(&object, "created_at", m->created_at);
    add_time(&object, "updated_at", m->updated_at);
    add_time(&object, "started_at", m->started_at);
    add_time(&object, "finished_at", m->finished_at);
    return object;
}

static struct json_object *job_json(const struct job *job)
{
    struct json_object *object = json_object_new_object();
    bool known = job->status >= JOB_ACTIVE && job->status <= JOB_FAILED;
    add_integer(&object, "id", job->id);
    add_integer(&object, "min_value", job->min_value);
    add_integer(&object, "max_value", job->max_value);
    add_string(&object, "status", known ? job_states[job->status] : "unknown");
    add_integer(&object, "attempts", job->attempts);
    add_failure(&object, job->failure_error_code);
    add_time(&object, "created_at", job->created_at);
    add_time(&object, "updated_at", job->updated_at);
    add_time(&object, "started_at", job->started_at);
    add_time(&object, "finished_at", job->finished_at);
    return object;
}

/* ---- reading ---- */

/* The body for these rows, as JSON's tree. */
static struct json_object *list_json(const struct migrations *migrations)
{
    struct json_object *list = json_object_new_array_ext((int)migrations->count + 1);
    for (size_t i = 0; i < migrations->count; i++)
        json_append(&list, migration_json(&migrations->rows[i]));
    struct json_object *body = json_object_new_object();
    json_add(&body, "migrations", list);
    return body;
}

bool migrations_list(struct call *call)
{
    struct migrations migrations;
    if (!store_migrations(call->store, NULL, call->deadline, &migrations, &call->error))
        return false;
    call->cached_body = list_cache_find(call->list_cache, &migrations);
    if (!call->cached_body) {
        size_t len;
        call->body = list_json(&migrations);
        const char *text = json_text(call->body, &len);
        if (text)
            call->cached_body = list_cache_keep(call->list_cache, &migrations, text, len);
    }
    store_migrations_free(&migrations);
    return true;
}

void migrations_share(const struct call *call, struct call *other)
{
    other->cached_body = cached_body_hold(call->cached_body);
    other->body = json_object_get(call->body);
    other->error = call->error;
    other->error.detail = json_object_get(call->error.detail);
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
    json_add(&call->body, "migration", migration_json(&migrations.rows[0]));
    store_migrations_free(&migrations);
    return true;
}

/* ---- jobs ---- */

#define PAGE_USUAL 100
#define PAGE_MOST  1000

struct page {
    int64_t n;
    struct opt_int64 last;
    struct opt_int64 status;
};

/* A whole number from 1 to `most`; the value stays where the parameter is not given. */
static bool read_number(struct call *call, const char *name, int64_t most, const char *allowed,
                        struct opt_int64 *number)
{
    char value[64];
    char *end;
    if (!query_value(call->query, name, value, sizeof value))
        return true;
    errno = 0;
    long long parsed = strtoll(value, &end, 10);
    size_t digits = strspn(value + (*value == '-'), "0123456789");
    if (digits == 0 || *end)
        return error_parameter_type(&call->error, name, "an integer");
    if (errno == ERANGE || parsed < 1 || parsed > most)
        return error_parameter_value(&call->error, name, allowed);
    *number = (struct opt_int64){true, parsed};
    return true;
}

static bool read_status(struct call *call, struct opt_int64 *status)
{
    char value[64];
    if (!query_value(call->query, "status", value, sizeof value))
        return true;
    for (int64_t i = JOB_ACTIVE; i <= JOB_FAILED; i++) {
        if (strcmp(value, job_states[i]) == 0) {
            *status = (struct opt_int64){true, i};
            return true;
        }
    }
    return error_parameter_value(&call->error, "status", "one of active, finished, failed");
}

static bool read_page(struct call *call, struct page *page)
{
    struct opt_int64 n = {true, PAGE_USUAL};
    *page = (struct page){0};
    if (!read_number(call, "n", PAGE_MOST, "from 1 to 1000", &n) ||
        !read_number(call, "last", INT64_MAX, "a job's id, from 1 to 9223372036854775807",
                     &page->last) ||
        !read_status(call, &page->status))
        return false;
    page->n = n.value;
    return true;
}

/* The Link header of RFC 8288, as the registry's own lists give it. */
static void link_next(struct call *call, const struct page *page, int64_t last)
{
    snprintf(call->link, sizeof call->link, "<%s?n=%" PRId64 "&last=%" PRId64 "%s%s>; rel=\"next\"",
             call->path, page->n, last, page->status.given ? "&status=" : "",
             page->status.given ? job_states[page->status.value] : "");
}

bool migrations_jobs(struct call *call)
{
    struct page page;
    struct jobs jobs;
    if (!read_page(call, &page) ||
        !store_jobs(call->store, call->id, page.last.given ? &page.last.value : NULL,
                    page.status.given ? &page.status.value : NULL, page.n, call->deadline, &jobs,
                    &call->error))
        return false;
    struct json_object *list = json_object_new_array_ext((int)jobs.count + 1);
    for (size_t i = 0; i < jobs.count; i++)
        json_append(&list, job_json(&jobs.rows[i]));
    call->body = json_object_new_object();
    json_add(&call->body, "jobs", list);
    if (jobs.more)
        link_next(call, &page, jobs.last);
    store_jobs_free(&jobs);
    return true;
}

/* ---- actions ---- */

enum kind {
    PAUSE,
    RESUME,
    RESTART,
};

static const struct {
    const char *participle;
    int64_t status; /* that it leads to */
} kinds[] = {
    [PAUSE] = {"paused", MIGRATION_PAUSED},
    [RESUME] = {"resumed", MIGRATION_ACTIVE},
    [RESTART] = {"restarted", MIGRATION_ACTIVE},
};

static bool has_id(const struct change_list *list, int64_t id)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->rows[i].id == id)
            return true;
    }
    return false;
}

/* What was changed, without what somebody else is changing again. */
static struct json_object *changes_json(const struct changes *changes, int64_t status)
{
    struct json_object *list = json_object_new_array_ext((int)changes->done.count + 1);
    for (size_t i = 0; i < changes->done.count; i++) {
        const struct change *change = &changes->done.rows[i];
        if (has_id(&changes->held, change->id))
            continue;
        struct json_object *object = json_object_new_object();
        add_integer(&object, "id", change->id);
        json_add(&object, "name", text_json(change->name, change->name_len));
        add_string(&object, "previous_status", store_status_name(change->previous_status));
        add_string(&object, "status", store_status_name(status));
        json_append(&list, object);
    }
    return list;
}

static struct json_object *held_json(const struct change_list *held)
{
    struct json_object *list = json_object_new_array_ext((int)held->count + 1);
    for (size_t i = 0; i < held->count; i++) {
        struct json_object *object = json_object_new_object();
        add_integer(&object, "id", held->rows[i].id);
        json_add(&object, "name", text_json(held->rows[i].name, held->rows[i].name_len));
        json_append(&list, object);
    }
    return list;
}

/* The answer to an action on one migration, or on all; and its changes for the log. */
static void answer_action(struct call *call, enum kind kind, const struct changes *changes)
{
    char message[96];
    const char *participle = kinds[kind].participle;
    if (call->id)
        snprintf(message, sizeof message, "Background migration %" PRId64 " has been %s", call->id,
                 participle);
    else
        snprintf(message, sizeof message, "All eligible background migrations have been %s",
                 participle);
    call->body = json_object_new_object();
    json_add(&call->body, "success", json_object_new_boolean(true));
    add_string(&call->body, "message", message);
    json_add(&call->body, "migrations", json_object_get(call->changed));
    json_add(&call->body, "job_in_flight", json_object_new_boolean(changes->job_in_flight));
}

/* What an action that was not done in time had done by then, and what not. */
static void detail_unfinished(struct call *call, enum kind kind, const struct changes *changes)
{
    static const char *const undone[] = {
        [PAUSE] = "not_paused", [RESUME] = "not_resumed", [RESTART] = "not_restarted"};
    const char *reason = "the database did not answer";
    if (changes->done.count == 0 && changes->held.count == 0 && !changes->unsettled)
        return;
    if (changes->held.count > 0)
        reason = "some migrations are held by another transaction, such as a worker's run";
    else if (changes->unsettled)
        reason = "a worker that chose its migration before the pause may still set it running";
    struct json_object *detail = json_object_new_object();
    /* One that is there already says that the outcome of the last step is not known. */
    json_add(&detail, "reason",
             call->error.has_detail ? json_object_get(call->error.detail)
                                    : json_object_new_string(reason));
    json_add(&detail, "migrations", json_object_get(call->changed));
    json_add(&detail, undone[kind], held_json(&changes->held));
    json_add(&detail, "job_in_flight", json_object_new_boolean(changes->job_in_flight));
    error_set_detail(&call->error, detail);
}

static bool run_action(struct call *call, enum kind kind)
{
    struct changes changes;
    const int64_t *id = call->id ? &call->id : NULL;
    bool good = false;
    switch (kind) {
    case PAUSE:
        good = store_pause(call->store, id, call->deadline, &changes, &call->error);
        break;
    case RESUME:
        good = store_resume(call->store, id, call->deadline, &changes, &call->error);
        break;
    case RESTART:
        good = store_restart(call->store, call->id, call->deadline, &changes, &call->error);
        break;
    }
    call->changed = changes_json(&changes, kinds[kind].status);
    if (good)
        answer_action(call, kind, &changes);
    else if (call->error.status == 503)
        detail_unfinished(call, kind, &changes);
    store_changes_free(&changes);
    return good;
}

bool migrations_pause(struct call *call)
{
    return run_action(call, PAUSE);
}

bool migrations_resume(struct call *call)
{
    return run_action(call, RESUME);
}

bool migrations_restart(struct call *call)
{
    return run_action(call, RESTART);
}
