/* SPDX-License-Identifier: MIT
 * Verified tokens, remembered. */
#include "verified.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A token has this many places to be in; of them the longest unused is given up. */
#define WAYS 4

struct place {
    unsigned char digest[VERIFIED_DIGEST_SIZE];
    uint64_t serial; /* of the keyring; 0: the place is empty */
    uint64_t used;   /* when it was last found, on the clock below */
    struct token token;
};

struct verified {
    EVP_MAC_CTX *keyed;   /* with this process's key; copied for each use */
    pthread_mutex_t lock; /* guards the next two */
    uint64_t clock;       /* counts finds and keeps */
    struct place places[VERIFIED_MOST / WAYS][WAYS];
};

/* SipHash with 128 bits, under a key of this process's own, in the variant of one and three
 * rounds: half the work of two and four, and more than is needed here. What a digest finds are
 * the claims of the token that was remembered, so to be let in by another one it would have to
 * equal the digest of a token that one does not have, under a key and with a result that nobody
 * sees. NULL on failure. */
static EVP_MAC_CTX *new_keyed(void)
{
    unsigned char key[16];
    size_t size = VERIFIED_DIGEST_SIZE;
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

struct verified *verified_new(void)
{
    struct verified *verified = calloc(1, sizeof *verified);
    if (!verified)
        return NULL;
    pthread_mutex_init(&verified->lock, NULL);
    verified->keyed = new_keyed();
    if (verified->keyed)
        return verified;
    verified_free(verified);
    return NULL;
}

void verified_free(struct verified *verified)
{
    if (!verified)
        return;
    EVP_MAC_CTX_free(verified->keyed);
    pthread_mutex_destroy(&verified->lock);
    free(verified);
}

bool verified_digest(const struct verified *verified, const char *text, size_t len,
                     unsigned char digest[VERIFIED_DIGEST_SIZE])
{
    size_t size;
    EVP_MAC_CTX *context = EVP_MAC_CTX_dup(verified->keyed);
    bool made = context && EVP_MAC_update(context, (const unsigned char *)text, len) &&
                EVP_MAC_final(context, digest, &size, VERIFIED_DIGEST_SIZE) &&
                size == VERIFIED_DIGEST_SIZE;
    EVP_MAC_CTX_free(context);
    return made;
}

/* The places of a digest; its first bytes are as good as random. */
static struct place *places_of(struct verified *verified, const unsigned char *digest)
{
    size_t at = (size_t)digest[0] << 8 | digest[1];
    return verified->places[at % (VERIFIED_MOST / WAYS)];
}

/* The place that holds the digest; NULL: none. */
static struct place *place_of(struct verified *verified, const unsigned char *digest)
{
    struct place *places = places_of(verified, digest);
    for (size_t i = 0; i < WAYS; i++) {
        if (places[i].serial && memcmp(places[i].digest, digest, VERIFIED_DIGEST_SIZE) == 0)
            return &places[i];
    }
    return NULL;
}

bool verified_find(struct verified *verified, const unsigned char digest[VERIFIED_DIGEST_SIZE],
                   uint64_t serial, int64_t now, struct token *token)
{
    pthread_mutex_lock(&verified->lock);
    struct place *place = place_of(verified, digest);
    bool found =
        place && place->serial == serial && place->token.from <= now && now <= place->token.until;
    if (found) {
        place->used = ++verified->clock;
        *token = place->token;
    }
    pthread_mutex_unlock(&verified->lock);
    return found;
}

void verified_keep(struct verified *verified, const unsigned char digest[VERIFIED_DIGEST_SIZE],
                   uint64_t serial, const struct token *token)
{
    pthread_mutex_lock(&verified->lock);
    struct place *place = place_of(verified, digest);
    if (!place) {
        struct place *places = places_of(verified, digest);
        place = places;
        for (size_t i = 1; i < WAYS; i++)
            place = places[i].used < place->used ? &places[i] : place;
    }
    memcpy(place->digest, digest, VERIFIED_DIGEST_SIZE);
    place->serial = serial;
    place->used = ++verified->clock;
    place->token = *token;
    pthread_mutex_unlock(&verified->lock);
}
