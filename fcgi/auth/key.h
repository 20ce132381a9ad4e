/* SPDX-License-Identifier: MIT
 *
 * key: one public key out of a certificate, in the forms that tokens refer to it.
 *
 * A filled key is read-only and so thread-safe. Of the key formats only what the contract,
 * section 4, accepts: RSA of 2048 bits or more, and the three curves of RFC 7518, 3.4.
 */
#ifndef BBM_KEY_H
#define BBM_KEY_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
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

/* Fills `key`; on failure it is empty and `why` (static) says in a few words why. */
bool key_from(X509 *certificate, struct key *key, const char **why);

/* Releases what the key holds and empties it. */
void key_clear(struct key *key);

/* libtrust's fingerprint of a DER SubjectPublicKeyInfo: the first 240 bits of its
 * SHA-256, base32 (RFC 4648), in 12 groups of 4 joined by ':'. */
/* A time of a certificate in seconds since the epoch. */
bool key_time(const ASN1_TIME *time, int64_t *seconds);

bool key_fingerprint_of(X509 *certificate, char out[KEY_FINGERPRINT_SIZE]);
bool key_fingerprint(const unsigned char *der, size_t len, char out[KEY_FINGERPRINT_SIZE]);

#endif
