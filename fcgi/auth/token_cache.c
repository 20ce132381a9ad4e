/* SPDX-License-Identifier: MIT
 * Verified tokens, remembered. */
#include "auth/token_cache.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A token has this many places to be in; of them the longest unused is given up. */
#define WAYS 4

struct place {
    unsigned char digest[TOKEN_CACHE_DIGEST_SIZE];
    uint64_t serial; /* of the keyring; 0: the place is empty */
    uint64_t used;   /* when it was last found, on the clock below */
    struct token token;
};

struct token_cache {
    EVP_MAC_CTX *keyed;   /* with this process's key; copied for each use */
    pthread_mutex_t lock; /* guards the next two */
    uint64_t clock;       /* counts finds and keeps */
    struct place places[TOKEN_CACHE_SIZE / WAYS][WAYS];
};

/* SipHash with 128 bits, under a key of this process's own, in the variant of one and three
 * rounds: half the work of two and four, and more than is needed here. What a digest finds are
 * the claims of the token that was remembered, so to be let in by another one it would have to
 * equal the digest of a token that one does not have, under a key and with a result that nobody
 * sees. NULL on failure. */
static EVP_MAC_CTX *new_keyed(void)
{
    unsigned char key[16];
    size_t size = TOKEN_CACHE_DIGEST_SIZE;
    unsigned each = 1;
    unsigned last = 3;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                 OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_C_ROUNDS, &each),
                                 OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_D_ROUNDS, &last),
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
    struct token_cache *token_cache = calloc(1, sizeof *token_cache);
    if (!token_cache)
        return NULL;
    pthread_mutex_init(&token_cache->lock, NULL);
    token_cache->keyed = new_keyed();
    if (token_cache->keyed)
        return token_cache;
    token_cache_free(token_cache);
    return NULL;
}

void token_cache_free(struct token_cache *token_cache)
{
    if (!token_cache)
        return;
    EVP_MAC_CTX_free(token_cache->keyed);
    pthread_mutex_destroy(&token_cache->lock);
    free(token_cache);
}

bool token_cache_digest(const struct token_cache *token_cache, const char *text, size_t len,
                        unsigned char digest[TOKEN_CACHE_DIGEST_SIZE])
{
    size_t size;
    EVP_MAC_CTX *context = EVP_MAC_CTX_dup(token_cache->keyed);
    bool made = context && EVP_MAC_update(context, (const unsigned char *)text, len) &&
                EVP_MAC_final(context, digest, &size, TOKEN_CACHE_DIGEST_SIZE) &&
                size == TOKEN_CACHE_DIGEST_SIZE;
    EVP_MAC_CTX_free(context);
    return made;
}

/* The places of a digest; its first bytes are as good as random. */
static struct place *places_of(struct token_cache *token_cache, const unsigned char *digest)
{
    size_t at = (size_t)digest[0] << 8 | digest[1];
    return token_cache->places[at % (TOKEN_CACHE_SIZE / WAYS)];
}

/* The place that holds the digest; NULL: none. */
static struct place *place_of(struct token_cache *token_cache, const unsigned char *digest)
{
    struct place *places = places_of(token_cache, digest);
    for (size_t i = 0; i < WAYS; i++) {
        if (places[i].serial && memcmp(places[i].digest, digest, TOKEN_CACHE_DIGEST_SIZE) == 0)
            return &places[i];
    }
    return NULL;
}

bool token_cache_find(struct token_cache *token_cache,
                      const unsigned char digest[TOKEN_CACHE_DIGEST_SIZE], uint64_t serial,
                      int64_t now, struct token *token)
{
    pthread_mutex_lock(&token_cache->lock);
    struct place *place = place_of(token_cache, digest);
    bool found =
        place && place->serial == serial && place->token.from <= now && now <= place->token.until;
    if (found) {
        place->used = ++token_cache->clock;
        *token = place->token;
    }
    pthread_mutex_unlock(&token_cache->lock);
    return found;
}

void token_cache_keep(struct token_cache *token_cache,
                      const unsigned char digest[TOKEN_CACHE_DIGEST_SIZE], uint64_t serial,
                      const struct token *token)
{
    pthread_mutex_lock(&token_cache->lock);
    struct place *place = place_of(token_cache, digest);
    if (!place) {
        struct place *places = places_of(token_cache, digest);
        place = places;
        for (size_t i = 1; i < WAYS; i++)
            place = places[i].used < place->used ? &places[i] : place;
    }
    memcpy(place->digest, digest, TOKEN_CACHE_DIGEST_SIZE);
    place->serial = serial;
    place->used = ++token_cache->clock;
    place->token = *token;
    pthread_mutex_unlock(&token_cache->lock);
}
