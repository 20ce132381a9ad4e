/* SPDX-License-Identifier: MIT
 *
 * keyring: the trusted public keys: those of the trust bundle, a PEM file with one or more
 * certificates (contract, section 4).
 *
 * A keyring is immutable and reference-counted: any thread that holds a reference may read it, also
 * after another one has taken its place (trust_bundle.h).
 */
#ifndef BBM_KEYRING_H
#define BBM_KEYRING_H

#include "auth/keyring_key.h"

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

struct keyring;

/* Reads the bundle; the caller has the one reference. Every certificate of the file must be
 * readable and hold a key that keyring_key_read() accepts. `serial`, which is not 0, identifies
 * this reading of the file. NULL on failure, with one line in `why`. */
struct keyring *keyring_load(const char *file, uint64_t serial, char *why, size_t why_size);

/* Takes another reference. */
struct keyring *keyring_ref(struct keyring *keyring);

/* Gives a reference back; the last one frees. `keyring_unref(NULL)` does nothing. */
void keyring_unref(struct keyring *keyring);

/* What these return lives as long as the keyring. */

/* The key with this fingerprint; NULL: none. */
const struct key *keyring_find(const struct keyring *keyring, const char *fingerprint);

/* The key with these numbers, spelt as in a JWK (see struct key); NULL: none. */
const struct key *keyring_find_jwk(const struct keyring *keyring, const char *const jwk[2]);

/* The keys in the bundle's order, for a list of them (with their not_after: metrics, -t). `index`
 * is less than the count. */
size_t keyring_count(const struct keyring *keyring);
const struct key *keyring_key(const struct keyring *keyring, size_t index);

/* The certificates, each trusted by itself (X509_V_FLAG_PARTIAL_CHAIN). OpenSSL locks the store. */
X509_STORE *keyring_anchors(const struct keyring *keyring);

/* The serial that keyring_load() was given. A verdict that another keyring gave does not hold. */
uint64_t keyring_serial(const struct keyring *keyring);

#endif
