/* SPDX-License-Identifier: MIT
 * x5c, jwk or kid. */
#include "auth/signer.h"

#include "auth/strict.h"

#include <string.h>

static bool refuse(const char **reason, const char *why)
{
    *reason = why;
    return false;
}

/* ---- x5c ---- */

static bool by_chain(struct json_object *object, const struct keyring *keyring, int64_t now,
                     struct signer *signer, const char **reason)
{
    const char *chain[KEYS_CHAIN_MOST] = {0};
    struct json_object *list;
    if (!json_object_object_get_ex(object, "x5c", &list) ||
        !json_object_is_type(list, json_type_array))
        return refuse(reason, "x5c is not a list");
    size_t count = json_object_array_length(list);
    for (size_t i = 0; i < count && i < KEYS_CHAIN_MOST; i++) {
        chain[i] = strict_text(json_object_array_get_idx(list, i));
        if (!chain[i])
            return refuse(reason, "x5c is not a list of strings");
    }
    signer->key = &signer->leaf;
    return keyring_chain(keyring, chain, count, now, &signer->leaf, &signer->from, &signer->until,
                         reason);
}

/* ---- jwk ---- */

/* The two numbers of a public key (RFC 7518, 6.2.1 and 6.3.1). */
static bool numbers_of(struct json_object *jwk, const char *numbers[2])
{
    const char *type = strict_string(jwk, "kty");
    bool rsa = type && strcmp(type, "RSA") == 0;
    if (!rsa && !(type && strcmp(type, "EC") == 0))
        return false;
    numbers[0] = strict_string(jwk, rsa ? "n" : "x");
    numbers[1] = strict_string(jwk, rsa ? "e" : "y");
    return numbers[0] && numbers[1];
}

/* A private or secret key given away is nobody's to rely on, even a trusted one. */
static bool is_private(struct json_object *jwk)
{
    static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    bool found = false;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        found = found || strict_has(jwk, members[i]);
    return found;
}

/* True where all that the JWK says of its key is so. */
static bool describes(struct json_object *jwk, const char *const numbers[2], const struct key *key)
{
    const char *curve = strict_string(jwk, "crv");
    const char *kid = strict_string(jwk, "kid");
    const char *type = strict_string(jwk, "kty");
    return strcmp(type, key->type == KEY_RSA ? "RSA" : "EC") == 0 &&
           (!key->curve || (curve && strcmp(curve, key->curve) == 0)) &&
           strcmp(numbers[0], key->jwk[0]) == 0 && strcmp(numbers[1], key->jwk[1]) == 0 &&
           (!strict_has(jwk, "kid") || (kid && strcmp(kid, key->fingerprint) == 0));
}

static bool by_jwk(struct json_object *header, const struct keyring *keyring, int64_t now,
                   struct signer *signer, const char **reason)
{
    const char *numbers[2];
    struct json_object *jwk = NULL;
    json_object_object_get_ex(header, "jwk", &jwk);
    if (!json_object_is_type(jwk, json_type_object) || !numbers_of(jwk, numbers))
        return refuse(reason, "jwk is not an RSA or EC key");
    if (is_private(jwk))
        return refuse(reason, "jwk holds a private key");
    if (strict_has(jwk, "x5c")) {
        if (!by_chain(jwk, keyring, now, signer, reason))
            return false;
    } else {
        signer->key = keyring_find_jwk(keyring, numbers);
        if (!signer->key)
            return refuse(reason, "jwk is not trusted");
    }
    return describes(jwk, numbers, signer->key) ||
           refuse(reason, "jwk does not describe the trusted key");
}

/* ---- kid ---- */

static bool by_kid(struct json_object *header, const struct keyring *keyring, struct signer *signer,
                   const char **reason)
{
    const char *kid = strict_string(header, "kid");
    signer->key = kid ? keyring_find(keyring, kid) : NULL;
    return signer->key || refuse(reason, kid ? "key is not trusted" : "no key id");
}

bool signer_find(struct json_object *header, const struct keyring *keyring, int64_t now,
                 struct signer *signer, const char **reason)
{
    *signer = (struct signer){.from = INT64_MIN, .until = INT64_MAX};
    if (strict_has(header, "x5c"))
        return by_chain(header, keyring, now, signer, reason);
    if (strict_has(header, "jwk"))
        return by_jwk(header, keyring, now, signer, reason);
    return by_kid(header, keyring, signer, reason);
}

void signer_clear(struct signer *signer)
{
    key_clear(&signer->leaf);
    signer->key = NULL;
}
