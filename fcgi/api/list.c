/* SPDX-License-Identifier: MIT
 * The list of all migrations, and one of them. */
#include "api/list.h"

#include "api/row_json.h"
#include "base/clock.h"
#include "base/json.h"
#include "store/history.h"

/* A cached body is served for up to this time, in ms. No row of the migrations changes when the
 * owner makes, prunes or drops the history, which says who paused them. */
#define CACHED_BODY_MS 5000

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
            json_append(&list, json_flat(row_json_migration(&migrations->rows[i])));
    }
    struct json_object *body = json_object_new_object();
    json_add(&body, "migrations", list);
    json_add(&body, "job_in_flight", json_object_new_boolean(migrations->job_in_flight));
    return body;
}

/* Gives the answer this body, which is taken over, with its entity tag. */
static bool set_body(struct call *call, struct json_object *body)
{
    size_t len;
    const char *text = json_text(body, &len);
    if (text)
        call->cached_body = cached_body_new(text, len);
    json_object_put(body);
    if (!call->cached_body)
        return error_out_of_memory(&call->error);
    call->etag = cached_body_etag(call->cached_body);
    return true;
}

/* Keeps a body, with the version of the rows, which it takes from them. */
static void keep_body(struct call *call, struct migrations *migrations,
                      const unsigned char digest[DIGEST_SIZE], const char *text, size_t len,
                      int64_t expires)
{
    struct cached_body *body =
        list_cache_keep(call->list_cache, digest, text, len, expires, migrations->version);
    migrations->version = NULL;
    cached_body_drop(call->cached_body);
    call->cached_body = body;
}

/* Makes the body of these rows, and keeps it in the cache. */
static bool make_body(struct call *call, struct migrations *migrations,
                      const unsigned char digest[DIGEST_SIZE])
{
    size_t len;
    if (!history_add_pauses(call->store, NULL, call->deadline, migrations, &call->error))
        return false;
    call->body = list_json(migrations, 0);
    const char *text = json_text(call->body, &len);
    if (text)
        keep_body(call, migrations, digest, text, len, clock_ms() + CACHED_BODY_MS);
    return true;
}

/* Takes the body of these rows from the cache, or makes it. A body that is there is kept again
 * where the version of its rows is new. */
static bool find_body(struct call *call, struct migrations *migrations)
{
    unsigned char digest[DIGEST_SIZE];
    if (!store_migrations_digest(migrations, list_cache_key(call->list_cache), digest))
        return error_out_of_memory(&call->error);
    call->cached_body = list_cache_find(call->list_cache, digest);
    if (!call->cached_body)
        return make_body(call, migrations, digest);
    if (migrations->version) {
        size_t len;
        struct cached_body *old = cached_body_hold(call->cached_body);
        const char *text = cached_body_text(old, &len);
        keep_body(call, migrations, digest, text, len, cached_body_expires(old));
        if (!call->cached_body)
            call->cached_body = cached_body_hold(old);
        cached_body_drop(old);
    }
    return true;
}

/* The whole list: the last body, where nothing has changed since. */
static bool list_whole(struct call *call)
{
    struct migrations migrations;
    bool unchanged;
    struct cached_body *last = list_cache_last(call->list_cache);
    bool good = store_list(call->store, last ? cached_body_version(last) : NULL, call->deadline,
                           &migrations, &unchanged, &call->error);
    if (unchanged)
        call->cached_body = cached_body_hold(last);
    else
        good = good && find_body(call, &migrations);
    if (call->cached_body)
        call->etag = cached_body_etag(call->cached_body);
    cached_body_drop(last);
    store_migrations_free(&migrations);
    return good;
}

/* The migrations in the states that the client asked for. */
static bool list_some(struct call *call)
{
    struct migrations migrations;
    bool good = store_migrations(call->store, NULL, call->deadline, &migrations, &call->error) &&
                history_add_pauses(call->store, NULL, call->deadline, &migrations, &call->error);
    good = good && set_body(call, list_json(&migrations, call->params.states));
    store_migrations_free(&migrations);
    return good;
}

bool list_all(struct call *call)
{
    return call->params.states == 0 ? list_whole(call) : list_some(call);
}

static struct json_object *one_json(const struct migrations *migrations)
{
    struct json_object *body = json_object_new_object();
    json_add(&body, "migration", row_json_migration(&migrations->rows[0]));
    json_add(&body, "job_in_flight", json_object_new_boolean(migrations->job_in_flight));
    return body;
}

bool list_one(struct call *call)
{
    struct migrations migrations;
    bool good = store_migrations(call->store, &call->id, call->deadline, &migrations, &call->error);
    if (good && migrations.count == 0)
        good = error_id_not_found(&call->error, call->id);
    good = good &&
           history_add_pauses(call->store, &call->id, call->deadline, &migrations, &call->error);
    good = good && set_body(call, one_json(&migrations));
    store_migrations_free(&migrations);
    return good;
}
