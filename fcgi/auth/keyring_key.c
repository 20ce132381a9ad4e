/* SPDX-License-Identifier: MIT
 * One public key of a certificate. */
#include "auth/keyring_key.h"

#include "base/base64.h"
#include "base/text.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIN_RSA_BITS 2048

/* The curves that JWS has algorithms for (RFC 7518, 3.4). Other curves may have as many bits. */
static const struct curve {
    const char *openssl;
    const char *jwk;
    int bits;
} curves[] = {
    {"prime256v1", "P-256", 256},
    {"secp384r1", "P-384", 384},
    {"secp521r1", "P-521", 521},
};

static bool fingerprint_of_der(const unsigned char *der, size_t len, char out[KEY_FINGERPRINT_SIZE])
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

bool keyring_key_fingerprint(X509 *certificate, char out[KEY_FINGERPRINT_SIZE])
{
    EVP_PKEY *pkey = X509_get0_pubkey(certificate);
    unsigned char *der = NULL;
    int len = pkey ? i2d_PUBKEY(pkey, &der) : -1;
    bool good = len > 0 && fingerprint_of_der(der, (size_t)len, out);
    OPENSSL_free(der);
    return good;
}

bool keyring_key_time(const ASN1_TIME *time, int64_t *seconds)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(time, &tm))
        return false;
    *seconds = (int64_t)timegm(&tm);
    return true;
}

/* The caller frees it; NULL on failure. */
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

/* One of the key's numbers in base64url, padded to `size` bytes; 0: not padded. The caller frees
 * it; NULL on failure. */
static char *number_of(EVP_PKEY *pkey, const char *name, int size)
{
    BIGNUM *number = NULL;
    char *text = NULL;
    if (EVP_PKEY_get_bn_param(pkey, name, &number)) {
        int len = size ? size : BN_num_bytes(number);
        unsigned char *bytes = malloc((size_t)len + 1);
        text = malloc(BASE64_ENCODED((size_t)len));
        if (bytes && text && BN_bn2binpad(number, bytes, len) == len) {
            base64url_encode(bytes, (size_t)len, text);
        } else {
            free(text);
            text = NULL;
        }
        free(bytes);
    }
    BN_free(number);
    return text;
}

static bool read_rsa(EVP_PKEY *pkey, struct key *key, const char **why)
{
    key->type = KEY_RSA;
    key->bits = EVP_PKEY_get_bits(pkey);
    *why = "its RSA key is shorter than " TEXT_NUMBER(MIN_RSA_BITS) " bits";
    if (key->bits < MIN_RSA_BITS)
        return false;
    *why = "its RSA key cannot be read";
    key->jwk[0] = number_of(pkey, OSSL_PKEY_PARAM_RSA_N, 0);
    key->jwk[1] = number_of(pkey, OSSL_PKEY_PARAM_RSA_E, 0);
    return key->jwk[0] && key->jwk[1];
}

static bool read_ec(EVP_PKEY *pkey, struct key *key, const char **why)
{
    char group[32] = "";
    key->type = KEY_EC;
    *why = "its curve is none of P-256, P-384 and P-521";
    if (!EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL))
        return false;
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        if (strcmp(curves[i].openssl, group) == 0) {
            key->curve = curves[i].jwk;
            key->bits = curves[i].bits;
        }
    }
    if (!key->curve)
        return false;
    *why = "its EC key cannot be read";
    key->jwk[0] = number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_X, (key->bits + 7) / 8);
    key->jwk[1] = number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, (key->bits + 7) / 8);
    return key->jwk[0] && key->jwk[1];
}

static bool read_numbers(EVP_PKEY *pkey, struct key *key, const char **why)
{
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        return read_rsa(pkey, key, why);
    case EVP_PKEY_EC:
        return read_ec(pkey, key, why);
    default:
        *why = "its key is neither RSA nor EC";
        return false;
    }
}

bool keyring_key_read(X509 *certificate, struct key *key, const char **why)
{
    EVP_PKEY *pkey = X509_get0_pubkey(certificate);
    *key = (struct key){0};
    *why = "its public key cannot be read";
    if (!pkey || !read_numbers(pkey, key, why))
        goto failed;
    *why = "its notAfter cannot be read";
    if (!keyring_key_time(X509_get0_notAfter(certificate), &key->not_after))
        goto failed;
    *why = "out of memory";
    key->pem = pem_of(pkey);
    if (key->pem && keyring_key_fingerprint(certificate, key->fingerprint))
        return true;
failed:
    keyring_key_clear(key);
    return false;
}

void keyring_key_clear(struct key *key)
{
    free(key->jwk[0]);
    free(key->jwk[1]);
    free(key->pem);
    *key = (struct key){0};
}
