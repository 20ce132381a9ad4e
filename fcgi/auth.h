/* SPDX-License-Identifier: MIT
 *
 * auth: may this request do that? (contract, section 4)
 *
 * Thread-safe: what it shares is in the keys it was given, behind their lock.
 */
#ifndef BBM_AUTH_H
#define BBM_AUTH_H

#include "conf.h"
#include "error.h"
#include "keys.h"
#include "request.h"
#include "response.h"
#include "token.h"

#include <stdbool.h>

struct auth {
    const struct conf *conf;
    struct keys *keys;
};

/* True where the request's token grants `access`; `token` then says whose it is. Else
 * the error is a 401, its challenge is added to the response, and the error's reason
 * tells the log why. */
bool auth_check(const struct auth *auth, const struct request *request, enum access access,
                struct token *token, struct response *response, struct error *error);

#endif
