/* SPDX-License-Identifier: MIT
 * The key that x5c, jwk or kid names. */
#include "auth/signer.h"

#include "auth/keyring_chain.h"
#include "base/json_input.h"

#include <string.h>

/* ---- x5c ---- */

static bool find_by_chain(const json_t *object, const struct keyring *keyring, int64_t now,
                          struct signer *signer, struct refusal *refusal)
{
    const char *texts[KEYRING_MAX_CHAIN] = {0};
    const json_t *list = json_input_member(object, "x5c");
    if (!json_is_array(list))
        return refuse(refusal, "x5c is not a list");
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i < KEYRING_MAX_CHAIN; i++) {
        texts[i] = json_string_value(json_array_get(list, i));
        if (!texts[i])
            return refuse(refusal, "x5c is not a list of strings");
    }
    signer->key = &signer->leaf;
    return keyring_chain_verify(keyring, texts, count, now, &signer->leaf, &signer->from,
                                &signer->until, refusal);
}

/* ---- jwk ---- */

/* The two numbers of a public key (RFC 7518, 6.2.1 and 6.3.1). */
static bool read_numbers(const json_t *jwk, const char *numbers[2])
{
    const char *type = json_input_string(jwk, "kty");
    bool rsa = type && strcmp(type, "RSA") == 0;
    if (!rsa && !(type && strcmp(type, "EC") == 0))
        return false;
    numbers[0] = json_input_string(jwk, rsa ? "n" : "x");
    numbers[1] = json_input_string(jwk, rsa ? "e" : "y");
    return numbers[0] && numbers[1];
}

/* Anybody who reads such a token can sign with its key, even where the key is trusted (RFC 7518,
 * 6.2.2, 6.3.2 and 6.4). */
static bool is_private(const json_t *jwk)
{
    static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    bool found = false;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        found = found || json_input_member(jwk, members[i]);
    return found;
}

/* True where all that the JWK says of its key is right. */
static bool describes(const json_t *jwk, const char *const numbers[2], const struct key *key)
{
    const char *curve = json_input_string(jwk, "crv");
    const char *kid = json_input_string(jwk, "kid");
    const char *type = json_input_string(jwk, "kty");
    return strcmp(type, key->type == KEY_RSA ? "RSA" : "EC") == 0 &&
           (!key->curve || (curve && strcmp(curve, key->curve) == 0)) &&
           strcmp(numbers[0], key->jwk[0]) == 0 && strcmp(numbers[1], key->jwk[1]) == 0 &&
           (!json_input_member(jwk, "kid") || (kid && strcmp(kid, key->fingerprint) == 0));
}

static bool find_by_jwk(const json_t *header, const struct keyring *keyring, int64_t now,
                        struct signer *signer, struct refusal *refusal)
{
    const char *numbers[2];
    const json_t *jwk = json_input_member(header, "jwk");
    if (!read_numbers(jwk, numbers))
        return refuse(refusal, "jwk is not an RSA or EC key");
    if (is_private(jwk))
        return refuse(refusal, "jwk holds a private key");
    if (json_input_member(jwk, "x5c")) {
        if (!find_by_chain(jwk, keyring, now, signer, refusal))
            return false;
    } else {
        signer->key = keyring_find_jwk(keyring, numbers);
        if (!signer->key)
            return refuse(refusal, "jwk is not trusted");
    }
    return describes(jwk, numbers, signer->key) ||
           refuse(refusal, "jwk does not describe the trusted key");
}

/* ---- kid ---- */

static bool find_by_kid(const json_t *header, const struct keyring *keyring, struct signer *signer,
                        struct refusal *refusal)
{
    const char *kid = json_input_string(header, "kid");
    signer->key = kid ? keyring_find(keyring, kid) : NULL;
    return signer->key || refuse(refusal, kid ? "key is not trusted" : "no key id");
}

bool signer_has_chain(const json_t *header)
{
    return json_input_member(header, "x5c") ||
           json_input_member(json_input_member(header, "jwk"), "x5c");
}

bool signer_find(const json_t *header, const struct keyring *keyring, int64_t now,
                 struct signer *signer, struct refusal *refusal)
{
    *signer = (struct signer){.from = INT64_MIN, .until = INT64_MAX};
    if (json_input_member(header, "x5c"))
        return find_by_chain(header, keyring, now, signer, refusal);
    if (json_input_member(header, "jwk"))
        return find_by_jwk(header, keyring, now, signer, refusal);
    return find_by_kid(header, keyring, signer, refusal);
}

void signer_clear(struct signer *signer)
{
    keyring_key_clear(&signer->leaf);
    signer->key = NULL;
}
