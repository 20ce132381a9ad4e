/* SPDX-License-Identifier: MIT
 *
 * token_signature: the costly part of judging a token: its key, and the signature (contract,
 * section 4; RFC 7515, 5.2; RFC 7518, 3). libjwt verifies.
 *
 * Thread-safe.
 */
#ifndef BBM_TOKEN_SIGNATURE_H
#define BBM_TOKEN_SIGNATURE_H

#include "auth/token.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True where the header's `alg` is one that is accepted. */
bool token_signature_algorithm(const json_t *header, struct refusal *refusal);

/* Verifies the compact JWS of `len` bytes, whose header this is, at `now` (seconds since the
 * epoch), when the limit (NULL: none) allows it. Narrows the token's `from` and `until` to the
 * signer's, and names its key. */
bool token_signature_check(const char *text, size_t len, const json_t *header,
                           const struct keyring *keyring, struct signature_limit *limit,
                           int64_t now, struct token *token, struct refusal *refusal);

#endif
