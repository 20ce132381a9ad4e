/* SPDX-License-Identifier: MIT
 * The claims of a token. */
#include "auth/token_claims.h"

#include "base/json_input.h"

#include <string.h>

/* distribution takes no longer list of audiences (contract, section 4). */
#define MAX_AUDIENCES 10

static bool equals(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool audience_holds(const json_t *audience, const char *service)
{
    bool found = false;
    if (json_is_string(audience))
        return equals(audience, service);
    if (json_array_size(audience) > MAX_AUDIENCES)
        return false;
    for (size_t i = 0; i < json_array_size(audience); i++) {
        const json_t *entry = json_array_get(audience, i);
        if (!json_is_string(entry))
            return false;
        found = found || equals(entry, service);
    }
    return found;
}

/* Seconds since the epoch; not INT64_MIN, whose negative does not fit an int64. */
static bool is_time(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) > INT64_MIN;
}

/* When the claims alone allow the token to be accepted. */
static bool read_times(const json_t *claims, struct token *token, struct refusal *refusal)
{
    const json_t *exp = json_input_member(claims, "exp");
    const json_t *nbf = json_input_member(claims, "nbf");
    const json_t *iat = json_input_member(claims, "iat");
    if (!is_time(exp))
        return refuse(refusal, "no integer exp");
    if (nbf && !is_time(nbf))
        return refuse(refusal, "nbf is not an integer");
    if (iat && !is_time(iat))
        return refuse(refusal, "iat is not an integer");
    int64_t last = json_integer_value(exp);
    token->until = last > INT64_MAX - TOKEN_LEEWAY ? INT64_MAX : last + TOKEN_LEEWAY;
    int64_t first = nbf ? json_integer_value(nbf) : INT64_MIN;
    token->from = first < INT64_MIN + TOKEN_LEEWAY ? INT64_MIN : first - TOKEN_LEEWAY;
    return true;
}

/* Absent, null (Ruby writes what is absent so) or a string. */
static bool may_be_string(const json_t *value)
{
    return !value || json_is_null(value) || json_is_string(value);
}

bool token_claims_check(const json_t *claims, const struct token_policy *policy, int64_t now,
                        struct token *token, struct refusal *refusal)
{
    if (!equals(json_input_member(claims, "iss"), policy->issuer))
        return refuse(refusal, "another issuer");
    if (!audience_holds(json_input_member(claims, "aud"), policy->service))
        return refuse(refusal, "another audience");
    if (!may_be_string(json_input_member(claims, "sub")) ||
        !may_be_string(json_input_member(claims, "jti")))
        return refuse(refusal, "sub or jti is not a string");
    if (!read_times(claims, token, refusal))
        return false;
    if (now > token->until)
        return refuse(refusal, "expired");
    if (now < token->from)
        return refuse(refusal, "not valid yet");
    return true;
}

static unsigned granted_by(const json_t *actions)
{
    unsigned granted = 0;
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const json_t *action = json_array_get(actions, i);
        if (equals(action, "*"))
            granted |= ACCESS_READ | ACCESS_WRITE;
        else if (equals(action, "read"))
            granted |= ACCESS_READ;
        else if (equals(action, "write"))
            granted |= ACCESS_WRITE;
    }
    return granted;
}

/* All entries for the resource count; null entries and other resources occur. jansson reads no
 * member of what is no object, and no entry of what is no list. */
unsigned token_claims_access(const json_t *claims)
{
    const json_t *list = json_input_member(claims, "access");
    unsigned granted = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        if (equals(json_input_member(entry, "type"), "registry") &&
            equals(json_input_member(entry, "name"), "background-migrations"))
            granted |= granted_by(json_input_member(entry, "actions"));
    }
    return granted;
}
