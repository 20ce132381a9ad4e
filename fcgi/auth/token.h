/* SPDX-License-Identifier: MIT
 *
 * token: what a bearer token says, and whether to believe it (contract, section 4;
 * RFC 7515, 7519; distribution's token authentication specification).
 *
 * Pure but for the keyring it is given; thread-safe. `token_check` is the whole of
 * it: no claim is handed out that was not signed by a trusted key.
 *
 * Where distribution's verifier and a stricter reading differ, the stricter is taken,
 * since whoever is refused is told to fetch another token:
 * - a name twice in one JSON object: refused (Go takes the last, and takes "EXP" for
 *   "exp"; names are exact here)
 * - `crit`, and a `typ` that is not JWT: refused (distribution looks at neither)
 * - `exp` must be there; `exp`, `nbf`, `iat` must be integers, null is none (Go takes a
 *   null or absent one for 0); `iat`'s value is not judged by either
 * - base64url with padding, or with bits set beyond the last byte: refused (padding is
 *   cut off there)
 * - no more than 10 audiences, 6 certificates in `x5c`
 * - see signer.h and keys.h for `x5c` and `jwk`
 * In one point the laxer: an entry of `access` of a form unknown here grants nothing and
 * leaves the others their say; distribution then refuses the whole token.
 */
#ifndef BBM_TOKEN_H
#define BBM_TOKEN_H

#include "auth/keys.h"

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

/* What a believed token says. */
struct token {
    unsigned granted;  /* bits of enum access, on registry:background-migrations */
    int64_t from;      /* when it may be believed, leeway counted in, both inclusive, in */
    int64_t until;     /* seconds since the epoch */
    char subject[256]; /* `sub`, cut to fit; "" where absent */
    char id[256];      /* `jti`, likewise */
    char key[KEY_FINGERPRINT_SIZE]; /* who signed it */
};

/* Why a token is not believed, and what it says of itself: unproven, for the log alone. */
struct refusal {
    const char *reason; /* static; NULL: none */
    char issuer[128];   /* `iss`, cut to fit; "" where it cannot be read, and so the next two */
    char subject[128];
    char kid[128];
};

/* Verifies a compact JWS of `len` bytes at `now` (seconds since the epoch). On success
 * fills `token`, else `refusal`; the other is empty. */
bool token_check(const char *text, size_t len, const struct keyring *keyring,
                 const struct token_policy *policy, int64_t now, struct token *token,
                 struct refusal *refusal);

#endif
