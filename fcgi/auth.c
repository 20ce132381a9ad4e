/* SPDX-License-Identifier: MIT
 * May this request do that? */
#include "auth.h"

#include "metrics.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The action that the challenge asks for. */
static const char *action_of(const struct auth *auth, enum access access)
{
    if (auth->conf->fcgi.challenge_all)
        return "*";
    return access == ACCESS_WRITE ? "write" : "read";
}

/* Appends name="value" with the value as a quoted-string (RFC 9110, 5.6.4). False where
 * it does not fit whole. */
static bool quote(char *out, size_t size, const char *name, const char *value)
{
    size_t len = strlen(out);
    /* At the most: a comma, the name, =", every byte of the value escaped, a quote. */
    if (size - len < strlen(name) + 2 * strlen(value) + 5)
        return false;
    len += (size_t)snprintf(out + len, size - len, "%s%s=\"", len > 7 ? "," : "", name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            out[len++] = '\\';
        out[len++] = *value;
    }
    snprintf(out + len, size - len, "\"");
    return true;
}

/* A Host header that may stand in a URL: a client's word, so no more than names,
 * addresses and a port are taken. */
static bool host_is_fit(const char *host)
{
    size_t len =
        strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]");
    return len > 0 && len < 256 && host[len] == '\0';
}

/* WWW-Authenticate, as distribution's token specification and RFC 6750 write it. */
static void challenge(const struct auth *auth, const struct request *request, enum access access,
                      const char *fault, struct response *response)
{
    const struct conf_token *conf = &auth->conf->token;
    char header[2000] = "Bearer ";
    char redirect[300];
    char scope[64];
    const char *realm = conf->realm;
    snprintf(scope, sizeof scope, "registry:background-migrations:%s", action_of(auth, access));
    if (conf->autoredirect && host_is_fit(request->host)) {
        snprintf(redirect, sizeof redirect, "https://%s/auth/token", request->host);
        realm = redirect;
    }
    /* Half a challenge would lead clients astray; a realm or service of a thousand
     * characters gets none. */
    if (quote(header, sizeof header, "realm", realm) &&
        quote(header, sizeof header, "service", conf->service) &&
        quote(header, sizeof header, "scope", scope) &&
        (!fault || quote(header, sizeof header, "error", fault)))
        response_header(response, "WWW-Authenticate", header);
}

/* The access that was asked, in the registry's spelling. */
static struct json_object *asked(const struct auth *auth, enum access access)
{
    struct json_object *entry = json_object_new_object();
    json_object_object_add(entry, "Type", json_object_new_string("registry"));
    json_object_object_add(entry, "Class", json_object_new_string(""));
    json_object_object_add(entry, "Name", json_object_new_string("background-migrations"));
    json_object_object_add(entry, "ProjectPath", json_object_new_string(""));
    json_object_object_add(entry, "Action", json_object_new_string(action_of(auth, access)));
    struct json_object *list = json_object_new_array_ext(1);
    json_object_array_add(list, entry);
    return list;
}

/* Why the request is refused, for the challenge; NULL where it carried no token. */
static const char *judge(const struct auth *auth, const struct request *request, enum access access,
                         struct token *token, const char **reason)
{
    size_t len;
    const struct token_policy policy = {auth->conf->token.issuer, auth->conf->token.service};
    const char *text = request_bearer(request, &len);
    *reason = request->authorization ? "Authorization is not one bearer token" : "no token";
    if (!text)
        return NULL;
    struct keyring *keyring = keys_current(auth->keys);
    bool good = token_check(text, len, keyring, &policy, (int64_t)time(NULL), token, reason);
    keyring_drop(keyring);
    if (!good)
        return "invalid_token";
    *reason = token->granted & access ? NULL : "token lacks the action";
    return "insufficient_scope";
}

static enum metrics_token verdict_of(const char *fault, const char *reason)
{
    if (!reason)
        return METRICS_TOKEN_ACCEPTED;
    if (!fault)
        return METRICS_TOKEN_NONE;
    return strcmp(fault, "invalid_token") == 0 ? METRICS_TOKEN_INVALID : METRICS_TOKEN_INSUFFICIENT;
}

bool auth_check(const struct auth *auth, const struct request *request, enum access access,
                struct token *token, struct response *response, struct error *error)
{
    const char *reason;
    *token = (struct token){0};
    const char *fault = judge(auth, request, access, token, &reason);
    metrics_token(verdict_of(fault, reason));
    if (!reason)
        return true;
    challenge(auth, request, access, fault, response);
    error_unauthorized(error, asked(auth, access));
    snprintf(error->reason, sizeof error->reason, "%s", reason);
    return false;
}
