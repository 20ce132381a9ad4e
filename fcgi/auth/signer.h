/* SPDX-License-Identifier: MIT
 *
 * signer: the trusted key that a token's header names (contract, section 4; RFC 7515,
 * 4.1; distribution's token specification).
 *
 * Pure but for the keyring it is given; thread-safe.
 *
 * The first of `x5c`, `jwk` and `kid` that is there decides, whatever it holds: one that
 * does not lead to a trusted key is not passed over for the next. (distribution passes
 * over an empty `x5c`, a null, and in a `jwk` an `x5c` that is no list.) No key is made of
 * what a header brings: it is compared with a trusted one, and that one is used.
 */
#ifndef BBM_SIGNER_H
#define BBM_SIGNER_H

#include "auth/keys.h"
#include "auth/refusal.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct signer {
    const struct key *key; /* the keyring's, or `leaf` */
    struct key leaf;       /* of a chain; empty where there was none */
    int64_t from;          /* when it may be used, in seconds since the epoch, both inclusive; */
    int64_t until; /* a key of the bundle always may, a chain within its certificates' time */
};

/* Finds the signer at `now` (seconds since the epoch), for the caller to clear in either case. */
bool signer_find(const json_t *header, const struct keyring *keyring, int64_t now,
                 struct signer *signer, struct refusal *refusal);

void signer_clear(struct signer *signer);

#endif
