/* SPDX-License-Identifier: MIT
 * A bearer token: cheap checks come first, the signature last. */
#include "auth/token.h"

#include "auth/token_claims.h"
#include "auth/token_signature.h"
#include "base/base64.h"
#include "base/json_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The three parts of a compact JWS, as places in its text, and what the first two decode to. */
struct parts {
    size_t header_len; /* in base64url */
    size_t claims_at;
    size_t claims_len;
    size_t signature_at;
    size_t signature_len;
    struct json_input json; /* holds the next two */
    const json_t *header;
    const json_t *claims;
};

static void copy_string(const json_t *object, const char *name, char *out, size_t size)
{
    const char *s = json_input_string(object, name);
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

/* What the log says of each fault. */
static const char *const header_faults[] = {
    [JSON_INPUT_NO_OBJECT] = "header is not a JSON object in base64url",
    [JSON_INPUT_NAME_TWICE] = "header has a name twice",
    [JSON_INPUT_NUMBER] = "libjwt cannot parse the header: a number beyond 64 bits",
    [JSON_INPUT_ZERO] = "libjwt cannot parse the header: the character \\u0000",
    [JSON_INPUT_SURROGATE] = "libjwt cannot parse the header: half a surrogate pair",
    [JSON_INPUT_DEEP] = "header is nested too deeply",
    [JSON_INPUT_OUT_OF_MEMORY] = "out of memory",
};
static const char *const claims_faults[] = {
    [JSON_INPUT_NO_OBJECT] = "claims are not a JSON object in base64url",
    [JSON_INPUT_NAME_TWICE] = "claims have a name twice",
    [JSON_INPUT_NUMBER] = "libjwt cannot parse the claims: a number beyond 64 bits",
    [JSON_INPUT_ZERO] = "libjwt cannot parse the claims: the character \\u0000",
    [JSON_INPUT_SURROGATE] = "libjwt cannot parse the claims: half a surrogate pair",
    [JSON_INPUT_DEEP] = "claims are nested too deeply",
    [JSON_INPUT_OUT_OF_MEMORY] = "out of memory",
};

static enum json_input_fault decode(const char *text, size_t len, struct json_input *json,
                                    const json_t **object)
{
    unsigned char *bytes = malloc(BASE64_DECODED(len));
    enum json_input_fault fault = JSON_INPUT_NO_OBJECT;
    size_t size;
    if (!bytes)
        fault = JSON_INPUT_OUT_OF_MEMORY;
    else if (base64url_decode(text, len, bytes, &size))
        fault = json_input_read(json, (const char *)bytes, size, object);
    free(bytes);
    return fault;
}

static bool decode_object(const char *text, size_t len, struct parts *parts, const json_t **object,
                          const char *const faults[], struct refusal *refusal)
{
    enum json_input_fault fault = decode(text, len, &parts->json, object);
    if (fault == JSON_INPUT_OUT_OF_MEMORY)
        return refuse_undecided(refusal, faults[fault]);
    return fault == JSON_INPUT_GOOD || refuse(refusal, faults[fault]);
}

/* libjwt decodes the signature again, but accepts other spellings of it. */
static bool check_spelling(const char *text, size_t len, struct refusal *refusal)
{
    unsigned char *scratch = malloc(BASE64_DECODED(len));
    size_t size;
    if (!scratch)
        return refuse_undecided(refusal, "out of memory");
    bool good = base64url_decode(text, len, scratch, &size);
    free(scratch);
    return good || refuse(refusal, "signature is not base64url");
}

static bool parse(const char *text, size_t len, struct parts *parts, struct refusal *refusal)
{
    if (!split(text, len, parts))
        return refuse(refusal, "not three parts");
    if (!check_spelling(text + parts->signature_at, parts->signature_len, refusal) ||
        !decode_object(text, parts->header_len, parts, &parts->header, header_faults, refusal))
        return false;
    copy_string(parts->header, "kid", refusal->kid, sizeof refusal->kid);
    if (!decode_object(text + parts->claims_at, parts->claims_len, parts, &parts->claims,
                       claims_faults, refusal))
        return false;
    copy_string(parts->claims, "iss", refusal->issuer, sizeof refusal->issuer);
    copy_string(parts->claims, "sub", refusal->subject, sizeof refusal->subject);
    return true;
}

/* ---- header ---- */

static bool check_header(const json_t *header, struct refusal *refusal)
{
    const json_t *type = json_input_member(header, "typ");
    if (!token_signature_algorithm(header, refusal))
        return false;
    /* A header may name extensions that must be understood (RFC 7515, 4.1.11); none is. */
    if (json_input_member(header, "crit"))
        return refuse(refusal, "critical header extensions");
    /* libjwt refuses another type too, but later and without a reason. */
    if (type && !(json_is_string(type) && strcasecmp(json_string_value(type), "JWT") == 0))
        return refuse(refusal, "typ is not JWT");
    return true;
}

bool token_check(const char *text, size_t len, const struct keyring *keyring,
                 const struct token_policy *policy, int64_t now, struct token *token,
                 struct refusal *refusal)
{
    struct parts parts = {0};
    *token = (struct token){0};
    *refusal = (struct refusal){0};
    bool good =
        parse(text, len, &parts, refusal) && check_header(parts.header, refusal) &&
        token_claims_check(parts.claims, policy, now, token, refusal) &&
        token_signature_check(text, len, parts.header, keyring, policy->limit, now, token, refusal);
    if (good) {
        token->granted = token_claims_access(parts.claims);
        copy_string(parts.claims, "sub", token->subject, sizeof token->subject);
        copy_string(parts.claims, "jti", token->id, sizeof token->id);
        *refusal = (struct refusal){0};
    } else {
        *token = (struct token){0};
    }
    json_input_free(&parts.json);
    return good;
}
