/* SPDX-License-Identifier: MIT
 * The trust bundle's certificates: public keys with fingerprints, and anchors for chains. */
#include "auth/keyring.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct keyring {
    atomic_uint references;
    uint64_t serial;
    size_t count;
    struct key *keys;
    X509_STORE *anchors;
};

static void free_keyring(struct keyring *keyring)
{
    for (size_t i = 0; i < keyring->count; i++)
        keyring_key_clear(&keyring->keys[i]);
    free(keyring->keys);
    X509_STORE_free(keyring->anchors);
    free(keyring);
}

static bool add_certificate(struct keyring *keyring, X509 *certificate, const char **why)
{
    struct key *more = realloc(keyring->keys, (keyring->count + 1) * sizeof *more);
    *why = "out of memory";
    if (!more)
        return false;
    keyring->keys = more;
    if (!keyring_key_read(certificate, &more[keyring->count], why))
        return false;
    keyring->count++;
    *why = "it cannot be kept";
    return X509_STORE_add_cert(keyring->anchors, certificate) == 1;
}

/* Reads certificates up to the end of the file. Skips other PEM blocks, which bundles carry; a
 * certificate that does not parse is an error. */
static bool read_certificates(struct keyring *keyring, BIO *bio, const char **why)
{
    char *name = NULL;
    char *header = NULL;
    unsigned char *der = NULL;
    long len;
    bool good = true;
    while (good && PEM_read_bio(bio, &name, &header, &der, &len)) {
        if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0) {
            const unsigned char *p = der;
            X509 *certificate = d2i_X509(NULL, &p, len);
            *why = "it is not a valid certificate";
            good = certificate && add_certificate(keyring, certificate, why);
            X509_free(certificate);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    unsigned long last = ERR_peek_last_error(); /* at the end of the file: no start line */
    if (good && ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
        *why = "it is not valid PEM";
        good = false;
    }
    ERR_clear_error();
    return good;
}

/* A keyring without certificates. NULL when out of memory. */
static struct keyring *new_keyring(uint64_t serial)
{
    struct keyring *keyring = calloc(1, sizeof *keyring);
    if (!keyring)
        return NULL;
    atomic_init(&keyring->references, 1);
    keyring->serial = serial;
    keyring->anchors = X509_STORE_new();
    if (keyring->anchors && X509_STORE_set_flags(keyring->anchors, X509_V_FLAG_PARTIAL_CHAIN))
        return keyring;
    free_keyring(keyring);
    return NULL;
}

struct keyring *keyring_load(const char *file, uint64_t serial, char *why, size_t why_size)
{
    const char *reason = "out of memory";
    struct keyring *keyring = new_keyring(serial);
    ERR_clear_error(); /* read_certificates() looks at the last error */
    errno = 0;
    BIO *bio = BIO_new_file(file, "re");
    if (!bio || !keyring) {
        snprintf(why, why_size, "%s: cannot be read: %s", file, strerror(errno ? errno : ENOMEM));
        ERR_clear_error();
        BIO_free(bio);
        keyring_unref(keyring);
        return NULL;
    }
    bool good = read_certificates(keyring, bio, &reason);
    BIO_free(bio);
    if (good && keyring->count > 0)
        return keyring;
    if (good)
        snprintf(why, why_size, "%s: holds no certificate; a PEM bundle is expected", file);
    else
        snprintf(why, why_size, "%s: certificate %zu cannot be used: %s", file, keyring->count + 1,
                 reason);
    keyring_unref(keyring);
    return NULL;
}

struct keyring *keyring_ref(struct keyring *keyring)
{
    atomic_fetch_add(&keyring->references, 1);
    return keyring;
}

void keyring_unref(struct keyring *keyring)
{
    if (keyring && atomic_fetch_sub(&keyring->references, 1) == 1)
        free_keyring(keyring);
}

const struct key *keyring_find(const struct keyring *keyring, const char *fingerprint)
{
    for (size_t i = 0; i < keyring->count; i++) {
        if (strcmp(keyring->keys[i].fingerprint, fingerprint) == 0)
            return &keyring->keys[i];
    }
    return NULL;
}

const struct key *keyring_find_jwk(const struct keyring *keyring, const char *const jwk[2])
{
    for (size_t i = 0; i < keyring->count; i++) {
        const struct key *key = &keyring->keys[i];
        if (strcmp(key->jwk[0], jwk[0]) == 0 && strcmp(key->jwk[1], jwk[1]) == 0)
            return key;
    }
    return NULL;
}

size_t keyring_count(const struct keyring *keyring)
{
    return keyring->count;
}

const struct key *keyring_key(const struct keyring *keyring, size_t index)
{
    return &keyring->keys[index];
}

X509_STORE *keyring_anchors(const struct keyring *keyring)
{
    return keyring->anchors;
}

uint64_t keyring_serial(const struct keyring *keyring)
{
    return keyring->serial;
}
