/* SPDX-License-Identifier: MIT
 * The list of all migrations, and one of them. */
#include "api/list.h"

#include "api/row_json.h"
#include "base/clock.h"
#include "base/json.h"
#include "store/history.h"

/* Without a history it is looked for again after so many milliseconds, where there are paused
 * migrations. */
#define HISTORY_CHECK_MS 5000

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
    json_add(&body, "job_in_flight", json_object_new_boolean(migrations->job_in_flight));
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

/* Makes the body of these rows, and keeps it in the cache. */
static bool make_whole(struct call *call, struct migrations *migrations,
                       const unsigned char digest[DIGEST_SIZE])
{
    size_t len;
    bool complete;
    if (!history_add_pauses(call->store, NULL, call->deadline, migrations, &complete, &call->error))
        return false;
    call->body = list_json(migrations, 0);
    const char *text = json_text(call->body, &len);
    if (text)
        call->cached_body = list_cache_keep(call->list_cache, digest, text, len,
                                            complete ? 0 : clock_ms() + HISTORY_CHECK_MS);
    return true;
}

/* Takes the body of these rows from the cache, or makes it. */
static bool list_whole(struct call *call, struct migrations *migrations)
{
    unsigned char digest[DIGEST_SIZE];
    if (!store_migrations_digest(migrations, list_cache_key(call->list_cache), digest))
        return error_unavailable(&call->error, "out of memory");
    call->cached_body = list_cache_find(call->list_cache, digest);
    if (!call->cached_body && !make_whole(call, migrations, digest))
        return false;
    if (call->cached_body)
        call->etag = cached_body_etag(call->cached_body);
    return true;
}

static bool list_some(struct call *call, struct migrations *migrations)
{
    bool complete;
    if (!history_add_pauses(call->store, NULL, call->deadline, migrations, &complete, &call->error))
        return false;
    call->body = list_json(migrations, call->params.states);
    set_etag(call);
    return true;
}

bool list_all(struct call *call)
{
    struct migrations migrations;
    if (!store_migrations(call->store, NULL, call->deadline, &migrations, &call->error))
        return false;
    bool good =
        call->params.states == 0 ? list_whole(call, &migrations) : list_some(call, &migrations);
    store_migrations_free(&migrations);
    return good;
}

bool list_one(struct call *call)
{
    struct migrations migrations;
    bool complete;
    bool good = store_migrations(call->store, &call->id, call->deadline, &migrations, &call->error);
    if (good && migrations.count == 0)
        good = error_id_not_found(&call->error, call->id);
    good = good && history_add_pauses(call->store, &call->id, call->deadline, &migrations,
                                      &complete, &call->error);
    if (good) {
        call->body = json_object_new_object();
        json_add(&call->body, "migration", row_json_migration(&migrations.rows[0]));
        json_add(&call->body, "job_in_flight", json_object_new_boolean(migrations.job_in_flight));
        set_etag(call);
    }
    store_migrations_free(&migrations);
    return good;
}
