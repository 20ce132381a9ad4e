/* SPDX-License-Identifier: MIT
 *
 * jose: keys, certificates and tokens, made with libcrypto alone: the code under test has no part
 * in them.
 */
#ifndef BBM_UNIT_JOSE_H
#define BBM_UNIT_JOSE_H

#include "unit.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

#define JOSE_FINGERPRINT_SIZE 60

/* The caller frees each key with EVP_PKEY_free. */
static inline EVP_PKEY *jose_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    assert_non_null(key);
    return key;
}

static inline EVP_PKEY *jose_ec(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);
    assert_non_null(key);
    return key;
}

static inline EVP_PKEY *jose_ed25519(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(key);
    return key;
}

static inline EVP_PKEY *jose_hmac(const char *secret)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const unsigned char *)secret,
                                                 strlen(secret));
    assert_non_null(key);
    return key;
}

/* What a certificate says of its right to issue others. */
enum jose_authority {
    JOSE_LEAF,           /* BasicConstraints CA:FALSE */
    JOSE_CA,             /* BasicConstraints CA:TRUE */
    JOSE_KEY_USAGE_ONLY, /* no BasicConstraints, but keyCertSign */
    JOSE_VERSION_1,      /* no extensions at all */
};

static inline void jose_add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    assert_true(X509_add_ext(certificate, extension, -1));
    X509_EXTENSION_free(extension);
}

/* A certificate for `key`, valid from a minute ago for `seconds` more, signed by the issuer (NULL:
 * by itself). The caller frees it. */
static inline X509 *jose_issue(EVP_PKEY *key, const char *name, enum jose_authority authority,
                               long seconds, const X509 *issuer, EVP_PKEY *issuer_key)
{
    static long serial;
    X509 *certificate = X509_new();
    EVP_PKEY *signer = issuer ? issuer_key : key;
    bool plain = EVP_PKEY_get_base_id(signer) != EVP_PKEY_ED25519;
    assert_non_null(certificate);
    X509_set_version(certificate, authority == JOSE_VERSION_1 ? X509_VERSION_1 : X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate));
    if (authority == JOSE_LEAF)
        jose_add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE");
    if (authority == JOSE_CA)
        jose_add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
    if (authority == JOSE_KEY_USAGE_ONLY)
        jose_add_extension(certificate, NID_key_usage, "critical,keyCertSign");
    assert_true(X509_sign(certificate, signer, plain ? EVP_sha256() : NULL) > 0);
    return certificate;
}

/* A self-signed certificate for an hour. The caller frees it. */
static inline X509 *jose_certificate(EVP_PKEY *key)
{
    return jose_issue(key, "unit", JOSE_LEAF, 3600, NULL, NULL);
}

/* The certificate as `x5c` holds it. The caller frees the text. */
static inline char *jose_x5c(const X509 *certificate)
{
    unsigned char *der = NULL;
    int len = i2d_X509(certificate, &der);
    assert_true(len > 0);
    char *text = malloc((size_t)len / 3 * 4 + 5);
    assert_non_null(text);
    EVP_EncodeBlock((unsigned char *)text, der, len);
    OPENSSL_free(der);
    return text;
}

/* Appends a certificate, as PEM, to the file of that name in the folder; returns its path. */
static inline const char *jose_bundle_add_certificate(const char *name, X509 *certificate)
{
    const char *path = unit_path(name);
    FILE *file = fopen(path, "ae");
    assert_non_null(file);
    assert_true(PEM_write_X509(file, certificate));
    assert_int_equal(fclose(file), 0);
    return path;
}

/* The same with a certificate of its own for the key. */
static inline const char *jose_bundle_add(const char *name, EVP_PKEY *key)
{
    X509 *certificate = jose_certificate(key);
    const char *path = jose_bundle_add_certificate(name, certificate);
    X509_free(certificate);
    return path;
}

/* libtrust's fingerprint, written from its description: the digest's first 240 bits, each five of
 * them a number, each number a letter, each four letters a group. */
static inline void jose_fingerprint(EVP_PKEY *key, char out[JOSE_FINGERPRINT_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    assert_true(len > 0);
    SHA256(der, (size_t)len, digest);
    OPENSSL_free(der);
    for (unsigned i = 0; i < 48; i++) {
        unsigned number = 0;
        for (unsigned bit = 5 * i; bit < 5 * i + 5; bit++)
            number = 2 * number + (digest[bit / 8] >> (7 - bit % 8)) % 2;
        *out++ = (char)(number < 26 ? 'A' + number : '2' + number - 26);
        if (i % 4 == 3)
            *out++ = i < 47 ? ':' : '\0';
    }
}

/* ---- tokens ---- */

/* libcrypto's base64 in the other alphabet, without padding. The caller frees it. */
static inline char *jose_base64url(const void *bytes, size_t len)
{
    char *text = malloc(len / 3 * 4 + 5);
    assert_non_null(text);
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    for (char *p = text; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p == '=' ? '\0' : *p;
    return text;
}

/* Writes an ECDSA signature as JWS does: two numbers of the curve's length (RFC 7518, 3.4). */
static inline size_t jose_raw(EVP_PKEY *key, unsigned char *signature, size_t len)
{
    const unsigned char *der = signature;
    int half = (EVP_PKEY_get_bits(key) + 7) / 8;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    assert_non_null(pair);
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, half);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + half, half);
    ECDSA_SIG_free(pair);
    return 2 * (size_t)half;
}

/* Joins two texts with a point between them, and frees both. */
static inline char *jose_join(char *first, char *second)
{
    size_t size = strlen(first) + strlen(second) + 2;
    char *joined = malloc(size);
    assert_non_null(joined);
    snprintf(joined, size, "%s.%s", first, second);
    free(first);
    free(second);
    return joined;
}

/* A token of these bytes, signed with a key of any type. The caller frees it. */
static inline char *jose_sign_bytes(EVP_PKEY *key, const EVP_MD *digest, const void *header,
                                    size_t header_len, const void *claims, size_t claims_len)
{
    unsigned char signature[1024];
    size_t len = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    char *signed_part =
        jose_join(jose_base64url(header, header_len), jose_base64url(claims, claims_len));
    assert_non_null(context);
    assert_true(EVP_DigestSignInit(context, NULL, digest, NULL, key) > 0);
    assert_true(EVP_DigestSign(context, signature, &len, (const unsigned char *)signed_part,
                               strlen(signed_part)) > 0);
    EVP_MD_CTX_free(context);
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        len = jose_raw(key, signature, len);
    return jose_join(signed_part, jose_base64url(signature, len));
}

static inline char *jose_sign(EVP_PKEY *key, const EVP_MD *digest, const char *header,
                              const char *claims)
{
    return jose_sign_bytes(key, digest, header, strlen(header), claims, strlen(claims));
}

#endif
