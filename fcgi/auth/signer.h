/* SPDX-License-Identifier: MIT
 *
 * signer: the trusted key that a token's header names (contract, section 4; RFC 7515, 4.1;
 * distribution's token specification).
 *
 * Thread-safe.
 *
 * The first of `x5c`, `jwk` and `kid` that is there decides, whatever it holds: one that does not
 * lead to a trusted key is refused, and the next is not tried. (distribution skips an empty `x5c`,
 * a null, and in a `jwk` an `x5c` that is no list.) The numbers of a `jwk` are compared with a
 * trusted key, and that key is used: none is made of what a header brings.
 */
#ifndef BBM_SIGNER_H
#define BBM_SIGNER_H

#include "auth/keyring.h"
#include "auth/refusal.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct signer {
    const struct key *key; /* the keyring's, or `leaf` */
    struct key leaf;       /* of a chain; empty where there is none */
    /* When the key may be used: in seconds since the epoch, both inclusive. A key of the bundle
     * always may, one of a chain while its certificates are valid. */
    int64_t from;
    int64_t until;
};

/* True where finding the signer takes signatures: those of a chain of certificates. */
bool signer_has_chain(const json_t *header);

/* Finds the signer at `now` (seconds since the epoch), for the caller to clear also on failure. */
bool signer_find(const json_t *header, const struct keyring *keyring, int64_t now,
                 struct signer *signer, struct refusal *refusal);

void signer_clear(struct signer *signer);

#endif
