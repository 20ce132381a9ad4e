/* SPDX-License-Identifier: MIT
 * Algorithms, signatures and the ids of keys: which tokens a trusted key has signed. */
#include "tokens.h"

#include "auth/signature_limit.h"

#include <time.h>

/* ---- algorithms ---- */

static const char *const algorithms[] = {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"};

static EVP_PKEY *key_for(const char *algorithm)
{
    return algorithm[0] == 'R'        ? keys.rsa
           : strstr(algorithm, "256") ? keys.p256
           : strstr(algorithm, "384") ? keys.p384
                                      : keys.p521;
}

static void test_every_algorithm(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(algorithms); i++) {
        struct token token = assert_good(token_of(key_for(algorithms[i]), algorithms[i]));
        assert_int_equal(token.granted, ACCESS_READ);
        assert_int_equal(token.until, 1700000300 + TOKEN_LEEWAY);
        assert_string_equal(token.subject, "ana");
        assert_string_equal(token.id, "5e8f");
    }
}

/* ES256 on a P-384 key, RS256 on an EC key, and so on: signed with that key and that digest, but
 * not what the algorithm's name means. */
static void test_algorithm_fits_the_key(void **state)
{
    EVP_PKEY *const trusted[] = {keys.rsa, keys.p256, keys.p384, keys.p521};
    (void)state;
    for (size_t i = 0; i < COUNT(trusted) * COUNT(algorithms); i++) {
        const char *algorithm = algorithms[i % COUNT(algorithms)];
        EVP_PKEY *key = trusted[i / COUNT(algorithms)];
        if (key != key_for(algorithm))
            assert_refused(token_of(key, algorithm), "algorithm does not fit the key");
    }
}

/* ES256 is for P-256 (RFC 7518, 3.4), and other curves have 256 bits, too. Either the bundle or the
 * token is refused. */
static void test_other_curves(void **state)
{
    static const char *const curves[] = {"secp256k1", "brainpoolP256r1", "brainpoolP384r1"};
    static const char *const names[] = {"ES256", "ES256", "ES384"};
    (void)state;
    for (size_t i = 0; i < COUNT(curves); i++) {
        char why[256];
        struct token token;
        struct refusal refusal;
        EVP_PKEY *key = jose_ec(curves[i]);
        char *text = token_of(key, names[i]);
        struct keyring *keyring = keyring_load(jose_bundle_add(curves[i], key), 1, why, sizeof why);
        bool accepted =
            keyring && token_check(text, strlen(text), keyring, &policy, NOW, &token, &refusal);
        keyring_unref(keyring);
        EVP_PKEY_free(key);
        free(text);
        if (accepted)
            fail_msg("%s is accepted on curve %s", names[i], curves[i]);
    }
}

static void test_other_algorithms(void **state)
{
    static const char *const raw[] = {
        "\"none\"",  "\"None\"",  "\"NONE\"",    "\"nOnE\"",  "\"\"",       "\"HS256\"",
        "\"HS384\"", "\"HS512\"", "\"PS256\"",   "\"PS512\"", "\"EdDSA\"",  "\"ES256K\"",
        "\"rs256\"", "\"RS1\"",   "\"RS256 \"",  "\"RS2\"",   "\"RS2567\"", "256",
        "null",      "true",      "[\"RS256\"]", "{}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++)
        assert_refused(token_with_header("alg", raw[i]), "algorithm is not one of those accepted");
    assert_refused(token_with_header("alg", NULL), "algorithm is not one of those accepted");
}

/* libjwt accepts it: the trusted key's public PEM as the secret of an HMAC. */
static void test_hmac_with_the_public_key(void **state)
{
    static const char *const names[] = {"HS256", "HS384", "HS512"};
    char kid[JOSE_FINGERPRINT_SIZE];
    (void)state;
    jose_fingerprint(keys.rsa, kid);
    const struct key *key = keyring_find(keys.keyring, kid);
    assert_non_null(key);
    EVP_PKEY *secret = jose_hmac(key->pem);
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_refused(signed_by(secret, names[i], header_with(keys.rsa, names[i], NULL, NULL),
                                 claims_with(NULL, NULL)),
                       "algorithm is not one of those accepted");
    }
    /* The same under an accepted name. */
    assert_refused(signed_by(secret, "RS256", header_with(keys.rsa, "RS256", NULL, NULL),
                             claims_with(NULL, NULL)),
                   "signature does not verify");
    EVP_PKEY_free(secret);
}

/* Two names at once: the token is refused, and it does not matter which of them would count. */
static void test_two_algorithms(void **state)
{
    static const char *const order[][2] = {
        {"RS256", "none"}, {"none", "RS256"}, {"RS256", "HS256"}, {"HS256", "RS256"}};
    char kid[JOSE_FINGERPRINT_SIZE];
    (void)state;
    jose_fingerprint(keys.rsa, kid);
    EVP_PKEY *secret = jose_hmac(keyring_find(keys.keyring, kid)->pem);
    for (size_t i = 0; i < COUNT(order); i++) {
        char header[256];
        struct token token;
        struct refusal refusal;
        char *claims = claims_with(NULL, NULL);
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\",\"alg\":\"%s\"}",
                 order[i][0], kid, order[i][1]);
        char *text = jose_sign(secret, EVP_sha256(), header, claims);
        assert_false(check(text, NOW, &token, &refusal));
        free(text);
        free(claims);
    }
    EVP_PKEY_free(secret);
}

static void test_none_without_signature(void **state)
{
    (void)state;
    char *text = token_with_header("alg", "\"none\"");
    strrchr(text, '.')[1] = '\0';
    assert_refused(text, "not three parts");
}

/* ---- signatures ---- */

static void test_signature_of_another_digest(void **state)
{
    (void)state;
    char *text = signed_by(keys.rsa, "RS256", header_with(keys.rsa, "RS384", NULL, NULL),
                           claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
}

static void test_signature_of_another_key(void **state)
{
    (void)state;
    char *text = signed_by(keys.other, "RS256", header_with(keys.rsa, "RS256", NULL, NULL),
                           claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
    EVP_PKEY *stranger = jose_ec("P-256");
    text = signed_by(stranger, "ES256", header_with(keys.p256, "ES256", NULL, NULL),
                     claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
    EVP_PKEY_free(stranger);
}

static char flipped(char c)
{
    return c == 'A' ? 'B' : 'A';
}

/* Other claims under a good signature. */
static void test_tampered_claims(void **state)
{
    (void)state;
    char *more = claims_with("access", "[{\"type\":\"registry\",\"name\":\"background-migrations\","
                                       "\"actions\":[\"*\"]}]");
    char *good = token_of(keys.rsa, "RS256");
    char *forged = jose_join(jose_base64url(more, strlen(more)), strdup(strrchr(good, '.') + 1));
    free(more);
    *strchr(good, '.') = '\0';
    assert_refused(jose_join(good, forged), "signature does not verify");
}

static void test_tampered_signature(void **state)
{
    EVP_PKEY *const signers[] = {keys.rsa, keys.p256};
    static const char *const names[] = {"RS256", "ES256"};
    (void)state;
    for (size_t i = 0; i < COUNT(signers); i++) {
        char *text = token_of(signers[i], names[i]);
        size_t start = (size_t)(strrchr(text, '.') - text) + 1;
        size_t len = strlen(text);
        /* Not the last character, some of whose bits stand for nothing. */
        for (size_t at = start; at < len - 1; at += 17) {
            char *changed = strdup(text);
            assert_non_null(changed);
            changed[at] = flipped(changed[at]);
            assert_refused(changed, "signature does not verify");
        }
        free(text);
    }
}

/* A text's last character holds bits beyond the last byte: they must be zero, or one
 * token would have several spellings. */
static void test_one_spelling(void **state)
{
    (void)state;
    char *text = token_of(keys.rsa, "RS256"); /* 256 bytes: four bits to spare */
    size_t last = strlen(text) - 1;
    assert_non_null(strchr("AQgw", text[last]));
    text[last]++;
    assert_refused(text, "signature is not base64url");
}

static void test_padding(void **state)
{
    char *text = token_of(keys.rsa, "RS256");
    char padded[4096];
    (void)state;
    snprintf(padded, sizeof padded, "%s==", text);
    free(text);
    assert_refused(strdup(padded), "signature is not base64url");
}

/* The token's signature replaced by these bytes. */
static char *with_signature(EVP_PKEY *key, const char *algorithm, const void *bytes, size_t len)
{
    char *text = token_of(key, algorithm);
    *strrchr(text, '.') = '\0';
    return jose_join(text, jose_base64url(bytes, len));
}

static void test_signatures_of_other_sizes(void **state)
{
    static const unsigned char zeros[512];
    static const size_t sizes[] = {1, 2, 16, 32, 63, 64, 65, 96, 128, 132, 256, 257, 512};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t j = 0; j < COUNT(algorithms); j++) {
            assert_refused(with_signature(key_for(algorithms[j]), algorithms[j], zeros, sizes[i]),
                           "signature does not verify");
        }
    }
}

/* X.509 writes ECDSA signatures in DER, JWS does not (RFC 7518, 3.4). */
static void test_signature_in_der(void **state)
{
    unsigned char der[128];
    size_t len = sizeof der;
    char *text = token_of(keys.p256, "ES256");
    (void)state;
    *strrchr(text, '.') = '\0';
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_true(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, keys.p256) > 0);
    assert_true(EVP_DigestSign(context, der, &len, (const unsigned char *)text, strlen(text)) > 0);
    EVP_MD_CTX_free(context);
    assert_refused(jose_join(text, jose_base64url(der, len)), "signature does not verify");
}

/* ---- key ids ---- */

static void test_key_ids(void **state)
{
    char kid[JOSE_FINGERPRINT_SIZE];
    char raw[JOSE_FINGERPRINT_SIZE + 16];
    (void)state;
    assert_refused(token_with_header("kid", NULL), "no key id");
    assert_refused(token_with_header("kid", "7"), "no key id");
    assert_refused(token_with_header("kid", "null"), "no key id");
    assert_refused(token_with_header("kid", "\"\""), "key is not trusted");
    jose_fingerprint(keys.other, kid);
    snprintf(raw, sizeof raw, "\"%s\"", kid);
    assert_refused(token_with_header("kid", raw), "key is not trusted");
    assert_refused(token_of(keys.other, "RS256"), "key is not trusted");
    /* The fingerprint and more, or a part of it. */
    jose_fingerprint(keys.rsa, kid);
    snprintf(raw, sizeof raw, "\"%s:\"", kid);
    assert_refused(token_with_header("kid", raw), "key is not trusted");
    snprintf(raw, sizeof raw, "\"%s\\u0000\"", kid);
    assert_refused(token_with_header("kid", raw),
                   "libjwt cannot parse the header: the character \\u0000");
    kid[strlen(kid) - 1] = '\0';
    snprintf(raw, sizeof raw, "\"%s\"", kid);
    assert_refused(token_with_header("kid", raw), "key is not trusted");
}

/* A trusted key, but not the one that the id names. */
static void test_key_id_of_another(void **state)
{
    (void)state;
    char *text = signed_by(keys.p256, "ES256", header_with(keys.p384, "ES256", NULL, NULL),
                           claims_with(NULL, NULL));
    assert_refused(text, "algorithm does not fit the key");
    text = signed_by(keys.p256, "ES256", header_with(keys.rsa, "RS256", NULL, NULL),
                     claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
}

/* ---- what the signature is worth ---- */

static int64_t seconds_of(const ASN1_TIME *time)
{
    int64_t seconds;
    assert_true(keyring_key_time(time, &seconds));
    return seconds;
}

/* The token cache serves a token from and until the times that are said here. */
static void test_times_of_a_chain(void **state)
{
    char why[256];
    struct token token;
    struct refusal refusal;
    EVP_PKEY *key = jose_ec("P-256");
    X509 *root = jose_issue(keys.p256, "root", JOSE_CA, 4000, NULL, NULL);
    X509 *leaf = jose_issue(key, "leaf", JOSE_LEAF, 2000, root, keys.p256);
    char *x5c = jose_x5c(leaf);
    char header[2048];
    (void)state;
    struct keyring *keyring =
        keyring_load(jose_bundle_add_certificate("chain.pem", root), 1, why, sizeof why);
    snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"x5c\":[\"%s\"]}", x5c);
    char *text = jose_sign(key, EVP_sha256(), header,
                           "{\"iss\":\"gitlab-issuer\",\"aud\":\"container_registry\","
                           "\"nbf\":1000000000,\"exp\":9000000000}");
    assert_true(token_check(text, strlen(text), keyring, &policy, time(NULL), &token, &refusal));
    assert_int_equal(token.from, seconds_of(X509_get0_notBefore(leaf)));
    assert_int_equal(token.until, seconds_of(X509_get0_notAfter(leaf)) - 1);
    free(text);
    free(x5c);
    keyring_unref(keyring);
    X509_free(leaf);
    X509_free(root);
    EVP_PKEY_free(key);
}

/* Tokens of a key that has been replaced cost no signature, and are no flood. */
static void test_unknown_key_needs_no_place(void **state)
{
    struct signature_limit *limit = signature_limit_new(1);
    const struct token_policy limited = {policy.issuer, policy.service, limit};
    char *good = token_of(keys.rsa, "RS256");
    char *unknown = token_of(keys.other, "RS256");
    struct token token;
    struct refusal refusal;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(signature_limit_begin(limit));
        signature_limit_end(limit, false);
    }
    assert_true(signature_limit_begin(limit));
    assert_false(
        token_check(unknown, strlen(unknown), keys.keyring, &limited, NOW, &token, &refusal));
    assert_string_equal(refusal.reason, "key is not trusted");
    assert_false(refusal.undecided);
    assert_false(token_check(good, strlen(good), keys.keyring, &limited, NOW, &token, &refusal));
    assert_true(refusal.undecided);
    signature_limit_end(limit, true);
    assert_true(token_check(good, strlen(good), keys.keyring, &limited, NOW, &token, &refusal));
    signature_limit_free(limit);
    free(good);
    free(unknown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_algorithm),
        cmocka_unit_test(test_algorithm_fits_the_key),
        cmocka_unit_test(test_other_curves),
        cmocka_unit_test(test_other_algorithms),
        cmocka_unit_test(test_hmac_with_the_public_key),
        cmocka_unit_test(test_two_algorithms),
        cmocka_unit_test(test_none_without_signature),
        cmocka_unit_test(test_signature_of_another_digest),
        cmocka_unit_test(test_signature_of_another_key),
        cmocka_unit_test(test_tampered_claims),
        cmocka_unit_test(test_tampered_signature),
        cmocka_unit_test(test_one_spelling),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_signatures_of_other_sizes),
        cmocka_unit_test(test_signature_in_der),
        cmocka_unit_test(test_key_ids),
        cmocka_unit_test(test_key_id_of_another),
        cmocka_unit_test(test_times_of_a_chain),
        cmocka_unit_test(test_unknown_key_needs_no_place),
    };
    return cmocka_run_group_tests(tests, keys_build, keys_remove);
}
