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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 12 groups of 4 characters with a colon between, and the closing zero. */
#define KEYS_FINGERPRINT_SIZE 60

enum key_type {
    KEY_RSA,
    KEY_EC,
};

struct key {
    char fingerprint[KEYS_FINGERPRINT_SIZE]; /* libtrust's; what a token's `kid` holds */
    enum key_type type;
    int bits;  /* RSA: modulus; EC: field size (256, 384, 521) */
    char *pem; /* "PUBLIC KEY" PEM, for libjwt */
};

struct keyring;

/* Reads the bundle. NULL on failure, with one line in `why`. Every certificate of the
 * file must be readable and hold an RSA (2048 bits or more) or NIST-curve EC key. */
struct keyring *keyring_load(const char *file, char *why, size_t why_size);

/* One more holder, and one less; the last frees. `keyring_drop(NULL)` does nothing. */
struct keyring *keyring_hold(struct keyring *keyring);
void keyring_drop(struct keyring *keyring);

/* The key with this fingerprint; NULL: none. It lives as long as the keyring. */
const struct key *keyring_find(const struct keyring *keyring, const char *fingerprint);

size_t keyring_count(const struct keyring *keyring);

/* libtrust's fingerprint of a DER SubjectPublicKeyInfo: the first 240 bits of its
 * SHA-256, base32 (RFC 4648), in 12 groups of 4 joined by ':'. */
bool keys_fingerprint(const unsigned char *der, size_t len, char out[KEYS_FINGERPRINT_SIZE]);

/* The bundle in force, re-read when its file changes. */
struct keys;

/* Loads the bundle for the first time. NULL on failure, with one line in `why`. */
struct keys *keys_open(const char *file, char *why, size_t why_size);
void keys_close(struct keys *keys);

/* The keyring in force, held for the caller, who drops it. Thread-safe. */
struct keyring *keys_current(struct keys *keys);

/* Re-reads the bundle if the file is another than the one last looked at, or `force`.
 * One that cannot be read keeps the old in force and says so in the log. For one
 * thread at a time. */
void keys_refresh(struct keys *keys, bool force);

#endif
