/* SPDX-License-Identifier: MIT
 * The signature of a token. */
#include "auth/token_signature.h"

#include "auth/signer.h"
#include "auth/token_json.h"

#include <errno.h>
#include <jwt.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* The algorithms that may reach libjwt. It follows the token's own header, and would take HS256
 * with a public key's PEM as the secret, or ES256 on a P-384 key. */
static const struct algorithm {
    const char *name;
    jwt_alg_t alg;
    enum key_type type;
    int bits; /* EC: the one curve that fits (RFC 7518, 3.4); RSA: any */
} algorithms[] = {
    {"RS256", JWT_ALG_RS256, KEY_RSA, 0},  {"RS384", JWT_ALG_RS384, KEY_RSA, 0},
    {"RS512", JWT_ALG_RS512, KEY_RSA, 0},  {"ES256", JWT_ALG_ES256, KEY_EC, 256},
    {"ES384", JWT_ALG_ES384, KEY_EC, 384}, {"ES512", JWT_ALG_ES512, KEY_EC, 521},
};

static const struct algorithm *algorithm_of(const json_t *header)
{
    const char *name = token_json_string(header, "alg");
    for (size_t i = 0; name && i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    return NULL;
}

bool token_signature_algorithm(const json_t *header)
{
    return algorithm_of(header) != NULL;
}

static bool fits(const struct algorithm *algorithm, const struct key *key)
{
    return key->type == algorithm->type && (!algorithm->bits || key->bits == algorithm->bits);
}

static bool verifies(const char *text, size_t len, const struct key *key,
                     const struct algorithm *algorithm)
{
    jwt_t *jwt = NULL;
    char *copy = strndup(text, len); /* libjwt wants a closing zero */
    bool good =
        copy &&
        jwt_decode(&jwt, copy, (const unsigned char *)key->pem, (int)strlen(key->pem)) == 0 &&
        jwt_get_alg(jwt) == algorithm->alg;
    jwt_free(jwt);
    free(copy);
    return good;
}

bool token_signature_check(const char *text, size_t len, const json_t *header,
                           const struct keyring *keyring, int64_t now, struct token *token,
                           struct refusal *refusal)
{
    const struct algorithm *algorithm = algorithm_of(header);
    struct signer signer;
    errno = 0;
    bool good = signer_find(header, keyring, now, &signer, refusal);
    if (good && !fits(algorithm, signer.key))
        good = refuse(refusal, "algorithm does not fit the key");
    if (good && !verifies(text, len, signer.key, algorithm))
        good = refuse(refusal, "signature does not verify");
    /* libcrypto and libjwt call a token bad that they have no memory for. But the malloc() that
     * failed has set errno. */
    if (!good && errno == ENOMEM)
        refuse_undecided(refusal, "out of memory");
    ERR_clear_error(); /* libjwt leaves OpenSSL's errors to the next caller, libpq for one */
    if (good) {
        /* The token cache must not keep the token beyond the signer's time. */
        token->from = signer.from > token->from ? signer.from : token->from;
        token->until = signer.until < token->until ? signer.until : token->until;
        memcpy(token->key, signer.key->fingerprint, sizeof token->key);
    }
    signer_clear(&signer);
    return good;
}
