/* SPDX-License-Identifier: MIT
 * The trust bundle: certificates in, public keys with fingerprints out. */
#include "auth/keys.h"

#include "base/base64.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct keyring {
    atomic_uint holders;
    uint64_t serial;
    size_t count;
    struct key *keys;
    X509_STORE *anchors; /* the certificates, each trusted by itself; OpenSSL locks it */
};

struct keys {
    char *file;
    struct stat seen;        /* the file as last looked at; touched by keys_refresh alone */
    pthread_mutex_t lock;    /* guards `current` */
    struct keyring *current; /* what all threads share */
    _Atomic uint64_t serial; /* of `current` */
};

/* ---- keyring ---- */

static void keyring_free(struct keyring *keyring)
{
    for (size_t i = 0; i < keyring->count; i++)
        key_clear(&keyring->keys[i]);
    free(keyring->keys);
    X509_STORE_free(keyring->anchors);
    free(keyring);
}

static bool keyring_add(struct keyring *keyring, X509 *certificate, const char **why)
{
    struct key *more = realloc(keyring->keys, (keyring->count + 1) * sizeof *more);
    *why = "out of memory";
    if (!more)
        return false;
    keyring->keys = more;
    if (!key_from(certificate, &more[keyring->count], why))
        return false;
    keyring->count++;
    *why = "it cannot be kept";
    return X509_STORE_add_cert(keyring->anchors, certificate) == 1;
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

/* Without a certificate yet. */
static struct keyring *keyring_new(void)
{
    struct keyring *keyring = calloc(1, sizeof *keyring);
    if (!keyring)
        return NULL;
    atomic_init(&keyring->holders, 1);
    keyring->anchors = X509_STORE_new();
    if (keyring->anchors && X509_STORE_set_flags(keyring->anchors, X509_V_FLAG_PARTIAL_CHAIN))
        return keyring;
    keyring_free(keyring);
    return NULL;
}

struct keyring *keyring_load(const char *file, char *why, size_t why_size)
{
    const char *reason = "out of memory";
    struct keyring *keyring = keyring_new();
    ERR_clear_error(); /* the last error tells the end of the file from a fault in it */
    errno = 0;
    BIO *bio = BIO_new_file(file, "re");
    if (!bio || !keyring) {
        snprintf(why, why_size, "%s: cannot be read: %s", file, strerror(errno ? errno : ENOMEM));
        ERR_clear_error();
        BIO_free(bio);
        keyring_drop(keyring);
        return NULL;
    }
    bool good = keyring_read(keyring, bio, &reason);
    BIO_free(bio);
    if (good && keyring->count > 0)
        return keyring;
    if (good)
        snprintf(why, why_size, "%s: holds no certificate; a PEM bundle is expected", file);
    else
        snprintf(why, why_size, "%s: certificate %zu cannot be used: %s", file, keyring->count + 1,
                 reason);
    keyring_drop(keyring);
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

uint64_t keyring_serial(const struct keyring *keyring)
{
    return keyring->serial;
}

/* ---- a chain that leads to the bundle ---- */

struct chain {
    size_t count;
    X509 *certificates[KEYS_CHAIN_MOST]; /* the signer's first */
};

static X509 *certificate_from(const char *text)
{
    size_t len = strlen(text);
    unsigned char *der = malloc(BASE64_DECODED(len));
    X509 *certificate = NULL;
    size_t size;
    if (der && base64_decode(text, len, der, &size)) {
        const unsigned char *p = der;
        certificate = d2i_X509(NULL, &p, (long)size);
        if (certificate && p != der + size) {
            X509_free(certificate);
            certificate = NULL;
        }
    }
    free(der);
    return certificate;
}

/* When all certificates of a verified chain are valid; in its last second none is, as
 * OpenSSL has it. */
static bool validity_of(STACK_OF(X509) * path, int64_t *from, int64_t *until)
{
    *from = INT64_MIN;
    *until = INT64_MAX;
    for (int i = 0; i < sk_X509_num(path); i++) {
        const X509 *certificate = sk_X509_value(path, i);
        int64_t first;
        int64_t last;
        if (!key_time(X509_get0_notBefore(certificate), &first) ||
            !key_time(X509_get0_notAfter(certificate), &last))
            return false;
        *from = first > *from ? first : *from;
        *until = last - 1 < *until ? last - 1 : *until;
    }
    return true;
}

/* True where all certificates of a path but the first may issue others. A key usage alone, or
 * version 1, does not make an authority (RFC 5280, 4.2.1.9); OpenSSL lets both pass. */
static bool issuers_are_authorities(STACK_OF(X509) * path)
{
    for (int i = 1; i < sk_X509_num(path); i++) {
        if (X509_check_ca(sk_X509_value(path, i)) != 1)
            return false;
    }
    return true;
}

/* True where the path goes through each certificate of the chain. */
static bool leads_through(STACK_OF(X509) * path, const struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        X509 *certificate = sk_X509_value(path, (int)i); /* NULL beyond the last */
        if (!certificate || X509_cmp(certificate, chain->certificates[i]) != 0)
            return false;
    }
    return true;
}

/* Looks for the path to the bundle, and verifies each signature on it once. */
static bool path_holds(const struct keyring *keyring, const struct chain *chain, int64_t now,
                       int64_t *from, int64_t *until, struct refusal *refusal)
{
    STACK_OF(X509) *above = sk_X509_new_null();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool good = above && context;
    for (size_t i = 1; good && i < chain->count; i++)
        good = sk_X509_push(above, chain->certificates[i]) > 0;
    refuse(refusal, "x5c does not lead to the trust bundle");
    if (good && X509_STORE_CTX_init(context, keyring->anchors, chain->certificates[0], above)) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_time(param, (time_t)now);
        X509_VERIFY_PARAM_set_auth_level(param, 2);
        good = X509_verify_cert(context) == 1;
        int error = X509_STORE_CTX_get_error(context);
        STACK_OF(X509) *path = X509_STORE_CTX_get0_chain(context);
        if (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID)
            refuse(refusal, "x5c holds a certificate that is not valid now");
        if (good && !issuers_are_authorities(path))
            good = refuse(refusal, "x5c leads over a certificate that is no authority");
        good = good && leads_through(path, chain) && validity_of(path, from, until);
    } else {
        good = false;
    }
    X509_STORE_CTX_free(context);
    sk_X509_free(above);
    return good;
}

/* Reads the certificates, and checks without a signature that each is issued by the next, that no
 * key is there twice, and that a key of the bundle ends the chain: what stands above it proves
 * nothing, and would only cost signatures. Keys are compared, not certificates, since one key may
 * have any number of these. */
static bool read_chain(const struct keyring *keyring, const char *const *texts, size_t count,
                       struct chain *chain, struct refusal *refusal)
{
    char fingerprints[KEYS_CHAIN_MOST][KEY_FINGERPRINT_SIZE];
    if (count == 0 || count > KEYS_CHAIN_MOST)
        return refuse(refusal, "x5c holds no certificate, or more than are looked at");
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && keyring_find(keyring, fingerprints[i - 1]))
            return refuse(refusal, "x5c goes on above a key of the trust bundle");
        X509 *certificate = certificate_from(texts[i]);
        if (!certificate)
            return refuse(refusal, "x5c holds something else than certificates");
        chain->certificates[chain->count++] = certificate;
        if (i > 0 && X509_check_issued(certificate, chain->certificates[i - 1]) != X509_V_OK)
            return refuse(refusal, "x5c holds a certificate that the next one has not issued");
        if (!key_fingerprint_of(certificate, fingerprints[i]))
            return refuse(refusal, "x5c holds a key that cannot be read");
        for (size_t earlier = 0; earlier < i; earlier++) {
            if (strcmp(fingerprints[earlier], fingerprints[i]) == 0)
                return refuse(refusal, "x5c holds a key twice");
        }
    }
    return true;
}

bool keyring_chain(const struct keyring *keyring, const char *const *texts, size_t count,
                   int64_t now, struct key *leaf, int64_t *from, int64_t *until,
                   struct refusal *refusal)
{
    struct chain chain = {.count = 0};
    const char *why = NULL;
    *leaf = (struct key){0};
    bool good = read_chain(keyring, texts, count, &chain, refusal) &&
                path_holds(keyring, &chain, now, from, until, refusal);
    if (good && !key_from(chain.certificates[0], leaf, &why))
        good = refuse(refusal, why);
    for (size_t i = 0; i < chain.count; i++)
        X509_free(chain.certificates[i]);
    ERR_clear_error();
    return good;
}

/* ---- the bundle in force ---- */

/* Has the metrics say when the certificates in force expire. Without memory they say nothing. */
static void publish(const struct keyring *keyring)
{
    struct metrics_certificate *list = calloc(keyring->count + 1, sizeof *list);
    for (size_t i = 0; list && i < keyring->count; i++) {
        memcpy(list[i].fingerprint, keyring->keys[i].fingerprint, sizeof list[i].fingerprint);
        list[i].not_after = keyring->keys[i].not_after;
    }
    metrics_certificates(list, list ? keyring->count : 0);
    free(list);
}

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
    if (keys->current) {
        keys->current->serial = 1;
        publish(keys->current);
        atomic_init(&keys->serial, 1);
        return keys;
    }
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

uint64_t keys_serial(struct keys *keys)
{
    return atomic_load(&keys->serial);
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
    fresh->serial = keys->current->serial + 1;
    pthread_mutex_lock(&keys->lock);
    struct keyring *old = keys->current;
    keys->current = fresh;
    atomic_store(&keys->serial, fresh->serial);
    pthread_mutex_unlock(&keys->lock);
    keyring_drop(old);
    publish(fresh);
    log_message(LOG_INFO, "trust bundle reloaded: %zu keys", keyring_count(fresh));
}
