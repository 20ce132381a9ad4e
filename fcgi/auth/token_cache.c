/* SPDX-License-Identifier: MIT
 * A set-associative cache of verified tokens. */
#include "auth/token_cache.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Entries in a set. A new token replaces the one of its set that is unused for longest. */
#define WAYS 4

struct entry {
    unsigned char digest[TOKEN_CACHE_DIGEST_SIZE];
    uint64_t serial; /* of the keyring that verified it; 0: the entry is empty */
    uint64_t used;   /* the clock when it was last found or stored */
    struct token token;
};

struct token_cache {
    EVP_MAC_CTX *keyed;   /* with the process's secret; copied for each use */
    pthread_mutex_t lock; /* guards the next two */
    uint64_t clock;       /* counts lookups that find, and stores */
    struct entry sets[TOKEN_CACHE_SIZE / WAYS][WAYS];
};

/* SipHash with 128 bits under a random key, with one round for each block and three at the end:
 * half the work of the usual two and four. That is enough here: to be accepted as another token, a
 * token would need the same digest, and an attacker sees neither the key nor any digest. NULL on
 * failure. */
static EVP_MAC_CTX *new_keyed(void)
{
    unsigned char key[16];
    size_t size = TOKEN_CACHE_DIGEST_SIZE;
    unsigned block_rounds = 1;
    unsigned final_rounds = 3;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                 OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_C_ROUNDS, &block_rounds),
                                 OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_D_ROUNDS, &final_rounds),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *keyed = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (keyed && RAND_bytes(key, sizeof key) == 1 && EVP_MAC_init(keyed, key, sizeof key, params))
        return keyed;
    EVP_MAC_CTX_free(keyed);
    return NULL;
}

struct token_cache *token_cache_new(void)
{
    struct token_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    pthread_mutex_init(&cache->lock, NULL);
    cache->keyed = new_keyed();
    if (cache->keyed)
        return cache;
    token_cache_free(cache);
    return NULL;
}

void token_cache_free(struct token_cache *cache)
{
    if (!cache)
        return;
    EVP_MAC_CTX_free(cache->keyed);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool token_cache_digest(const struct token_cache *cache, const char *text, size_t len,
                        unsigned char digest[TOKEN_CACHE_DIGEST_SIZE])
{
    size_t size;
    EVP_MAC_CTX *context = EVP_MAC_CTX_dup(cache->keyed);
    bool made = context && EVP_MAC_update(context, (const unsigned char *)text, len) &&
                EVP_MAC_final(context, digest, &size, TOKEN_CACHE_DIGEST_SIZE) &&
                size == TOKEN_CACHE_DIGEST_SIZE;
    EVP_MAC_CTX_free(context);
    return made;
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
        if (set[i].serial && memcmp(set[i].digest, digest, TOKEN_CACHE_DIGEST_SIZE) == 0)
            return &set[i];
    }
    return NULL;
}

bool token_cache_find(struct token_cache *cache,
                      const unsigned char digest[TOKEN_CACHE_DIGEST_SIZE], uint64_t serial,
                      int64_t now, struct token *token)
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

void token_cache_keep(struct token_cache *cache,
                      const unsigned char digest[TOKEN_CACHE_DIGEST_SIZE], uint64_t serial,
                      const struct token *token)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = entry_of(cache, digest);
    if (!entry) {
        struct entry *set = set_of(cache, digest);
        entry = set;
        for (size_t i = 1; i < WAYS; i++)
            entry = set[i].used < entry->used ? &set[i] : entry;
    }
    memcpy(entry->digest, digest, TOKEN_CACHE_DIGEST_SIZE);
    entry->serial = serial;
    entry->used = ++cache->clock;
    entry->token = *token;
    pthread_mutex_unlock(&cache->lock);
}
