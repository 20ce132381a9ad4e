/* SPDX-License-Identifier: MIT
 * The last list's body. */
#include "http/list_cache.h"

#include "base/clock.h"
#include "base/etag.h"
#include "store/list_version.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct cached_body {
    atomic_uint holders;
    unsigned char digest[DIGEST_SIZE];
    int64_t expires; /* 0: never */
    struct list_version *version;
    char etag[ETAG_SIZE];
    size_t len;
    char text[];
};

struct list_cache {
    struct digest_key *key;
    pthread_mutex_t lock;     /* guards the next */
    struct cached_body *last; /* NULL: none yet */
};

const struct digest_key *list_cache_key(const struct list_cache *cache)
{
    return cache->key;
}

static bool is_expired(const struct cached_body *body)
{
    return body->expires > 0 && clock_ms() >= body->expires;
}

struct cached_body *list_cache_last(struct list_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    struct cached_body *last = cache->last;
    if (last && is_expired(last))
        last = NULL;
    cached_body_hold(last);
    pthread_mutex_unlock(&cache->lock);
    return last;
}

struct cached_body *list_cache_find(struct list_cache *cache,
                                    const unsigned char digest[DIGEST_SIZE])
{
    pthread_mutex_lock(&cache->lock);
    struct cached_body *found = cache->last;
    if (found && (is_expired(found) || memcmp(found->digest, digest, DIGEST_SIZE) != 0))
        found = NULL;
    cached_body_hold(found);
    pthread_mutex_unlock(&cache->lock);
    return found;
}

struct cached_body *cached_body_new(const char *text, size_t len)
{
    struct cached_body *body = malloc(sizeof *body + len);
    if (!body)
        return NULL;
    *body = (struct cached_body){.len = len};
    atomic_init(&body->holders, 1);
    memcpy(body->text, text, len);
    etag_of(text, len, body->etag);
    return body;
}

struct cached_body *list_cache_keep(struct list_cache *cache,
                                    const unsigned char digest[DIGEST_SIZE], const char *text,
                                    size_t len, int64_t expires, struct list_version *version)
{
    struct cached_body *body = cached_body_new(text, len);
    if (!body) {
        list_version_free(version);
        return NULL;
    }
    body->version = version;
    memcpy(body->digest, digest, DIGEST_SIZE);
    body->expires = expires;
    cached_body_hold(body); /* for `last` */

    pthread_mutex_lock(&cache->lock);
    struct cached_body *old = cache->last;
    cache->last = body;
    pthread_mutex_unlock(&cache->lock);
    cached_body_drop(old);
    return body;
}

const char *cached_body_text(const struct cached_body *body, size_t *len)
{
    *len = body->len;
    return body->text;
}

const struct list_version *cached_body_version(const struct cached_body *body)
{
    return body->version;
}

int64_t cached_body_expires(const struct cached_body *body)
{
    return body->expires;
}

const char *cached_body_etag(const struct cached_body *body)
{
    return body->etag[0] ? body->etag : NULL;
}

struct cached_body *cached_body_hold(struct cached_body *body)
{
    if (body)
        atomic_fetch_add(&body->holders, 1);
    return body;
}

void cached_body_drop(struct cached_body *body)
{
    if (!body || atomic_fetch_sub(&body->holders, 1) != 1)
        return;
    list_version_free(body->version);
    free(body);
}

struct list_cache *list_cache_new(void)
{
    struct list_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    pthread_mutex_init(&cache->lock, NULL);
    cache->key = digest_key_new();
    if (cache->key)
        return cache;
    list_cache_free(cache);
    return NULL;
}

void list_cache_free(struct list_cache *cache)
{
    if (!cache)
        return;
    cached_body_drop(cache->last);
    digest_key_free(cache->key);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}
