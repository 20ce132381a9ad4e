/* SPDX-License-Identifier: MIT
 * A chain of certificates that leads to the trust bundle. */
#include "auth/keyring_chain.h"

#include "base/base64.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct chain {
    size_t count;
    X509 *certificates[KEYRING_MAX_CHAIN]; /* the signer's first */
};

static X509 *read_certificate(const char *text)
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

/* Reads the certificates, and checks without a signature that each is issued by the next, that no
 * key is there twice, and that a key of the bundle ends the chain: what stands above it proves
 * nothing, and would only cost signatures. Keys are compared, not certificates: anybody can write
 * one certificate in several ways. */
static bool read_chain(const struct keyring *keyring, const char *const *texts, size_t count,
                       struct chain *chain, struct refusal *refusal)
{
    char fingerprints[KEYRING_MAX_CHAIN][KEY_FINGERPRINT_SIZE];
    _Static_assert(KEYRING_MAX_CHAIN == 6, "the reason says six");
    if (count == 0 || count > KEYRING_MAX_CHAIN)
        return refuse(refusal, "x5c holds no certificate, or more than six");
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && keyring_find(keyring, fingerprints[i - 1]))
            return refuse(refusal, "x5c goes on above a key of the trust bundle");
        X509 *certificate = read_certificate(texts[i]);
        if (!certificate)
            return refuse(refusal, "x5c holds something else than certificates");
        chain->certificates[chain->count++] = certificate;
        if (i > 0 && X509_check_issued(certificate, chain->certificates[i - 1]) != X509_V_OK)
            return refuse(refusal, "x5c holds a certificate that the next one has not issued");
        if (!keyring_key_fingerprint(certificate, fingerprints[i]))
            return refuse(refusal, "x5c holds a key that cannot be read");
        for (size_t earlier = 0; earlier < i; earlier++) {
            if (strcmp(fingerprints[earlier], fingerprints[i]) == 0)
                return refuse(refusal, "x5c holds a key twice");
        }
    }
    return true;
}

/* ---- the path, which OpenSSL builds ---- */

/* When all certificates of a path are valid. OpenSSL does not count a certificate's last second. */
static bool read_validity(STACK_OF(X509) * path, int64_t *from, int64_t *until)
{
    *from = INT64_MIN;
    *until = INT64_MAX;
    for (int i = 0; i < sk_X509_num(path); i++) {
        const X509 *certificate = sk_X509_value(path, i);
        int64_t first;
        int64_t last;
        if (!keyring_key_time(X509_get0_notBefore(certificate), &first) ||
            !keyring_key_time(X509_get0_notAfter(certificate), &last))
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

/* The certificates above the signer's, as OpenSSL wants them; NULL when out of memory. The caller
 * frees the stack, not the certificates. */
static STACK_OF(X509) * above_signer(const struct chain *chain)
{
    STACK_OF(X509) *above = sk_X509_new_null();
    for (size_t i = 1; above && i < chain->count; i++) {
        if (sk_X509_push(above, chain->certificates[i]) <= 0) {
            sk_X509_free(above);
            above = NULL;
        }
    }
    return above;
}

/* Builds the path to the bundle, and verifies each signature on it. */
static bool verify_path(X509_STORE_CTX *context, int64_t now, struct refusal *refusal)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(param, (time_t)now);
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    if (X509_verify_cert(context) == 1)
        return true;
    int error = X509_STORE_CTX_get_error(context);
    if (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID)
        return refuse(refusal, "x5c holds a certificate that is not valid now");
    return refuse(refusal, "x5c does not lead to the trust bundle");
}

static bool check_path(STACK_OF(X509) * path, const struct chain *chain, int64_t *from,
                       int64_t *until, struct refusal *refusal)
{
    if (!issuers_are_authorities(path))
        return refuse(refusal, "x5c leads over a certificate that is no authority");
    if (!leads_through(path, chain))
        return refuse(refusal, "x5c does not lead to the trust bundle");
    return read_validity(path, from, until) ||
           refuse(refusal, "x5c holds a certificate whose times cannot be read");
}

static bool follow_chain(const struct keyring *keyring, const struct chain *chain, int64_t now,
                         int64_t *from, int64_t *until, struct refusal *refusal)
{
    STACK_OF(X509) *above = above_signer(chain);
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_STORE *anchors = keyring_anchors(keyring);
    bool good =
        above && context && X509_STORE_CTX_init(context, anchors, chain->certificates[0], above);
    if (good)
        good = verify_path(context, now, refusal) &&
               check_path(X509_STORE_CTX_get0_chain(context), chain, from, until, refusal);
    else
        refuse_undecided(refusal, "out of memory");
    X509_STORE_CTX_free(context);
    sk_X509_free(above);
    return good;
}

bool keyring_chain_verify(const struct keyring *keyring, const char *const *texts, size_t count,
                          int64_t now, struct key *leaf, int64_t *from, int64_t *until,
                          struct refusal *refusal)
{
    struct chain chain = {.count = 0};
    const char *why = NULL;
    *leaf = (struct key){0};
    bool good = read_chain(keyring, texts, count, &chain, refusal) &&
                follow_chain(keyring, &chain, now, from, until, refusal);
    if (good && !keyring_key_read(chain.certificates[0], leaf, &why))
        good = refuse(refusal, why);
    for (size_t i = 0; i < chain.count; i++)
        X509_free(chain.certificates[i]);
    ERR_clear_error();
    return good;
}
