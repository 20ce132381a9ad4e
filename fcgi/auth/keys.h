/* SPDX-License-Identifier: MIT
 *
 * keys: whom we trust. The public keys of the trust bundle, a PEM file with one or
 * more certificates (contract, section 4).
 *
 * A keyring is immutable and counted: whoever holds one may read it from any thread,
 * however often the bundle is replaced meanwhile.
 */
#ifndef BBM_KEYS_H
#define BBM_KEYS_H

#include "auth/key.h"
#include "auth/refusal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most certificates in a chain; a certification authority makes two or three. */
#define KEYS_CHAIN_MOST 6

struct keyring;

/* Reads the bundle. NULL on failure, with one line in `why`. Every certificate of the
 * file must be readable and hold a key that key_from takes. */
struct keyring *keyring_load(const char *file, char *why, size_t why_size);

/* One more holder, and one less; the last frees. `keyring_drop(NULL)` does nothing. */
struct keyring *keyring_hold(struct keyring *keyring);
void keyring_drop(struct keyring *keyring);

/* The key with this fingerprint; NULL: none. It lives as long as the keyring. */
const struct key *keyring_find(const struct keyring *keyring, const char *fingerprint);

/* The trusted key with these numbers, spelt as in a JWK (see struct key); NULL: none. */
const struct key *keyring_find_jwk(const struct keyring *keyring, const char *const jwk[2]);

/* The keys in the bundle's order, for a list of them (with their not_after: metrics, -t):
 * `index` is less than the count. The key lives as long as the keyring. */
size_t keyring_count(const struct keyring *keyring);
const struct key *keyring_key(const struct keyring *keyring, size_t index);

/* Which reading of the bundle this is; what was verified with another one says nothing. */
uint64_t keyring_serial(const struct keyring *keyring);

/* Verifies a chain as `x5c` holds it (RFC 7515, 4.1.6): `count` certificates in base64, the
 * signer's first, each issued by the next, the last one a certificate of the bundle or issued by
 * one. A key of the bundle ends the chain, and none is there twice. (distribution takes those after
 * the first in any order, others among them, and any digest and size of key that Go does.) Each on
 * the way must be valid at `now` (seconds since the epoch), those that issue must be authorities by
 * BasicConstraints, and no key or digest may offer less than 112 bits.
 * On success `leaf` is the signer's key, for the caller to clear, and `from` and `until` (both
 * inclusive, seconds since the epoch) are when all of them are valid. On failure `leaf` is empty.
 */
bool keyring_chain(const struct keyring *keyring, const char *const *texts, size_t count,
                   int64_t now, struct key *leaf, int64_t *from, int64_t *until,
                   struct refusal *refusal);

/* The bundle in force, re-read when its file changes. */
struct keys;

/* Loads the bundle for the first time. NULL on failure, with one line in `why`. */
struct keys *keys_open(const char *file, char *why, size_t why_size);
void keys_close(struct keys *keys);

/* The keyring in force, held for the caller, who drops it. Thread-safe. */
struct keyring *keys_current(struct keys *keys);

/* The serial of the keyring in force. Thread-safe, and takes no lock. */
uint64_t keys_serial(struct keys *keys);

/* Re-reads the bundle if the file is another than the one last looked at, or `force`.
 * One that cannot be read keeps the old in force and says so in the log. For one
 * thread at a time. */
void keys_refresh(struct keys *keys, bool force);

#endif
