/* SPDX-License-Identifier: MIT
 *
 * token: what a bearer token says, and whether it is accepted (contract, section 4; RFC 7515, 7519;
 * distribution's token authentication specification).
 *
 * Thread-safe. No claim is handed out that a trusted key has not signed.
 *
 * Where distribution's verifier and a stricter reading differ, the stricter one applies, since a
 * refused client fetches another token:
 * - a name twice in one JSON object: refused (Go takes the last, and takes "EXP" for "exp"; names
 *   are exact here)
 * - what jansson, libjwt's parser, does not take: refused, also in claims that nobody reads: a
 *   number beyond int64 or a double, \u0000, half a surrogate pair; and nesting beyond
 *   JSON_INPUT_DEPTH (Go takes them all)
 * - `crit`, and a `typ` that is not JWT: refused (distribution looks at neither)
 * - `exp` must be there; `exp`, `nbf`, `iat` must be integers above -2^63, null is none (Go takes a
 *   null or absent one for 0); neither judges the value of `iat`
 * - base64url with padding, or with bits set beyond the last byte: refused (distribution cuts the
 *   padding off)
 * - no more than 10 audiences, 6 certificates in `x5c`
 * - see signer.h and keyring_chain.h for `x5c` and `jwk`
 * One point is less strict: an entry of `access` of an unknown form grants nothing, and the other
 * entries count; distribution refuses the whole token.
 */
#ifndef BBM_TOKEN_H
#define BBM_TOKEN_H

#include "auth/access.h"
#include "auth/keyring.h"
#include "auth/refusal.h"
#include "auth/signature_limit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds by which a clock may differ from the issuer's. */
#define TOKEN_LEEWAY 60

/* What a token must match. */
struct token_policy {
    const char *issuer;
    const char *service;
    struct signature_limit *limit; /* NULL: none */
};

/* What an accepted token says. */
struct token {
    unsigned granted;  /* bits of enum access, on registry:background-migrations */
    int64_t from;      /* when it is valid, leeway included: seconds since the epoch, */
    int64_t until;     /* both inclusive */
    char subject[256]; /* `sub`, cut to fit; "" where absent */
    char id[256];      /* `jti`, likewise */
    char key[KEY_FINGERPRINT_SIZE]; /* of the signer */
};

/* Verifies a compact JWS of `len` bytes at `now` (seconds since the epoch). On success fills
 * `token`, else `refusal`; the other is empty. */
bool token_check(const char *text, size_t len, const struct keyring *keyring,
                 const struct token_policy *policy, int64_t now, struct token *token,
                 struct refusal *refusal);

#endif
