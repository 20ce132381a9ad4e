/* SPDX-License-Identifier: MIT
 * The signature of a token. */
#include "auth/token_signature.h"

#include "auth/signer.h"
#include "base/json_input.h"

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
    const char *name = json_input_string(header, "alg");
    for (size_t i = 0; name && i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    return NULL;
}

bool token_signature_algorithm(const json_t *header, struct refusal *refusal)
{
    return algorithm_of(header) || refuse(refusal, "algorithm is not one of those accepted");
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

/* What the verification of one token needs. */
struct verification {
    const char *text; /* a compact JWS */
    size_t len;
    const json_t *header;
    const struct algorithm *algorithm;
    const struct keyring *keyring;
    int64_t now;
};

static bool find_signer(const struct verification *job, struct signer *signer,
                        struct refusal *refusal)
{
    const struct algorithm *algorithm = job->algorithm;
    if (!signer_find(job->header, job->keyring, job->now, signer, refusal))
        return false;
    bool fits = algorithm && signer->key->type == algorithm->type &&
                (!algorithm->bits || signer->key->bits == algorithm->bits);
    return fits || refuse(refusal, "algorithm does not fit the key");
}

/* A key of the bundle is looked up outside of the limit, because the look-up is cheap. So tokens of
 * a key that has been replaced do not count as a flood. */
static bool verify_within(struct signature_limit *limit, const struct verification *job,
                          struct signer *signer, struct refusal *refusal)
{
    bool has_chain = signer_has_chain(job->header);
    if (!has_chain && !find_signer(job, signer, refusal))
        return false;
    if (limit && !signature_limit_begin(limit))
        return refuse_undecided(refusal, "too many tokens to verify at the same time");
    bool good = !has_chain || find_signer(job, signer, refusal);
    if (good && !verifies(job->text, job->len, signer->key, job->algorithm))
        good = refuse(refusal, "signature does not verify");
    if (limit)
        signature_limit_end(limit, good);
    return good;
}

bool token_signature_check(const char *text, size_t len, const json_t *header,
                           const struct keyring *keyring, struct signature_limit *limit,
                           int64_t now, struct token *token, struct refusal *refusal)
{
    const struct verification job = {text, len, header, algorithm_of(header), keyring, now};
    struct signer signer = {0};
    if (!job.algorithm)
        return token_signature_algorithm(header, refusal);
    errno = 0;
    bool good = verify_within(limit, &job, &signer, refusal);
    /* Out of memory, libcrypto and libjwt report a bad token. But malloc() has set errno. */
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
