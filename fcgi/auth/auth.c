/* SPDX-License-Identifier: MIT
 * May this request do that? */
#include "auth/auth.h"

#include "base/json.h"
#include "base/metrics.h"

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

/* A header's value under construction. */
struct header {
    size_t len;
    bool cut; /* it did not fit whole */
    char text[2000];
};

static void add_char(struct header *header, char c)
{
    header->cut = header->cut || header->len + 1 == sizeof header->text;
    if (!header->cut)
        header->text[header->len++] = c;
}

static void add_text(struct header *header, const char *text)
{
    for (; *text; text++)
        add_char(header, *text);
}

/* Adds name="value" with the value as a quoted-string (RFC 9110, 5.6.4). */
static void add_parameter(struct header *header, const char *name, const char *value)
{
    add_text(header, name);
    add_text(header, "=\"");
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            add_char(header, '\\');
        add_char(header, *value);
    }
    add_char(header, '"');
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
    struct header header = {.len = 0};
    char realm[300];
    char scope[64];
    snprintf(scope, sizeof scope, "registry:background-migrations:%s", action_of(auth, access));
    bool redirect = conf->autoredirect && host_is_fit(request->host);
    if (redirect)
        snprintf(realm, sizeof realm, "https://%s/auth/token", request->host);
    add_text(&header, "Bearer ");
    add_parameter(&header, "realm", redirect ? realm : conf->realm);
    add_text(&header, ",");
    add_parameter(&header, "service", conf->service);
    add_text(&header, ",");
    add_parameter(&header, "scope", scope);
    if (fault) {
        add_text(&header, ",");
        add_parameter(&header, "error", fault);
    }
    /* Half a challenge would lead clients astray. */
    if (!header.cut)
        response_header(response, "WWW-Authenticate", header.text);
}

/* The access that was asked, in the registry's spelling. */
static struct json_object *asked(const struct auth *auth, enum access access)
{
    struct json_object *entry = json_object_new_object();
    json_add(&entry, "Type", json_object_new_string("registry"));
    json_add(&entry, "Class", json_object_new_string(""));
    json_add(&entry, "Name", json_object_new_string("background-migrations"));
    json_add(&entry, "ProjectPath", json_object_new_string(""));
    json_add(&entry, "Action", json_object_new_string(action_of(auth, access)));
    struct json_object *list = json_object_new_array_ext(1);
    json_append(&list, entry);
    return list;
}

bool auth_token(const struct auth *auth, const char *text, size_t len, int64_t now,
                struct token *token, struct refusal *refusal)
{
    const struct token_policy policy = {auth->conf->token.issuer, auth->conf->token.service,
                                        auth->signature_limit};
    unsigned char digest[TOKEN_CACHE_DIGEST_SIZE];
    bool named = token_cache_digest(auth->token_cache, text, len, digest);
    *refusal = (struct refusal){0};
    if (named && token_cache_find(auth->token_cache, digest, keys_serial(auth->keys), now, token))
        return true;
    struct keyring *keyring = keys_current(auth->keys);
    bool good = token_check(text, len, keyring, &policy, now, token, refusal);
    if (named && good)
        token_cache_keep(auth->token_cache, digest, keyring_serial(keyring), token);
    keyring_drop(keyring);
    return good;
}

/* Why the request is refused, for the challenge; NULL where it carried no token. The
 * refusal's reason is NULL where the request is not refused. */
static const char *judge(const struct auth *auth, const struct request *request, enum access access,
                         struct token *token, struct refusal *refusal)
{
    size_t len;
    const char *text = request_bearer(request, &len);
    *refusal = (struct refusal){0};
    if (!text) {
        refusal->reason =
            request->authorization ? "Authorization is not one bearer token" : "no token";
        return NULL;
    }
    if (!auth_token(auth, text, len, (int64_t)time(NULL), token, refusal))
        return "invalid_token";
    if (!(token->granted & access)) {
        refusal->reason = "token lacks the action";
        snprintf(refusal->issuer, sizeof refusal->issuer, "%s", auth->conf->token.issuer);
        snprintf(refusal->kid, sizeof refusal->kid, "%s", token->key);
    }
    return "insufficient_scope";
}

static enum metrics_token verdict_of(const char *fault)
{
    if (!fault)
        return METRICS_TOKEN_NONE;
    return strcmp(fault, "invalid_token") == 0 ? METRICS_TOKEN_INVALID : METRICS_TOKEN_INSUFFICIENT;
}

bool auth_check(const struct auth *auth, const struct request *request, enum access access,
                struct token *token, struct refusal *refusal, struct response *response,
                struct error *error)
{
    *token = (struct token){0};
    const char *fault = judge(auth, request, access, token, refusal);
    if (refusal->undecided)
        return error_unavailable(error, "token not judged: %s", refusal->reason);
    if (!refusal->reason)
        return true;
    metrics_token(verdict_of(fault));
    challenge(auth, request, access, fault, response);
    error_unauthorized(error, asked(auth, access));
    snprintf(error->reason, sizeof error->reason, "%s", refusal->reason);
    return false;
}
