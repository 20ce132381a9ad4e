/* SPDX-License-Identifier: MIT
 *
 * mint: certificates and tokens for test programs without cmocka; P-256 and ES256 only. Aborts on
 * failure.
 */
#ifndef BBM_MINT_H
#define BBM_MINT_H

#include "base/base64.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINT_MUST(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A self-signed certificate that is valid a million seconds to either side of `now`. */
static inline X509 *mint_certificate(EVP_PKEY *pkey, const char *common_name, int64_t now)
{
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    const unsigned char *cn = (const unsigned char *)common_name;
    MINT_MUST(X509_set_version(certificate, X509_VERSION_3));
    MINT_MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, cn, -1, -1, 0));
    MINT_MUST(X509_set_issuer_name(certificate, name));
    MINT_MUST(ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)now - 1000000));
    MINT_MUST(ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)now + 1000000));
    MINT_MUST(X509_set_pubkey(certificate, pkey));
    MINT_MUST(X509_sign(certificate, pkey, EVP_sha256()));
    return certificate;
}

/* Signs, and writes the signature as JWS does: r and s side by side (RFC 7518, 3.4). */
static inline void mint_signature(EVP_PKEY *pkey, const char *text, size_t len,
                                  unsigned char out[64])
{
    unsigned char der[128];
    const unsigned char *p = der;
    size_t size = sizeof der;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    MINT_MUST(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pkey) &&
              EVP_DigestSign(context, der, &size, (const unsigned char *)text, len));
    EVP_MD_CTX_free(context);
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &p, (long)size);
    MINT_MUST(signature && BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, 32) == 32 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + 32, 32) == 32);
    ECDSA_SIG_free(signature);
}

/* A token of these parts. The caller frees it. */
static inline char *mint_token(EVP_PKEY *pkey, const char *header, const void *claims, size_t len)
{
    unsigned char signature[64];
    size_t head = strlen(header);
    char *token = malloc(BASE64_ENCODED(head) + BASE64_ENCODED(len) + BASE64_ENCODED(64));
    MINT_MUST(token);
    base64url_encode((const unsigned char *)header, head, token);
    head = strlen(token);
    token[head] = '.';
    base64url_encode(claims, len, token + head + 1);
    size_t end = strlen(token);
    mint_signature(pkey, token, end, signature);
    token[end] = '.';
    base64url_encode(signature, sizeof signature, token + end + 1);
    return token;
}

#endif
