/* SPDX-License-Identifier: MIT
 * May this request do that? */
#include "auth/auth.h"

#include "auth/bearer.h"
#include "base/json.h"
#include "base/metrics.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

bool auth_open(struct auth *auth, const struct conf *conf, char *why, size_t why_size)
{
    char bundle_why[512];
    *auth = (struct auth){.conf = conf};
    auth->trust_bundle =
        trust_bundle_open(conf->token.rootcertbundle, bundle_why, sizeof bundle_why);
    if (!auth->trust_bundle) {
        snprintf(why, why_size, "%s: auth.token.rootcertbundle: %s", conf->file, bundle_why);
        return false;
    }
    auth->token_cache = token_cache_new();
    auth->signature_limit = signature_limit_new((unsigned)conf->fcgi.threads);
    if (auth->token_cache && auth->signature_limit)
        return true;
    snprintf(why, why_size, "out of memory");
    return false;
}

void auth_close(struct auth *auth)
{
    signature_limit_free(auth->signature_limit);
    token_cache_free(auth->token_cache);
    trust_bundle_close(auth->trust_bundle);
    *auth = (struct auth){0};
}

bool auth_token(const struct auth *auth, const char *text, size_t len, int64_t now,
                struct token *token, struct refusal *refusal)
{
    const struct token_policy policy = {auth->conf->token.issuer, auth->conf->token.service,
                                        auth->signature_limit};
    unsigned char digest[DIGEST_SIZE];
    bool has_digest = token_cache_digest(auth->token_cache, text, len, digest);
    *refusal = (struct refusal){0};
    if (has_digest && token_cache_find(auth->token_cache, digest,
                                       trust_bundle_serial(auth->trust_bundle), now, token))
        return true;
    struct keyring *keyring = trust_bundle_keyring(auth->trust_bundle);
    bool good = token_check(text, len, keyring, &policy, now, token, refusal);
    if (has_digest && good)
        token_cache_keep(auth->token_cache, digest, keyring_serial(keyring), token);
    keyring_unref(keyring);
    return good;
}

/* Fills the result's token or refusal. On failure `fault` is what the challenge names. */
static bool judge(const struct auth *auth, const char *authorization, enum access access,
                  struct auth_result *result, enum challenge_error *fault)
{
    struct refusal *refusal = &result->refusal;
    size_t len;
    const char *text = bearer_token(authorization, &len);
    *fault = CHALLENGE_NO_TOKEN;
    if (!text)
        return refuse(refusal,
                      authorization ? "Authorization is not one bearer token" : "no token");
    *fault = CHALLENGE_INVALID_TOKEN;
    if (!auth_token(auth, text, len, (int64_t)time(NULL), &result->token, refusal))
        return false;
    if (result->token.granted & access)
        return true;
    *fault = CHALLENGE_INSUFFICIENT_SCOPE;
    snprintf(refusal->issuer, sizeof refusal->issuer, "%s", auth->conf->token.issuer);
    snprintf(refusal->kid, sizeof refusal->kid, "%s", result->token.key);
    return refuse(refusal, "token lacks the action");
}

static void count_refused(enum challenge_error fault)
{
    static const enum metrics_token verdicts[] = {
        [CHALLENGE_NO_TOKEN] = METRICS_TOKEN_NONE,
        [CHALLENGE_INVALID_TOKEN] = METRICS_TOKEN_INVALID,
        [CHALLENGE_INSUFFICIENT_SCOPE] = METRICS_TOKEN_INSUFFICIENT,
    };
    metrics_token(verdicts[fault]);
}

/* The access that is asked, as the registry writes it. */
static struct json_object *asked_access(const struct conf *conf, enum access access)
{
    struct json_object *entry = json_object_new_object();
    json_add(&entry, "Type", json_object_new_string("registry"));
    json_add(&entry, "Class", json_object_new_string(""));
    json_add(&entry, "Name", json_object_new_string("background-migrations"));
    json_add(&entry, "ProjectPath", json_object_new_string(""));
    json_add(&entry, "Action", json_object_new_string(challenge_action(conf, access)));
    struct json_object *list = json_object_new_array_ext(1);
    json_append(&list, entry);
    return list;
}

bool auth_check(const struct auth *auth, const struct auth_request *request, enum access access,
                struct auth_result *result, struct error *error)
{
    enum challenge_error fault;
    result->token = (struct token){0};
    result->refusal = (struct refusal){0};
    result->challenge[0] = '\0';
    if (judge(auth, request->authorization, access, result, &fault))
        return true;
    if (result->refusal.undecided)
        return error_unavailable(error, "token not judged: %s", result->refusal.reason);
    count_refused(fault);
    challenge_write(auth->conf, access, request->host, fault, result->challenge);
    error_unauthorized(error, asked_access(auth->conf, access));
    snprintf(error->reason, sizeof error->reason, "%s", result->refusal.reason);
    return false;
}
