/* SPDX-License-Identifier: MIT
 *
 * token: what a bearer token says, and whether to believe it (contract, section 4;
 * RFC 7515, 7519; distribution's token authentication specification).
 *
 * Pure but for the keyring it is given; thread-safe. `token_check` is the whole of
 * it: no claim is handed out that was not signed by a trusted key.
 */
#ifndef BBM_TOKEN_H
#define BBM_TOKEN_H

#include "keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds that a clock may differ from the issuer's. */
#define TOKEN_LEEWAY 60

enum access {
    ACCESS_NONE = 0, /* a route that asks for none */
    ACCESS_READ = 1,
    ACCESS_WRITE = 2,
};

/* What a token must match. */
struct token_policy {
    const char *issuer;
    const char *service;
};

struct token {
    unsigned granted;  /* bits of enum access, on registry:background-migrations */
    int64_t expires;   /* seconds since the epoch; leeway not added */
    char subject[256]; /* `sub`, cut to fit; "" where absent */
    char id[256];      /* `jti`, likewise */
};

/* Verifies a compact JWS of `len` bytes at `now` (seconds since the epoch). On refusal
 * `reason` (static) says why, for the log alone. */
bool token_check(const char *text, size_t len, const struct keyring *keyring,
                 const struct token_policy *policy, int64_t now, struct token *token,
                 const char **reason);

#endif
