/* SPDX-License-Identifier: MIT
 * A bearer token: cheap checks first, the signature last, claims only after it. */
#include "token.h"

#include "base64url.h"

#include <json-c/json.h>
#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Deep enough for any token, shallow enough for a thread's stack. */
#define JSON_DEPTH 16

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

static bool refuse(const char **reason, const char *why)
{
    *reason = why;
    return false;
}

/* ---- JSON, strictly ---- */

static struct json_object *parse_object(const char *text, size_t len)
{
    unsigned char *bytes = malloc(len / 4 * 3 + 2);
    struct json_object *json = NULL;
    size_t size;
    if (bytes && base64url_decode(text, len, bytes, &size)) {
        struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
        if (tokener) {
            json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
            json = json_tokener_parse_ex(tokener, (const char *)bytes, (int)size);
            if (json_tokener_get_error(tokener) != json_tokener_success ||
                json_tokener_get_parse_end(tokener) != size) {
                json_object_put(json);
                json = NULL;
            }
            json_tokener_free(tokener);
        }
    }
    free(bytes);
    if (json && !json_object_is_type(json, json_type_object)) {
        json_object_put(json);
        json = NULL;
    }
    return json;
}

/* The string member `name`; NULL where absent, of another type, or with a zero byte,
 * which C would take for its end. */
static const char *string_of(struct json_object *object, const char *name)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    const char *s = json_object_get_string(value);
    return strlen(s) == (size_t)json_object_get_string_len(value) ? s : NULL;
}

/* True where `value` is exactly the string `text`. */
static bool is_string(struct json_object *value, const char *text)
{
    return json_object_is_type(value, json_type_string) &&
           (size_t)json_object_get_string_len(value) == strlen(text) &&
           strcmp(json_object_get_string(value), text) == 0;
}

/* The integer member `name`: -1 of another type or beyond int64, 0 absent, 1 there. */
static int integer_of(struct json_object *object, const char *name, int64_t *value)
{
    struct json_object *member;
    if (!json_object_object_get_ex(object, name, &member))
        return 0;
    if (!json_object_is_type(member, json_type_int))
        return -1;
    *value = json_object_get_int64(member);
    /* json-c clamps what does not fit. */
    return json_object_get_uint64(member) > INT64_MAX || *value == INT64_MIN ? -1 : 1;
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

static bool parse(const char *text, size_t len, struct parts *parts, const char **reason)
{
    if (!split(text, len, parts))
        return refuse(reason, "not three parts");
    /* Of the signature only the spelling matters here; libjwt decodes it again. */
    unsigned char *scratch = malloc(parts->signature_len / 4 * 3 + 2);
    size_t size;
    bool spelled = scratch && base64url_decode(text + parts->signature_at, parts->signature_len,
                                               scratch, &size);
    free(scratch);
    if (!spelled)
        return refuse(reason, "signature is not base64url");
    parts->header = parse_object(text, parts->header_len);
    if (!parts->header)
        return refuse(reason, "header is not a JSON object");
    parts->claims = parse_object(text + parts->claims_at, parts->claims_len);
    if (!parts->claims)
        return refuse(reason, "claims are not a JSON object");
    return true;
}

/* ---- header ---- */

static const struct algorithm *algorithm_of(struct json_object *header)
{
    const char *name = string_of(header, "alg");
    for (size_t i = 0; name && i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    return NULL;
}

static const struct key *key_of(struct json_object *header, const struct keyring *keyring,
                                const struct algorithm *algorithm, const char **reason)
{
    const char *kid = string_of(header, "kid");
    const struct key *key = kid ? keyring_find(keyring, kid) : NULL;
    /* A header may name extensions that must be understood (RFC 7515, 4.1.11); none is. */
    if (json_object_object_get_ex(header, "crit", NULL))
        refuse(reason, "critical header extensions");
    else if (!kid)
        refuse(reason, "no key id");
    else if (!key)
        refuse(reason, "key is not trusted");
    else if (key->type != algorithm->type || (algorithm->bits && key->bits != algorithm->bits))
        refuse(reason, "algorithm does not fit the key");
    else
        return key;
    return NULL;
}

/* ---- claims ---- */

static bool audience_holds(struct json_object *claims, const char *service)
{
    struct json_object *aud;
    if (!json_object_object_get_ex(claims, "aud", &aud))
        return false;
    if (json_object_is_type(aud, json_type_string))
        return is_string(aud, service);
    if (!json_object_is_type(aud, json_type_array) ||
        json_object_array_length(aud) > AUDIENCES_MOST)
        return false;
    bool found = false;
    for (size_t i = 0; i < json_object_array_length(aud); i++) {
        struct json_object *entry = json_object_array_get_idx(aud, i);
        if (!json_object_is_type(entry, json_type_string))
            return false;
        found = found || is_string(entry, service);
    }
    return found;
}

static bool check_times(struct json_object *claims, int64_t now, struct token *token,
                        const char **reason)
{
    int64_t not_before;
    if (integer_of(claims, "exp", &token->expires) != 1)
        return refuse(reason, "no integer exp");
    /* Compared on the side that cannot overflow: `now` is the clock's. */
    if (now - TOKEN_LEEWAY > token->expires)
        return refuse(reason, "expired");
    int has = integer_of(claims, "nbf", &not_before);
    if (has < 0)
        return refuse(reason, "nbf is not an integer");
    if (has > 0 && now + TOKEN_LEEWAY < not_before)
        return refuse(reason, "not valid yet");
    return true;
}

static bool check_claims(struct json_object *claims, const struct token_policy *policy, int64_t now,
                         struct token *token, const char **reason)
{
    const char *issuer = string_of(claims, "iss");
    if (!issuer || strcmp(issuer, policy->issuer) != 0)
        return refuse(reason, "another issuer");
    if (!audience_holds(claims, policy->service))
        return refuse(reason, "another audience");
    return check_times(claims, now, token, reason);
}

static unsigned granted_by(struct json_object *actions)
{
    unsigned granted = 0;
    if (!json_object_is_type(actions, json_type_array))
        return 0;
    for (size_t i = 0; i < json_object_array_length(actions); i++) {
        struct json_object *action = json_object_array_get_idx(actions, i);
        if (is_string(action, "*"))
            granted |= ACCESS_READ | ACCESS_WRITE;
        else if (is_string(action, "read"))
            granted |= ACCESS_READ;
        else if (is_string(action, "write"))
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
        const char *type = string_of(entry, "type");
        const char *name = string_of(entry, "name");
        if (type && strcmp(type, "registry") == 0 && name &&
            strcmp(name, "background-migrations") == 0 &&
            json_object_object_get_ex(entry, "actions", &actions))
            granted |= granted_by(actions);
    }
    return granted;
}

static void copy_string(struct json_object *claims, const char *name, char *out, size_t size)
{
    const char *s = string_of(claims, name);
    snprintf(out, size, "%s", s ? s : "");
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
    return holds;
}

bool token_check(const char *text, size_t len, const struct keyring *keyring,
                 const struct token_policy *policy, int64_t now, struct token *token,
                 const char **reason)
{
    struct parts parts = {0};
    bool good = false;
    *token = (struct token){0};
    if (!parse(text, len, &parts, reason))
        goto out;
    const struct algorithm *algorithm = algorithm_of(parts.header);
    if (!algorithm) {
        refuse(reason, "algorithm is not one of those accepted");
        goto out;
    }
    const struct key *key = key_of(parts.header, keyring, algorithm, reason);
    if (!key || !check_claims(parts.claims, policy, now, token, reason))
        goto out;
    if (!signature_holds(text, len, key, algorithm)) {
        refuse(reason, "signature does not verify");
        goto out;
    }
    token->granted = access_of(parts.claims);
    copy_string(parts.claims, "sub", token->subject, sizeof token->subject);
    copy_string(parts.claims, "jti", token->id, sizeof token->id);
    good = true;
out:
    json_object_put(parts.header);
    json_object_put(parts.claims);
    return good;
}
