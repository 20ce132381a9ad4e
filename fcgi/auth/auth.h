/* SPDX-License-Identifier: MIT
 *
 * auth: may this request do that? (contract, section 4)
 *
 * Thread-safe. All threads share one struct auth; each of its parts has a lock of its own.
 */
#ifndef BBM_AUTH_H
#define BBM_AUTH_H

#include "auth/access.h"
#include "auth/challenge.h"
#include "auth/refusal.h"
#include "auth/signature_limit.h"
#include "auth/token.h"
#include "auth/token_cache.h"
#include "auth/trust_bundle.h"
#include "base/conf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth {
    const struct conf *conf; /* borrowed */
    struct trust_bundle *trust_bundle;
    struct token_cache *token_cache;
    struct signature_limit *signature_limit;
};

/* Reads the trust bundle that the configuration names. On failure `why` is one line, with the file
 * and the key where the bundle is at fault. The caller closes it in either case. */
bool auth_open(struct auth *auth, const struct conf *conf, char *why, size_t why_size);
void auth_close(struct auth *auth);

/* What a request brings; borrowed. */
struct auth_request {
    const char *authorization; /* the header; NULL: none, or more than one */
    const char *host;          /* likewise; "" where there is none */
};

/* The verdict. */
struct auth_result {
    struct token token;             /* also of one that lacks the action; else empty */
    struct refusal refusal;         /* empty where access is granted */
    char challenge[CHALLENGE_SIZE]; /* of a 401: the value of WWW-Authenticate; "": none */
};

/* True where the request's token grants `access`. Else `error` is a 401; or a 503 where the token
 * could not be judged: out of memory, or in a flood of tokens that do not verify. */
bool auth_check(const struct auth *auth, const struct auth_request *request, enum access access,
                struct auth_result *result, struct error *error);

/* As token_check(), with the keyring in force, and with the token cache before it. */
bool auth_token(const struct auth *auth, const char *text, size_t len, int64_t now,
                struct token *token, struct refusal *refusal);

#endif
