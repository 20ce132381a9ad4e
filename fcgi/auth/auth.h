/* SPDX-License-Identifier: MIT
 *
 * auth: may this request do that? (contract, section 4)
 *
 * Thread-safe: what it shares is in the keys and the verified tokens it was given, behind
 * their locks.
 */
#ifndef BBM_AUTH_H
#define BBM_AUTH_H

#include "auth/keys.h"
#include "auth/token.h"
#include "auth/token_cache.h"
#include "base/conf.h"
#include "base/error.h"
#include "http/request.h"
#include "http/response.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth {
    const struct conf *conf;
    struct keys *keys;
    struct token_cache *token_cache;
    struct signature_limit *signature_limit; /* NULL: none */
};

/* True where the request's token grants `access`; `token` then says whose it is. Else
 * the error is a 401, its challenge is added to the response, the error's reason tells the
 * log why, and `refusal` what the token says of itself; or a 503 where the token could not be
 * judged: out of memory, or in a flood of tokens that do not verify. */
bool auth_check(const struct auth *auth, const struct request *request, enum access access,
                struct token *token, struct refusal *refusal, struct response *response,
                struct error *error);

/* As token_check, with the keys in force; what has been verified is remembered. */
bool auth_token(const struct auth *auth, const char *text, size_t len, int64_t now,
                struct token *token, struct refusal *refusal);

#endif
