/* SPDX-License-Identifier: MIT
 *
 * keyring_chain: a token's chain of certificates, verified up to the trust bundle (RFC 7515, 4.1.6;
 * RFC 5280, 6; contract, section 4).
 *
 * Thread-safe.
 */
#ifndef BBM_KEYRING_CHAIN_H
#define BBM_KEYRING_CHAIN_H

#include "auth/keyring.h"
#include "auth/refusal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Certificates in a chain, at most; a certification authority makes two or three. */
#define KEYRING_MAX_CHAIN 6

/* Verifies a chain as `x5c` holds it: `count` certificates in base64, the signer's first, each
 * issued by the next, the last one a certificate of the bundle or issued by one. A key of the
 * bundle ends the chain, and no key is there twice. (distribution takes those after the first in
 * any order, others among them, and any digest and size of key that Go does.) Each on the way must
 * be valid at `now` (seconds since the epoch), those that issue must be authorities by
 * BasicConstraints, and no key or digest may offer less than 112 bits.
 *
 * On success `leaf` is the signer's key, which the caller clears, and `from` and `until` (both
 * inclusive, seconds since the epoch) are when all certificates are valid. On failure `leaf` is
 * empty. */
bool keyring_chain_verify(const struct keyring *keyring, const char *const *texts, size_t count,
                          int64_t now, struct key *leaf, int64_t *from, int64_t *until,
                          struct refusal *refusal);

#endif
