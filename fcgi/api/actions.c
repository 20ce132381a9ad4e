/* SPDX-License-Identifier: MIT
 * Pause, resume and restart: what was done, and what not. */
#include "api/actions.h"

#include "base/json.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *participle;
    const char *undone; /* the member that lists what was not done */
    int64_t status;     /* that it leads to */
} kinds[] = {
    [ACTION_PAUSE] = {"paused", "not_paused", MIGRATION_PAUSED},
    [ACTION_RESUME] = {"resumed", "not_resumed", MIGRATION_ACTIVE},
    [ACTION_RESTART] = {"restarted", "not_restarted", MIGRATION_ACTIVE},
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
        json_add_int64(&object, "id", change->id);
        json_add(&object, "name", text_json(change->name, change->name_len));
        json_add_string(&object, "previous_status", store_status_name(change->previous_status));
        json_add_string(&object, "status", store_status_name(status));
        json_append(&list, object);
    }
    return list;
}

static struct json_object *held_json(const struct change_list *held)
{
    struct json_object *list = json_object_new_array_ext((int)held->count + 1);
    for (size_t i = 0; i < held->count; i++) {
        struct json_object *object = json_object_new_object();
        json_add_int64(&object, "id", held->rows[i].id);
        json_add(&object, "name", text_json(held->rows[i].name, held->rows[i].name_len));
        json_append(&list, object);
    }
    return list;
}

/* The registry's messages (contract, section 2), and ours for one that had no need of it. */
static void write_message(const struct call *call, enum action_kind kind,
                          const struct changes *changes, char *out, size_t size)
{
    const char *participle = kinds[kind].participle;
    if (!call->id)
        snprintf(out, size, "All eligible background migrations have been %s", participle);
    else if (changes->done.count > 0 || !changes->left.given)
        snprintf(out, size, "Background migration %" PRId64 " has been %s", call->id, participle);
    else
        snprintf(out, size,
                 "Background migration %" PRId64 " is %s already; nothing had to be changed",
                 call->id, store_status_name(changes->left.value));
}

/* The answer to an action on one migration, or on all; and its changes for the log. */
static void answer_action(struct call *call, enum action_kind kind, const struct changes *changes)
{
    char message[112];
    write_message(call, kind, changes, message, sizeof message);
    call->body = json_object_new_object();
    json_add(&call->body, "success", json_object_new_boolean(true));
    json_add_string(&call->body, "message", message);
    json_add(&call->body, "migrations", json_object_get(call->changed));
    json_add(&call->body, "job_in_flight", json_object_new_boolean(changes->job_in_flight));
}

/* What an action that was not done in time had done by then, and what not. */
static void detail_unfinished(struct call *call, enum action_kind kind,
                              const struct changes *changes)
{
    const char *reason;
    if (changes->done.count == 0 && changes->held.count == 0 && !changes->unsettled)
        return;
    if (call->error.retry_after == 0)
        reason = "the database did not answer";
    else if (changes->held.count > 0)
        reason = "some migrations are held by another transaction, such as a worker's run";
    else
        reason = "a worker that chose its migration before the pause may still set it running";
    struct json_object *detail = json_object_new_object();
    /* One that is there already says that the outcome of the last step is not known. */
    json_add(&detail, "reason",
             call->error.has_detail ? json_object_get(call->error.detail)
                                    : json_object_new_string(reason));
    json_add(&detail, "migrations", json_object_get(call->changed));
    json_add(&detail, kinds[kind].undone, held_json(&changes->held));
    json_add(&detail, "job_in_flight", json_object_new_boolean(changes->job_in_flight));
    error_set_detail(&call->error, detail);
}

static bool run_action(struct call *call, enum action_kind kind)
{
    struct changes changes;
    const int64_t *id = call->id ? &call->id : NULL;
    bool good = store_act(call->store, kind, id, call->deadline, &changes, &call->error);
    call->changed = changes_json(&changes, kinds[kind].status);
    if (good)
        answer_action(call, kind, &changes);
    else if (call->error.status == 503)
        detail_unfinished(call, kind, &changes);
    store_changes_free(&changes);
    return good;
}

bool actions_pause(struct call *call)
{
    return run_action(call, ACTION_PAUSE);
}

bool actions_resume(struct call *call)
{
    return run_action(call, ACTION_RESUME);
}

bool actions_restart(struct call *call)
{
    return run_action(call, ACTION_RESTART);
}
