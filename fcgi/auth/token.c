/* SPDX-License-Identifier: MIT
 * A bearer token: cheap checks first, the signature last, claims only after it. */
#include "auth/token.h"

#include "auth/signer.h"
#include "auth/strict.h"
#include "base/base64.h"

#include <jwt.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* distribution takes no longer list of audiences (contract, section 4). */
#define AUDIENCES_MOST 10

/* The algorithms that may reach libjwt, which would otherwise follow the token's own
 * word and take HS256 with a public key's PEM as the secret, or ES256 on a P-384 key. */
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

/* The three parts of a compact JWS, and what the first two decode to. */
struct parts {
    size_t header_len; /* in base64url */
    size_t claims_at;
    size_t claims_len;
    size_t signature_at;
    size_t signature_len;
    struct json_object *header;
    struct json_object *claims;
};

static bool refuse(struct refusal *refusal, const char *why)
{
    refusal->reason = why;
    return false;
}

static void copy_string(struct json_object *object, const char *name, char *out, size_t size)
{
    const char *s = strict_string(object, name);
    snprintf(out, size, "%s", s ? s : "");
}

/* ---- shape ---- */

static bool split(const char *text, size_t len, struct parts *parts)
{
    const char *first = memchr(text, '.', len);
    if (!first)
        return false;
    parts->header_len = (size_t)(first - text);
    parts->claims_at = parts->header_len + 1;
    const char *second = memchr(text + parts->claims_at, '.', len - parts->claims_at);
    if (!second)
        return false;
    parts->claims_len = (size_t)(second - text) - parts->claims_at;
    parts->signature_at = parts->claims_at + parts->claims_len + 1;
    parts->signature_len = len - parts->signature_at;
    return parts->signature_len > 0 &&
           !memchr(text + parts->signature_at, '.', parts->signature_len);
}

static struct json_object *decode_object(const char *text, size_t len)
{
    unsigned char *bytes = malloc(BASE64_DECODED(len));
    struct json_object *object = NULL;
    size_t size;
    if (bytes && base64url_decode(text, len, bytes, &size))
        object = strict_object((const char *)bytes, size);
    free(bytes);
    return object;
}

/* Of the signature only the spelling matters here; libjwt decodes it again. */
static bool is_spelt(const char *text, size_t len)
{
    unsigned char *scratch = malloc(BASE64_DECODED(len));
    size_t size;
    bool spelt = scratch && base64url_decode(text, len, scratch, &size);
    free(scratch);
    return spelt;
}

static bool parse(const char *text, size_t len, struct parts *parts, struct refusal *refusal)
{
    if (!split(text, len, parts))
        return refuse(refusal, "not three parts");
    if (!is_spelt(text + parts->signature_at, parts->signature_len))
        return refuse(refusal, "signature is not base64url");
    parts->header = decode_object(text, parts->header_len);
    if (!parts->header)
        return refuse(refusal, "header is not a JSON object in base64url, or has a name twice");
    copy_string(parts->header, "kid", refusal->kid, sizeof refusal->kid);
    parts->claims = decode_object(text + parts->claims_at, parts->claims_len);
    if (!parts->claims)
        return refuse(refusal, "claims are not a JSON object in base64url, or have a name twice");
    copy_string(parts->claims, "iss", refusal->issuer, sizeof refusal->issuer);
    copy_string(parts->claims, "sub", refusal->subject, sizeof refusal->subject);
    return true;
}

/* ---- header ---- */

static const struct algorithm *algorithm_of(struct json_object *header)
{
    const char *name = strict_string(header, "alg");
    for (size_t i = 0; name && i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    return NULL;
}

static bool check_header(struct json_object *header, struct refusal *refusal)
{
    const char *type = strict_string(header, "typ");
    if (!algorithm_of(header))
        return refuse(refusal, "algorithm is not one of those accepted");
    /* A header may name extensions that must be understood (RFC 7515, 4.1.11); none is. */
    if (strict_has(header, "crit"))
        return refuse(refusal, "critical header extensions");
    /* libjwt refuses another kind of thing too, later and without a word. */
    if (strict_has(header, "typ") && !(type && strcasecmp(type, "JWT") == 0))
        return refuse(refusal, "typ is not JWT");
    return true;
}

/* ---- claims ---- */

static bool audience_holds(struct json_object *claims, const char *service)
{
    struct json_object *aud;
    if (!json_object_object_get_ex(claims, "aud", &aud))
        return false;
    if (json_object_is_type(aud, json_type_string))
        return strict_is(aud, service);
    if (!json_object_is_type(aud, json_type_array) ||
        json_object_array_length(aud) > AUDIENCES_MOST)
        return false;
    bool found = false;
    for (size_t i = 0; i < json_object_array_length(aud); i++) {
        struct json_object *entry = json_object_array_get_idx(aud, i);
        if (!json_object_is_type(entry, json_type_string))
            return false;
        found = found || strict_is(entry, service);
    }
    return found;
}

/* When the claims alone allow the token to be believed. */
static bool read_times(struct json_object *claims, struct token *token, struct refusal *refusal)
{
    int64_t value;
    if (strict_integer(claims, "exp", &value) != 1)
        return refuse(refusal, "no integer exp");
    token->until = value > INT64_MAX - TOKEN_LEEWAY ? INT64_MAX : value + TOKEN_LEEWAY;
    int has = strict_integer(claims, "nbf", &value);
    if (has < 0)
        return refuse(refusal, "nbf is not an integer");
    token->from = INT64_MIN;
    if (has > 0 && value > INT64_MIN + TOKEN_LEEWAY)
        token->from = value - TOKEN_LEEWAY;
    if (strict_integer(claims, "iat", &value) < 0)
        return refuse(refusal, "iat is not an integer");
    return true;
}

/* Absent, null (as Ruby writes what is not there) or a string. */
static bool may_be_string(struct json_object *claims, const char *name)
{
    struct json_object *value;
    return !json_object_object_get_ex(claims, name, &value) || !value ||
           json_object_is_type(value, json_type_string);
}

static bool check_claims(struct json_object *claims, const struct token_policy *policy, int64_t now,
                         struct token *token, struct refusal *refusal)
{
    struct json_object *issuer = NULL;
    json_object_object_get_ex(claims, "iss", &issuer);
    if (!strict_is(issuer, policy->issuer))
        return refuse(refusal, "another issuer");
    if (!audience_holds(claims, policy->service))
        return refuse(refusal, "another audience");
    if (!may_be_string(claims, "sub") || !may_be_string(claims, "jti"))
        return refuse(refusal, "sub or jti is not a string");
    if (!read_times(claims, token, refusal))
        return false;
    if (now > token->until)
        return refuse(refusal, "expired");
    if (now < token->from)
        return refuse(refusal, "not valid yet");
    return true;
}

static unsigned granted_by(struct json_object *actions)
{
    unsigned granted = 0;
    if (!json_object_is_type(actions, json_type_array))
        return 0;
    for (size_t i = 0; i < json_object_array_length(actions); i++) {
        struct json_object *action = json_object_array_get_idx(actions, i);
        if (strict_is(action, "*"))
            granted |= ACCESS_READ | ACCESS_WRITE;
        else if (strict_is(action, "read"))
            granted |= ACCESS_READ;
        else if (strict_is(action, "write"))
            granted |= ACCESS_WRITE;
    }
    return granted;
}

/* All entries for our resource count; null entries and other resources occur. */
static unsigned access_of(struct json_object *claims)
{
    struct json_object *list;
    struct json_object *actions;
    unsigned granted = 0;
    if (!json_object_object_get_ex(claims, "access", &list) ||
        !json_object_is_type(list, json_type_array))
        return 0;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        if (!json_object_is_type(entry, json_type_object))
            continue;
        const char *type = strict_string(entry, "type");
        const char *name = strict_string(entry, "name");
        if (type && strcmp(type, "registry") == 0 && name &&
            strcmp(name, "background-migrations") == 0 &&
            json_object_object_get_ex(entry, "actions", &actions))
            granted |= granted_by(actions);
    }
    return granted;
}

/* ---- signature ---- */

static bool signature_holds(const char *text, size_t len, const struct key *key,
                            const struct algorithm *algorithm)
{
    jwt_t *jwt = NULL;
    char *copy = strndup(text, len); /* libjwt wants a closing zero */
    bool holds =
        copy &&
        jwt_decode(&jwt, copy, (const unsigned char *)key->pem, (int)strlen(key->pem)) == 0 &&
        jwt_get_alg(jwt) == algorithm->alg;
    jwt_free(jwt);
    free(copy);
    ERR_clear_error(); /* libjwt leaves OpenSSL's errors to whoever comes next, libpq for one */
    return holds;
}

static bool fits(const struct algorithm *algorithm, const struct key *key)
{
    return key->type == algorithm->type && (!algorithm->bits || key->bits == algorithm->bits);
}

/* The costly part: a chain of certificates where the token brings one, and the signature. */
static bool check_signature(const char *text, size_t len, struct json_object *header,
                            const struct keyring *keyring, int64_t now, struct token *token,
                            struct refusal *refusal)
{
    const struct algorithm *algorithm = algorithm_of(header);
    struct signer signer;
    bool good = false;
    if (!signer_find(header, keyring, now, &signer, &refusal->reason))
        goto out;
    if (!fits(algorithm, signer.key)) {
        refuse(refusal, "algorithm does not fit the key");
        goto out;
    }
    if (!signature_holds(text, len, signer.key, algorithm)) {
        refuse(refusal, "signature does not verify");
        goto out;
    }
    /* Whoever remembers the token must not do so beyond its signer's time. */
    token->from = signer.from > token->from ? signer.from : token->from;
    token->until = signer.until < token->until ? signer.until : token->until;
    memcpy(token->key, signer.key->fingerprint, sizeof token->key);
    good = true;
out:
    signer_clear(&signer);
    return good;
}

bool token_check(const char *text, size_t len, const struct keyring *keyring,
                 const struct token_policy *policy, int64_t now, struct token *token,
                 struct refusal *refusal)
{
    struct parts parts = {0};
    *token = (struct token){0};
    *refusal = (struct refusal){0};
    bool good = parse(text, len, &parts, refusal) && check_header(parts.header, refusal) &&
                check_claims(parts.claims, policy, now, token, refusal) &&
                check_signature(text, len, parts.header, keyring, now, token, refusal);
    if (good) {
        token->granted = access_of(parts.claims);
        copy_string(parts.claims, "sub", token->subject, sizeof token->subject);
        copy_string(parts.claims, "jti", token->id, sizeof token->id);
        *refusal = (struct refusal){0};
    } else {
        *token = (struct token){0};
    }
    json_object_put(parts.header);
    json_object_put(parts.claims);
    return good;
}
