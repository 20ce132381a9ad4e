/* SPDX-License-Identifier: MIT
 * The last list's text, and the rows it was made from. */
#include "api/list_cache.h"

#include "base/clock.h"
#include "base/etag.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct cached_body {
    atomic_uint holders;
    struct migrations migrations;
    int64_t expires; /* 0: never */
    char etag[ETAG_SIZE];
    size_t len;
    char text[];
};

struct list_cache {
    pthread_mutex_t lock;
    struct cached_body *last; /* NULL: none yet */
};

static bool same_span(struct str_view a, struct str_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static bool same_maybe(struct opt_int64 a, struct opt_int64 b)
{
    return a.given == b.given && (!a.given || a.value == b.value);
}

/* Every field: one left out here would be one that is told wrong. */
static bool same_migration(const struct migration *a, const struct migration *b)
{
    return a->id == b->id && same_span(a->name, b->name) && a->status == b->status &&
           same_span(a->job_signature_name, b->job_signature_name) &&
           same_span(a->table_name, b->table_name) && same_span(a->column_name, b->column_name) &&
           a->batch_size == b->batch_size && same_maybe(a->sub_batch_size, b->sub_batch_size) &&
           a->min_value == b->min_value && a->max_value == b->max_value &&
           same_span(a->batching_strategy, b->batching_strategy) &&
           same_maybe(a->total_tuple_count, b->total_tuple_count) &&
           same_maybe(a->failure_error_code, b->failure_error_code) &&
           same_maybe(a->created_at, b->created_at) && same_maybe(a->updated_at, b->updated_at) &&
           same_maybe(a->started_at, b->started_at) && same_maybe(a->finished_at, b->finished_at) &&
           a->finished_jobs == b->finished_jobs && a->failed_jobs == b->failed_jobs &&
           same_maybe(a->pace, b->pace);
}

static bool same_rows(const struct migrations *a, const struct migrations *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_migration(&a->rows[i], &b->rows[i]);
    return same;
}

static bool is_expired(const struct cached_body *body)
{
    return body->expires != 0 && clock_ms() >= body->expires;
}

struct cached_body *list_cache_find(struct list_cache *list_cache,
                                    const struct migrations *migrations)
{
    pthread_mutex_lock(&list_cache->lock);
    struct cached_body *last = list_cache->last;
    if (last)
        atomic_fetch_add(&last->holders, 1);
    pthread_mutex_unlock(&list_cache->lock);
    if (!last || (!is_expired(last) && same_rows(&last->migrations, migrations)))
        return last;
    cached_body_drop(last);
    return NULL;
}

size_t list_cache_len(struct list_cache *list_cache)
{
    pthread_mutex_lock(&list_cache->lock);
    size_t len = list_cache->last ? list_cache->last->len : 0;
    pthread_mutex_unlock(&list_cache->lock);
    return len;
}

struct cached_body *list_cache_keep(struct list_cache *list_cache, struct migrations *migrations,
                                    const char *text, size_t len, int64_t expires)
{
    struct cached_body *fresh = malloc(sizeof *fresh + len);
    if (!fresh)
        return NULL;
    atomic_init(&fresh->holders, 2); /* the caller and `last` */
    fresh->migrations = *migrations;
    *migrations = (struct migrations){0};
    fresh->expires = expires;
    fresh->len = len;
    memcpy(fresh->text, text, len);
    etag_of(text, len, fresh->etag);

    pthread_mutex_lock(&list_cache->lock);
    struct cached_body *old = list_cache->last;
    list_cache->last = fresh;
    pthread_mutex_unlock(&list_cache->lock);
    cached_body_drop(old);
    return fresh;
}

const char *cached_body_text(const struct cached_body *cached_body, size_t *len)
{
    *len = cached_body->len;
    return cached_body->text;
}

const char *cached_body_etag(const struct cached_body *cached_body)
{
    return cached_body->etag[0] ? cached_body->etag : NULL;
}

struct cached_body *cached_body_hold(struct cached_body *cached_body)
{
    if (cached_body)
        atomic_fetch_add(&cached_body->holders, 1);
    return cached_body;
}

void cached_body_drop(struct cached_body *cached_body)
{
    if (!cached_body || atomic_fetch_sub(&cached_body->holders, 1) != 1)
        return;
    store_migrations_free(&cached_body->migrations);
    free(cached_body);
}

struct list_cache *list_cache_new(void)
{
    struct list_cache *list_cache = calloc(1, sizeof *list_cache);
    if (list_cache)
        pthread_mutex_init(&list_cache->lock, NULL);
    return list_cache;
}

void list_cache_free(struct list_cache *list_cache)
{
    if (!list_cache)
        return;
    cached_body_drop(list_cache->last);
    pthread_mutex_destroy(&list_cache->lock);
    free(list_cache);
}
