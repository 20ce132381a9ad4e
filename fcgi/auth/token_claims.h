/* SPDX-License-Identifier: MIT
 *
 * token_claims: what a token's claims must say, and what they grant (contract, section 4;
 * distribution's token authentication specification). Pure and thread-safe.
 */
#ifndef BBM_TOKEN_CLAIMS_H
#define BBM_TOKEN_CLAIMS_H

#include "auth/token.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* True where issuer, audience and times are right at `now` (seconds since the epoch). Fills the
 * token's `from` and `until`. */
bool token_claims_check(const json_t *claims, const struct token_policy *policy, int64_t now,
                        struct token *token, struct refusal *refusal);

/* What `access` grants on registry:background-migrations: bits of enum access. */
unsigned token_claims_access(const json_t *claims);

#endif
