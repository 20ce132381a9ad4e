/* SPDX-License-Identifier: MIT
 * Pause, resume, restart and undo: what was done, and what not. */
#include "api/actions.h"

#include "api/row_json.h"
#include "base/json.h"
#include "base/text.h"
#include "store/actions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *participle;
    const char *undone; /* the member that lists what was not done */
    int64_t status;     /* that it leads to */
} kinds[] = {
    [ACTION_PAUSE] = {"paused", "not_paused", MIGRATION_PAUSED},
    [ACTION_RESUME] = {"resumed", "not_resumed", MIGRATION_ACTIVE},
    [ACTION_RESTART] = {"restarted", "not_restarted", MIGRATION_ACTIVE},
};

/* ---- lists ---- */

/* The members id and name. */
static struct json_object *migration_json(const struct change *change)
{
    struct json_object *object = json_object_new_object();
    json_add_int64(&object, "id", change->id);
    json_add(&object, "name", text_json(change->name, change->name_len));
    return object;
}

/* What was changed, without what somebody else is changing again. */
static struct json_object *done_json(const struct changes *changes, int64_t status)
{
    struct json_object *list = json_object_new_array_ext((int)changes->done.count + 1);
    for (size_t i = 0; i < changes->done.count; i++) {
        const struct change *change = &changes->done.rows[i];
        if (change_list_has(&changes->held, change->id))
            continue;
        struct json_object *object = migration_json(change);
        json_add_string(&object, "previous_status", store_status_name(change->status.value));
        json_add_string(&object, "status", store_status_name(status));
        json_append(&list, object);
    }
    return list;
}

static struct json_object *held_json(const struct change_list *held)
{
    struct json_object *list = json_object_new_array_ext((int)held->count + 1);
    for (size_t i = 0; i < held->count; i++)
        json_append(&list, migration_json(&held->rows[i]));
    return list;
}

/* Why an undo left a migration alone. */
static void explain_left(const struct change *change, char *out, size_t size)
{
    if (!change->status.given)
        snprintf(out, size, "it is gone");
    else if (change->later.given)
        snprintf(out, size, "action %" PRId64 " has changed it since", change->later.value);
    else if (change->status.value != MIGRATION_PAUSED)
        snprintf(out, size, "it is %s now", store_status_name(change->status.value));
    else
        snprintf(out, size, "it was changed since, without a record");
}

static struct json_object *left_json(const struct change_list *left)
{
    struct json_object *list = json_object_new_array_ext((int)left->count + 1);
    for (size_t i = 0; i < left->count; i++) {
        const struct change *change = &left->rows[i];
        char why[80];
        explain_left(change, why, sizeof why);
        struct json_object *object = migration_json(change);
        if (change->status.given)
            json_add_string(&object, "status", store_status_name(change->status.value));
        json_add_string(&object, "why", why);
        json_append(&list, object);
    }
    return list;
}

/* ---- an answer ---- */

/* The registry's messages for an action on all and for a restart (contract, section 2), and ours.
 */
static void write_message(const struct call *call, enum action_kind kind,
                          const struct changes *changes, char *out, size_t size)
{
    const char *participle = kinds[kind].participle;
    const char *have_been = call->params.dry_run ? "would be" : "have been";
    const char *has_been = call->params.dry_run ? "would be" : "has been";
    if (call->params.action_id.given)
        snprintf(out, size, "The migrations that action %" PRId64 " had paused %s resumed",
                 call->params.action_id.value, have_been);
    else if (!call->id)
        snprintf(out, size, "All eligible background migrations %s %s", have_been, participle);
    else if (changes->done.count > 0 || changes->held.count > 0 || !changes->untouched.given)
        snprintf(out, size, "Background migration %" PRId64 " %s %s", call->id, has_been,
                 participle);
    else
        snprintf(out, size,
                 "Background migration %" PRId64 " is %s already; nothing %s to be changed",
                 call->id, store_status_name(changes->untouched.value),
                 call->params.dry_run ? "would have" : "had");
}

/* True where the cause lies outside of the migration's jobs: a restart does not remove it. */
static bool is_lasting(struct opt_int64 code)
{
    return code.given && (code.value == FAILURE_TABLE || code.value == FAILURE_COLUMN ||
                          code.value == FAILURE_SIGNATURE || code.value == FAILURE_STRATEGY);
}

static void add_warning(struct json_object **body, struct opt_int64 code)
{
    char warning[160];
    if (!is_lasting(code))
        return;
    snprintf(warning, sizeof warning,
             "it had failed with %s; unless the cause of that is gone, it will fail again",
             row_json_error_name(code.value));
    json_add_string(body, "warning", warning);
}

static void answer(struct call *call, enum action_kind kind, const struct changes *changes)
{
    char message[128];
    struct json_object **body = &call->body;
    write_message(call, kind, changes, message, sizeof message);
    *body = json_object_new_object();
    json_add(body, "success", json_object_new_boolean(true));
    json_add_string(body, "message", message);
    json_add(body, "migrations", done_json(changes, kinds[kind].status));
    if (call->params.action_id.given)
        json_add(body, "left", left_json(&changes->left));
    json_add(body, "job_in_flight", json_object_new_boolean(changes->job_in_flight));
    if (changes->action_id.given)
        json_add_int64(body, "action_id", changes->action_id.value);
    if (changes->repeated)
        json_add(body, "repeated", json_object_new_boolean(true));
    if (call->params.dry_run) {
        json_add(body, "held", held_json(&changes->held));
        json_add(body, "dry_run", json_object_new_boolean(true));
    }
    if (kind == ACTION_RESTART && changes->done.count > 0)
        add_warning(body, changes->error_code);
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
    json_add(&detail, "migrations", done_json(changes, kinds[kind].status));
    json_add(&detail, kinds[kind].undone, held_json(&changes->held));
    json_add(&detail, "job_in_flight", json_object_new_boolean(changes->job_in_flight));
    if (changes->action_id.given)
        json_add_int64(&detail, "action_id", changes->action_id.value);
    error_set_detail(&call->error, detail);
}

/* ---- acting ---- */

/* The caller's texts as valid UTF-8, which is all that the database takes. */
struct author {
    char *actor;
    char *token_id;
    char *remote_addr;
};

static void author_free(struct author *author)
{
    free(author->actor);
    free(author->token_id);
    free(author->remote_addr);
}

/* NULL for "". False when out of memory. */
static bool clean(const char *text, char **out)
{
    *out = text && *text ? text_utf8(text) : NULL;
    return *out || !text || !*text;
}

static bool act(struct call *call, enum action_kind kind, struct changes *changes)
{
    struct author author = {NULL, NULL, NULL};
    bool good = clean(call->caller.subject, &author.actor) &&
                clean(call->caller.token_id, &author.token_id) &&
                clean(call->caller.remote_addr, &author.remote_addr);
    const struct action_request request = {
        .kind = kind,
        .id = call->id ? &call->id : NULL,
        .undoes = call->params.action_id.given ? &call->params.action_id.value : NULL,
        .undoes_in_body = call->params.in_body & PARAM(PARAM_ACTION_ID),
        .dry_run = call->params.dry_run,
        .may_be_repeat = call->caller.may_be_repeat,
        .deadline = call->deadline,
        .actor = author.actor,
        .token_id = author.token_id,
        .remote_addr = author.remote_addr,
        .correlation_id = call->caller.correlation_id,
        .reason = call->params.reason,
    };
    good = good ? store_act(call->store, &request, changes, &call->error)
                : error_out_of_memory(&call->error);
    author_free(&author);
    return good;
}

static bool run_action(struct call *call, enum action_kind kind)
{
    struct changes changes = {0};
    bool good = act(call, kind, &changes);
    call->action_id = changes.action_id;
    call->repeated = changes.repeated;
    if (!call->params.dry_run)
        call->changed = done_json(&changes, kinds[kind].status);
    if (good)
        answer(call, kind, &changes);
    else if (call->error.status == 503)
        detail_unfinished(call, kind, &changes);
    changes_free(&changes);
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
