/* SPDX-License-Identifier: MIT
 * The list of all migrations, and one of them. */
#include "api/list.h"

#include "api/row_json.h"
#include "base/json.h"

/* True where the client asked for this state, or for none. */
static bool is_wanted(unsigned states, int64_t status)
{
    if (states == 0)
        return true;
    return status >= MIGRATION_PAUSED && status <= MIGRATION_RUNNING && states & 1U << status;
}

/* The body for these rows, as JSON's tree. */
static struct json_object *list_json(const struct migrations *migrations, unsigned states)
{
    struct json_object *list = json_object_new_array_ext((int)migrations->count + 1);
    for (size_t i = 0; i < migrations->count; i++) {
        if (is_wanted(states, migrations->rows[i].status))
            json_append(&list, row_json_migration(&migrations->rows[i]));
    }
    struct json_object *body = json_object_new_object();
    json_add(&body, "migrations", list);
    return body;
}

/* Gives the answer the entity tag of its body. */
static void set_etag(struct call *call)
{
    size_t len;
    const char *text = json_text(call->body, &len);
    if (text)
        etag_of(text, len, call->own_etag);
    if (call->own_etag[0])
        call->etag = call->own_etag;
}

/* Takes the body of these rows from the cache, or makes it and keeps it there. */
static void list_whole(struct call *call, struct migrations *migrations)
{
    call->cached_body = list_cache_find(call->list_cache, migrations);
    if (!call->cached_body) {
        size_t len;
        call->body = list_json(migrations, 0);
        const char *text = json_text(call->body, &len);
        if (text)
            call->cached_body = list_cache_keep(call->list_cache, migrations, text, len);
    }
    if (call->cached_body)
        call->etag = cached_body_etag(call->cached_body);
}

bool list_all(struct call *call)
{
    struct migrations migrations;
    if (!store_migrations(call->store, NULL, call->deadline, &migrations, &call->error))
        return false;
    if (call->params.states == 0) {
        list_whole(call, &migrations);
    } else {
        call->body = list_json(&migrations, call->params.states);
        set_etag(call);
    }
    store_migrations_free(&migrations);
    return true;
}

bool list_one(struct call *call)
{
    struct migrations migrations;
    if (!store_migrations(call->store, &call->id, call->deadline, &migrations, &call->error))
        return false;
    if (migrations.count == 0) {
        store_migrations_free(&migrations);
        return error_id_not_found(&call->error, call->id);
    }
    call->body = json_object_new_object();
    json_add(&call->body, "migration", row_json_migration(&migrations.rows[0]));
    set_etag(call);
    store_migrations_free(&migrations);
    return true;
}
