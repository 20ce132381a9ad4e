/* SPDX-License-Identifier: MIT
 * One public key of a certificate: its fingerprint, its forms, and which are accepted. */
#include "unit.h"

#include "auth/keyring_key.h"
#include "jose.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <time.h>

/* A P-256 key in DER made for this test, and its fingerprint as the openssl command and python
 * compute it:
 *   openssl dgst -sha256 -binary key.der |
 *   python3 -c 'import base64, sys; s = base64.b32encode(sys.stdin.buffer.read()[:30]);
 *               print(*[s[i:i + 4].decode() for i in range(0, 48, 4)], sep=":")' */
static const unsigned char known_key[] = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A,
    0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04, 0x16, 0x3E, 0x8F, 0xD8, 0xD0,
    0xD5, 0xBC, 0xB8, 0x4A, 0x2F, 0xF8, 0x3E, 0xD6, 0x72, 0xDF, 0xD4, 0xBF, 0x26, 0x37, 0xD6, 0x52,
    0xD3, 0xEC, 0x98, 0x71, 0x97, 0xB7, 0xE6, 0xFD, 0x6E, 0x44, 0x0B, 0xCF, 0x32, 0x30, 0xB5, 0xC8,
    0xCA, 0x7E, 0x5A, 0x05, 0x8A, 0x70, 0x7B, 0x5D, 0xB0, 0x29, 0x22, 0xA6, 0x6A, 0xEB, 0x7F, 0x7E,
    0x81, 0x38, 0x2C, 0x14, 0xF6, 0xC0, 0x38, 0x7D, 0x85, 0x7B, 0x96,
};
static const char known_fingerprint[] =
    "HYRP:73XU:EPWJ:A6CY:VDWL:MUKR:XWGY:EECW:IWH5:BJJ5:635F:3QFD";

static void test_known_fingerprint(void **state)
{
    char fingerprint[KEY_FINGERPRINT_SIZE];
    const unsigned char *der = known_key;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &der, sizeof known_key);
    X509 *certificate = X509_new();
    (void)state;
    assert_true(X509_set_pubkey(certificate, pkey));
    memset(fingerprint, 'x', sizeof fingerprint);
    assert_true(keyring_key_fingerprint(certificate, fingerprint));
    assert_string_equal(fingerprint, known_fingerprint);
    X509_free(certificate);
    EVP_PKEY_free(pkey);
}

/* Two independent ways agree on many keys. */
static void test_fingerprint_of_many_keys(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        char ours[KEY_FINGERPRINT_SIZE];
        char theirs[JOSE_FINGERPRINT_SIZE];
        EVP_PKEY *pkey = jose_ec("P-256");
        X509 *certificate = jose_certificate(pkey);
        assert_true(keyring_key_fingerprint(certificate, ours));
        jose_fingerprint(pkey, theirs);
        assert_string_equal(ours, theirs);
        assert_int_equal(strlen(ours), KEY_FINGERPRINT_SIZE - 1);
        X509_free(certificate);
        EVP_PKEY_free(pkey);
    }
}

/* Asks the openssl command and python for the fingerprint of a certificate's key. */
static void ask_others(const char *certificate, char out[KEY_FINGERPRINT_SIZE])
{
    char command[1024];
    const char *python = getenv("PYTHON");
    snprintf(command, sizeof command,
             "openssl x509 -in '%s' -noout -pubkey | openssl pkey -pubin -outform DER |"
             " '%s' -c 'import base64, hashlib, sys;"
             " s = base64.b32encode(hashlib.sha256(sys.stdin.buffer.read()).digest()[:30]);"
             " print(*[s[i:i + 4].decode() for i in range(0, 48, 4)], sep=\":\")'",
             certificate, python ? python : "/usr/bin/python3");
    FILE *answer = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
    assert_non_null(answer);
    assert_non_null(fgets(out, KEY_FINGERPRINT_SIZE, answer));
    char rest[2];
    assert_string_equal(fgets(rest, sizeof rest, answer), "\n");
    assert_int_equal(pclose(answer), 0);
}

static void test_fingerprint_by_others(void **state)
{
    EVP_PKEY *const keys[] = {jose_rsa(2048), jose_ec("P-384")};
    static const char *const names[] = {"by-others-rsa.pem", "by-others-ec.pem"};
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        char ours[KEY_FINGERPRINT_SIZE];
        char theirs[KEY_FINGERPRINT_SIZE];
        X509 *certificate = jose_certificate(keys[i]);
        assert_true(keyring_key_fingerprint(certificate, ours));
        ask_others(jose_bundle_add(names[i], keys[i]), theirs);
        assert_string_equal(ours, theirs);
        X509_free(certificate);
        EVP_PKEY_free(keys[i]);
    }
}

/* The key's PEM is a public key's, the one that libjwt wants, and of the same key. */
static void assert_pem(const struct key *found, EVP_PKEY *key)
{
    assert_int_equal(strncmp(found->pem, "-----BEGIN PUBLIC KEY-----\n", 27), 0);
    BIO *bio = BIO_new_mem_buf(found->pem, -1);
    EVP_PKEY *read = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    assert_int_equal(EVP_PKEY_eq(read, key), 1);
    EVP_PKEY_free(read);
    BIO_free(bio);
}

static void test_accepted_keys(void **state)
{
    static const struct {
        const char *curve; /* NULL: RSA */
        int bits;
    } kinds[] = {{NULL, 2048}, {NULL, 3072}, {"P-256", 256}, {"P-384", 384}, {"P-521", 521}};
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const char *curve = kinds[i].curve;
        EVP_PKEY *pkey = curve ? jose_ec(curve) : jose_rsa((unsigned)kinds[i].bits);
        X509 *certificate = jose_certificate(pkey); /* for an hour */
        char fingerprint[JOSE_FINGERPRINT_SIZE];
        const char *why;
        struct key key;
        assert_true(keyring_key_read(certificate, &key, &why));
        jose_fingerprint(pkey, fingerprint);
        assert_string_equal(key.fingerprint, fingerprint);
        assert_int_equal(key.type, curve ? KEY_EC : KEY_RSA);
        assert_int_equal(key.bits, kinds[i].bits);
        assert_true(curve ? strcmp(key.curve, curve) == 0 : key.curve == NULL);
        assert_in_range(key.not_after, time(NULL) + 3500, time(NULL) + 3600);
        assert_pem(&key, pkey);
        /* Coordinates have the curve's length, in base64url. */
        if (curve)
            assert_int_equal(strlen(key.jwk[0]), ((size_t)(kinds[i].bits + 7) / 8 * 4 + 2) / 3);
        else
            assert_string_equal(key.jwk[1], "AQAB");
        keyring_key_clear(&key);
        assert_null(key.pem);
        X509_free(certificate);
        EVP_PKEY_free(pkey);
    }
}

static void assert_unusable(X509 *certificate, const char *expected)
{
    const char *why = NULL;
    struct key key;
    memset(&key, 0xA5, sizeof key);
    assert_false(keyring_key_read(certificate, &key, &why));
    assert_string_equal(why, expected);
    assert_null(key.pem);
    assert_null(key.jwk[0]);
    X509_free(certificate);
}

static void test_keys_too_weak_or_unknown(void **state)
{
    EVP_PKEY *small = jose_rsa(1024);
    EVP_PKEY *edwards = jose_ed25519();
    EVP_PKEY *other_curve = jose_ec("secp256k1");
    (void)state;
    assert_unusable(jose_certificate(small), "its RSA key is shorter than 2048 bits");
    assert_unusable(jose_certificate(edwards), "its key is neither RSA nor EC");
    assert_unusable(jose_certificate(other_curve), "its curve is none of P-256, P-384 and P-521");
    assert_unusable(X509_new(), "its public key cannot be read");
    EVP_PKEY_free(small);
    EVP_PKEY_free(edwards);
    EVP_PKEY_free(other_curve);
}

/* A bundle with such a certificate would otherwise never be reported as expired. */
static void test_not_after_that_is_no_time(void **state)
{
    EVP_PKEY *pkey = jose_ec("P-256");
    X509 *certificate = jose_certificate(pkey);
    (void)state;
    assert_true(ASN1_STRING_set(X509_getm_notAfter(certificate), "soon", 4));
    assert_unusable(certificate, "its notAfter cannot be read");
    EVP_PKEY_free(pkey);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_fingerprint),
        cmocka_unit_test(test_fingerprint_of_many_keys),
        cmocka_unit_test(test_fingerprint_by_others),
        cmocka_unit_test(test_accepted_keys),
        cmocka_unit_test(test_keys_too_weak_or_unknown),
        cmocka_unit_test(test_not_after_that_is_no_time),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
