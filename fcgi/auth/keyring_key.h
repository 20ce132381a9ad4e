/* SPDX-License-Identifier: MIT
 *
 * keyring_key: one public key out of a certificate, in the forms in which tokens name it.
 *
 * A key that has been read is read-only, so any thread may use it. Accepted are the keys of the
 * contract, section 4: RSA of 2048 bits or more, and the three curves of RFC 7518, 3.4.
 */
#ifndef BBM_KEYRING_KEY_H
#define BBM_KEYRING_KEY_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

/* 12 groups of 4 characters with a colon between, and the closing zero. */
#define KEY_FINGERPRINT_SIZE 60

enum key_type {
    KEY_RSA,
    KEY_EC,
};

struct key {
    char fingerprint[KEY_FINGERPRINT_SIZE]; /* libtrust's; what a token's `kid` holds */
    enum key_type type;
    int bits;          /* RSA: modulus; EC: field size (256, 384, 521) */
    const char *curve; /* EC: as a JWK's `crv` spells it; RSA: NULL */
    char *jwk[2];      /* a JWK's n and e, or x and y (RFC 7518, 6), which have one spelling */
    int64_t not_after; /* of its certificate, in seconds since the epoch */
    char *pem;         /* "PUBLIC KEY" PEM, for libjwt, which refuses a certificate's */
};

/* Reads the certificate's key, which the caller clears. On failure `key` is empty and `why`
 * (static) says in a few words why. */
bool keyring_key_read(X509 *certificate, struct key *key, const char **why);

/* Releases what the key holds and empties it. */
void keyring_key_clear(struct key *key);

/* libtrust's fingerprint of the certificate's key: the first 240 bits of the SHA-256 of its DER
 * SubjectPublicKeyInfo, base32 (RFC 4648), in 12 groups of 4 joined by ':'. False where the key
 * cannot be read. */
bool keyring_key_fingerprint(X509 *certificate, char out[KEY_FINGERPRINT_SIZE]);

/* A time of a certificate, in seconds since the epoch. False where it is not valid. */
bool keyring_key_time(const ASN1_TIME *time, int64_t *seconds);

#endif
