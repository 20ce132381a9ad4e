/* SPDX-License-Identifier: MIT
 * The trust bundle: certificates in, public keys with fingerprints out. */
#include "keys.h"

#include "log.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct keyring {
    atomic_uint holders;
    size_t count;
    struct key *keys;
};

struct keys {
    char *file;
    struct stat seen;        /* the file as last looked at; touched by keys_refresh alone */
    pthread_mutex_t lock;    /* guards `current` */
    struct keyring *current; /* what all threads share */
};

/* ---- fingerprint ---- */

bool keys_fingerprint(const unsigned char *der, size_t len, char out[KEYS_FINGERPRINT_SIZE])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    if (!EVP_Digest(der, len, digest, NULL, EVP_sha256(), NULL))
        return false;

    /* 240 bits are 48 characters: six whole blocks of five bytes, so no padding. */
    size_t at = 0;
    for (size_t block = 0; block < 30; block += 5) {
        uint64_t bits = 0;
        for (size_t i = 0; i < 5; i++)
            bits = bits << 8 | digest[block + i];
        for (int shift = 35; shift >= 0; shift -= 5) {
            if (at % 5 == 4)
                out[at++] = ':';
            out[at++] = alphabet[bits >> shift & 31];
        }
    }
    out[at] = '\0';
    return true;
}

/* ---- one certificate ---- */

static char *pem_of(EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    char *pem = NULL;
    if (bio && PEM_write_bio_PUBKEY(bio, pkey)) {
        long len = BIO_get_mem_data(bio, &bytes);
        if (len > 0)
            pem = strndup(bytes, (size_t)len);
    }
    BIO_free(bio);
    return pem;
}

static bool fingerprint_of(EVP_PKEY *pkey, char out[KEYS_FINGERPRINT_SIZE])
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    bool made = len > 0 && keys_fingerprint(der, (size_t)len, out);
    OPENSSL_free(der);
    return made;
}

/* The curves that ES256, ES384 and ES512 name (RFC 7518, 3.4); others have their size. */
static bool on_nist_curve(EVP_PKEY *pkey)
{
    char name[32];
    return EVP_PKEY_get_group_name(pkey, name, sizeof name, NULL) &&
           (strcmp(name, "prime256v1") == 0 || strcmp(name, "secp384r1") == 0 ||
            strcmp(name, "secp521r1") == 0);
}

/* Fills `key` from a certificate; on failure says why in a few words. */
static bool key_from(X509 *certificate, struct key *key, const char **why)
{
    EVP_PKEY *pkey = X509_get0_pubkey(certificate);
    *why = "its public key cannot be read";
    if (!pkey)
        return false;
    key->bits = EVP_PKEY_get_bits(pkey);
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        key->type = KEY_RSA;
        *why = "its RSA key is shorter than 2048 bits";
        if (key->bits < 2048)
            return false;
        break;
    case EVP_PKEY_EC:
        key->type = KEY_EC;
        *why = "its EC key is not on P-256, P-384 or P-521";
        if (!on_nist_curve(pkey))
            return false;
        break;
    default:
        *why = "its key is neither RSA nor EC";
        return false;
    }
    *why = "out of memory";
    key->pem = pem_of(pkey);
    return key->pem && fingerprint_of(pkey, key->fingerprint);
}

/* ---- keyring ---- */

static void keyring_free(struct keyring *keyring)
{
    for (size_t i = 0; i < keyring->count; i++)
        free(keyring->keys[i].pem);
    free(keyring->keys);
    free(keyring);
}

static bool keyring_add(struct keyring *keyring, X509 *certificate, const char **why)
{
    struct key *more = realloc(keyring->keys, (keyring->count + 1) * sizeof *more);
    *why = "out of memory";
    if (!more)
        return false;
    keyring->keys = more;
    more[keyring->count] = (struct key){0};
    if (!key_from(certificate, &more[keyring->count], why)) {
        free(more[keyring->count].pem);
        return false;
    }
    keyring->count++;
    return true;
}

/* Reads certificates up to the end of the file. Other PEM blocks are passed over, as
 * bundles carry them; a certificate that does not parse is an error. */
static bool keyring_read(struct keyring *keyring, BIO *bio, const char **why)
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
            good = certificate && keyring_add(keyring, certificate, why);
            X509_free(certificate);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    unsigned long last = ERR_peek_last_error();
    if (good && ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
        *why = "it is not valid PEM";
        good = false;
    }
    ERR_clear_error();
    return good;
}

struct keyring *keyring_load(const char *file, char *why, size_t why_size)
{
    const char *reason = "out of memory";
    struct keyring *keyring = calloc(1, sizeof *keyring);
    errno = 0;
    BIO *bio = BIO_new_file(file, "re");
    if (!bio || !keyring) {
        snprintf(why, why_size, "%s: cannot be read: %s", file, strerror(errno ? errno : ENOMEM));
        ERR_clear_error();
        BIO_free(bio);
        free(keyring);
        return NULL;
    }
    atomic_init(&keyring->holders, 1);
    bool good = keyring_read(keyring, bio, &reason);
    BIO_free(bio);
    if (good && keyring->count > 0)
        return keyring;
    if (good)
        snprintf(why, why_size, "%s: holds no certificate; a PEM bundle is expected", file);
    else
        snprintf(why, why_size, "%s: certificate %zu cannot be used: %s", file, keyring->count + 1,
                 reason);
    keyring_free(keyring);
    return NULL;
}

struct keyring *keyring_hold(struct keyring *keyring)
{
    atomic_fetch_add(&keyring->holders, 1);
    return keyring;
}

void keyring_drop(struct keyring *keyring)
{
    if (keyring && atomic_fetch_sub(&keyring->holders, 1) == 1)
        keyring_free(keyring);
}

const struct key *keyring_find(const struct keyring *keyring, const char *fingerprint)
{
    for (size_t i = 0; i < keyring->count; i++) {
        if (strcmp(keyring->keys[i].fingerprint, fingerprint) == 0)
            return &keyring->keys[i];
    }
    return NULL;
}

size_t keyring_count(const struct keyring *keyring)
{
    return keyring->count;
}

/* ---- the bundle in force ---- */

struct keys *keys_open(const char *file, char *why, size_t why_size)
{
    struct keys *keys = calloc(1, sizeof *keys);
    if (!keys || !(keys->file = strdup(file))) {
        snprintf(why, why_size, "out of memory");
        free(keys);
        return NULL;
    }
    pthread_mutex_init(&keys->lock, NULL);
    /* Looked at before it is read: a change in between is then seen as one later. */
    if (stat(file, &keys->seen) != 0)
        keys->seen = (struct stat){0};
    keys->current = keyring_load(file, why, why_size);
    if (keys->current)
        return keys;
    keys_close(keys);
    return NULL;
}

void keys_close(struct keys *keys)
{
    if (!keys)
        return;
    keyring_drop(keys->current);
    pthread_mutex_destroy(&keys->lock);
    free(keys->file);
    free(keys);
}

struct keyring *keys_current(struct keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    struct keyring *keyring = keyring_hold(keys->current);
    pthread_mutex_unlock(&keys->lock);
    return keyring;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

void keys_refresh(struct keys *keys, bool force)
{
    char why[256];
    struct stat now = {0};
    if (stat(keys->file, &now) != 0)
        now = (struct stat){0};
    if (!force && same_file(&now, &keys->seen))
        return;
    keys->seen = now;

    struct keyring *fresh = keyring_load(keys->file, why, sizeof why);
    if (!fresh) {
        log_message(LOG_ERROR, "trust bundle not reloaded, the old one stays in force: %s", why);
        return;
    }
    pthread_mutex_lock(&keys->lock);
    struct keyring *old = keys->current;
    keys->current = fresh;
    pthread_mutex_unlock(&keys->lock);
    keyring_drop(old);
    log_message(LOG_INFO, "trust bundle reloaded: %zu keys", keyring_count(fresh));
}
