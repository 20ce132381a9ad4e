/* SPDX-License-Identifier: MIT
 * A page of the history. */
#include "api/history.h"

#include "api/row_json.h"
#include "base/json.h"
#include "base/text.h"
#include "store/history.h"

#include <inttypes.h>
#include <stdio.h>

static struct json_object *changes_json(const struct recorded_action *action)
{
    struct json_object *list = json_object_new_array_ext((int)action->change_count + 1);
    for (size_t i = 0; i < action->change_count; i++) {
        const struct recorded_change *change = &action->changes[i];
        struct json_object *object = json_object_new_object();
        json_add_int64(&object, "id", change->migration_id);
        row_json_add_text(&object, "name", change->name);
        json_add_string(&object, "previous_status", store_status_name(change->previous_status));
        json_add_string(&object, "status", store_status_name(change->status));
        json_append(&list, object);
    }
    return list;
}

/* A text that may not be known. */
static void add_known(struct json_object **object, const char *key, struct str_view text)
{
    if (text.at)
        row_json_add_text(object, key, text);
}

static struct json_object *action_json(const struct recorded_action *action)
{
    struct json_object *object = json_object_new_object();
    json_add_int64(&object, "id", action->id);
    row_json_add_time(&object, "at", action->at);
    row_json_add_text(&object, "action", action->action);
    add_known(&object, "actor", action->actor);
    add_known(&object, "token_id", action->token_id);
    add_known(&object, "remote_ip", action->remote_addr);
    add_known(&object, "correlation_id", action->correlation_id);
    add_known(&object, "reason", action->reason);
    if (action->undoes.given)
        json_add_int64(&object, "undoes", action->undoes.value);
    json_add(&object, "migrations", changes_json(action));
    return object;
}

bool history_actions(struct call *call)
{
    const struct params *params = &call->params;
    struct history_page page;
    bool good = history_read(call->store, call->id ? &call->id : NULL,
                             params->last.given ? &params->last.value : NULL, params->n,
                             call->deadline, &page, &call->error);
    if (good) {
        struct json_object *list = json_object_new_array_ext((int)page.count + 1);
        for (size_t i = 0; i < page.count; i++)
            json_append(&list, action_json(&page.actions[i]));
        call->body = json_object_new_object();
        json_add(&call->body, "actions", list);
        if (page.more)
            snprintf(call->link, sizeof call->link,
                     "<%s?n=%" PRId64 "&last=%" PRId64 ">; rel=\"next\"", call->path, params->n,
                     page.actions[page.count - 1].id);
    }
    history_page_free(&page);
    return good;
}
