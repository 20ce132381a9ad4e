/* SPDX-License-Identifier: MIT
 * The list of all migrations, and one of them. */
#include "api/list.h"

#include "api/row_json.h"
#include "base/json.h"

/* The body for these rows, as JSON's tree. */
static struct json_object *list_json(const struct migrations *migrations)
{
    struct json_object *list = json_object_new_array_ext((int)migrations->count + 1);
    for (size_t i = 0; i < migrations->count; i++)
        json_append(&list, row_json_migration(&migrations->rows[i]));
    struct json_object *body = json_object_new_object();
    json_add(&body, "migrations", list);
    return body;
}

bool list_all(struct call *call)
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
    store_migrations_free(&migrations);
    return true;
}
