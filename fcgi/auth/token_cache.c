/* SPDX-License-Identifier: MIT
 * A set-associative cache of verified tokens. */
#include "auth/token_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Entries in a set. A new token replaces the one of its set that is unused for longest. */
#define WAYS 4

struct entry {
    unsigned char digest[DIGEST_SIZE];
    uint64_t serial; /* of the keyring that verified it; 0: the entry is empty */
    uint64_t used;   /* the clock when it was last found or stored */
    struct token token;
};

struct token_cache {
    struct digest_key *key;
    pthread_mutex_t lock; /* guards the next two */
    uint64_t clock;       /* counts lookups that find, and stores */
    struct entry sets[TOKEN_CACHE_SIZE / WAYS][WAYS];
};

struct token_cache *token_cache_new(void)
{
    struct token_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    pthread_mutex_init(&cache->lock, NULL);
    cache->key = digest_key_new();
    if (cache->key)
        return cache;
    token_cache_free(cache);
    return NULL;
}

void token_cache_free(struct token_cache *cache)
{
    if (!cache)
        return;
    digest_key_free(cache->key);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool token_cache_digest(const struct token_cache *cache, const char *text, size_t len,
                        unsigned char digest[DIGEST_SIZE])
{
    return digest_of(cache->key, text, len, digest);
}

/* The set of a digest, whose first bytes are as good as random. */
static struct entry *set_of(struct token_cache *cache, const unsigned char *digest)
{
    size_t at = (size_t)digest[0] << 8 | digest[1];
    return cache->sets[at % (TOKEN_CACHE_SIZE / WAYS)];
}

/* The entry of a digest; NULL: none. */
static struct entry *entry_of(struct token_cache *cache, const unsigned char *digest)
{
    struct entry *set = set_of(cache, digest);
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].serial && memcmp(set[i].digest, digest, DIGEST_SIZE) == 0)
            return &set[i];
    }
    return NULL;
}

bool token_cache_find(struct token_cache *cache, const unsigned char digest[DIGEST_SIZE],
                      uint64_t serial, int64_t now, struct token *token)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = entry_of(cache, digest);
    bool found =
        entry && entry->serial == serial && entry->token.from <= now && now <= entry->token.until;
    if (found) {
        entry->used = ++cache->clock;
        *token = entry->token;
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void token_cache_keep(struct token_cache *cache, const unsigned char digest[DIGEST_SIZE],
                      uint64_t serial, const struct token *token)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = entry_of(cache, digest);
    if (!entry) {
        struct entry *set = set_of(cache, digest);
        entry = set;
        for (size_t i = 1; i < WAYS; i++)
            entry = set[i].used < entry->used ? &set[i] : entry;
    }
    memcpy(entry->digest, digest, DIGEST_SIZE);
    entry->serial = serial;
    entry->used = ++cache->clock;
    entry->token = *token;
    pthread_mutex_unlock(&cache->lock);
}
