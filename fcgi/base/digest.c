/* SPDX-License-Identifier: MIT
 * Digests by libcrypto's SipHash. */
#include "base/digest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* A digest_key is libcrypto's context with the key in it, which is copied for each digest. */
static EVP_MAC_CTX *context_of(const struct digest_key *key)
{
    return (EVP_MAC_CTX *)key;
}

struct digest_key *digest_key_new(void)
{
    unsigned char secret[16];
    size_t size = DIGEST_SIZE;
    unsigned block_rounds = 1;
    unsigned final_rounds = 3;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                 OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_C_ROUNDS, &block_rounds),
                                 OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_D_ROUNDS, &final_rounds),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *keyed = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (keyed && RAND_bytes(secret, sizeof secret) == 1 &&
        EVP_MAC_init(keyed, secret, sizeof secret, params))
        return (struct digest_key *)keyed;
    EVP_MAC_CTX_free(keyed);
    return NULL;
}

void digest_key_free(struct digest_key *key)
{
    EVP_MAC_CTX_free(context_of(key));
}

bool digest_of(const struct digest_key *key, const void *bytes, size_t len,
               unsigned char digest[DIGEST_SIZE])
{
    size_t size;
    EVP_MAC_CTX *context = EVP_MAC_CTX_dup(context_of(key));
    bool made = context && EVP_MAC_update(context, bytes, len) &&
                EVP_MAC_final(context, digest, &size, DIGEST_SIZE) && size == DIGEST_SIZE;
    EVP_MAC_CTX_free(context);
    return made;
}
