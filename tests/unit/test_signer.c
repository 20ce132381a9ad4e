/* SPDX-License-Identifier: MIT
 * The trusted key that a header names, by x5c, jwk or kid. */
#include "pki.h"

#include "auth/signer.h"
#include "base/json_input.h"

#include <time.h>

/* ---- headers ---- */

/* The key's fingerprint and the members of its JWK, as the code under test is not asked for them.
 */
static char *jwk_of(EVP_PKEY *key, const char *more)
{
    unsigned char point[65];
    size_t len;
    char *text = malloc(1024);
    assert_non_null(text);
    assert_true(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof point, &len));
    assert_int_equal(len, sizeof point); /* P-256, not compressed: 4, x, y */
    char *x = jose_base64url(point + 1, 32);
    char *y = jose_base64url(point + 33, 32);
    snprintf(text, 1024, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"%s}", x, y,
             more);
    free(x);
    free(y);
    return text;
}

static const char *kid_of(EVP_PKEY *key)
{
    static char kid[JOSE_FINGERPRINT_SIZE];
    jose_fingerprint(key, kid);
    return kid;
}

/* Formats a text; the caller frees it. */
static char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *format(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    assert_true(vasprintf(&text, fmt, args) > 0);
    va_end(args);
    return text;
}

/* ---- verdicts; each frees the header ---- */

struct outcome {
    bool good;
    char fingerprint[KEY_FINGERPRINT_SIZE];
    int64_t from;
    int64_t until;
    const char *reason;
    bool has_chain;
};

static struct outcome find(char *header)
{
    struct json_input input = {0};
    struct signer signer;
    struct refusal refusal = {0};
    struct outcome outcome = {0};
    const json_t *object;
    assert_int_equal(json_input_read(&input, header, strlen(header), &object), JSON_INPUT_GOOD);
    outcome.has_chain = signer_has_chain(object);
    outcome.good = signer_find(object, pki.keyring, time(NULL), &signer, &refusal);
    if (outcome.good)
        memcpy(outcome.fingerprint, signer.key->fingerprint, sizeof outcome.fingerprint);
    outcome.from = signer.from;
    outcome.until = signer.until;
    outcome.reason = refusal.reason;
    signer_clear(&signer);
    assert_null(signer.key);
    json_input_free(&input);
    free(header);
    return outcome;
}

static struct outcome assert_found(char *header, const struct holder *holder)
{
    struct outcome outcome = find(header);
    if (!outcome.good)
        fail_msg("%s", outcome.reason);
    assert_string_equal(outcome.fingerprint, kid_of(holder->key));
    return outcome;
}

static void assert_refused(char *header, const char *reason)
{
    struct outcome outcome = find(header);
    assert_false(outcome.good);
    assert_string_equal(outcome.reason, reason);
}

/* ---- kid ---- */

static void test_kid(void **state)
{
    (void)state;
    struct outcome outcome =
        assert_found(format("{\"kid\":\"%s\"}", kid_of(pki.root.key)), &pki.root);
    assert_false(outcome.has_chain);
    /* A key of the bundle may be used at any time. */
    assert_true(outcome.from == INT64_MIN && outcome.until == INT64_MAX);
    assert_refused(format("{\"kid\":\"%s\"}", kid_of(pki.leaf.key)), "key is not trusted");
    assert_refused(format("{\"kid\":\"\"}"), "key is not trusted");
    assert_refused(format("{\"kid\":7}"), "no key id");
    assert_refused(format("{\"kid\":null}"), "no key id");
    assert_refused(format("{}"), "no key id");
}

/* ---- jwk ---- */

static char *with_jwk(EVP_PKEY *key, const char *more)
{
    char *jwk = jwk_of(key, more);
    char *header = format("{\"jwk\":%s}", jwk);
    free(jwk);
    return header;
}

static void test_jwk(void **state)
{
    char more[128];
    (void)state;
    struct outcome outcome = assert_found(with_jwk(pki.root.key, ""), &pki.root);
    assert_false(outcome.has_chain);
    assert_true(outcome.from == INT64_MIN && outcome.until == INT64_MAX);
    assert_found(with_jwk(pki.branch.key, ",\"use\":\"sig\",\"alg\":\"ES256\""), &pki.branch);
    snprintf(more, sizeof more, ",\"kid\":\"%s\"", kid_of(pki.root.key));
    assert_found(with_jwk(pki.root.key, more), &pki.root);
    assert_refused(with_jwk(pki.branch.key, more), "jwk does not describe the trusted key");
    assert_refused(with_jwk(pki.root.key, ",\"kid\":null"),
                   "jwk does not describe the trusted key");
    assert_refused(with_jwk(pki.leaf.key, ""), "jwk is not trusted");
}

static void test_private_jwk(void **state)
{
    static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    char more[32];
    (void)state;
    for (size_t i = 0; i < COUNT(members); i++) {
        snprintf(more, sizeof more, ",\"%s\":null", members[i]);
        assert_refused(with_jwk(pki.root.key, more), "jwk holds a private key");
    }
}

static void test_jwk_of_another_form(void **state)
{
    static const char *const headers[] = {
        "{\"jwk\":null}",
        "{\"jwk\":7}",
        "{\"jwk\":[]}",
        "{\"jwk\":{}}",
        "{\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}",
        "{\"jwk\":{\"kty\":\"ec\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}}",
        "{\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\"}}",
        "{\"jwk\":{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":65537}}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++)
        assert_refused(strdup(headers[i]), "jwk is not an RSA or EC key");
}

/* ---- x5c ---- */

static void test_x5c(void **state)
{
    int64_t last;
    (void)state;
    assert_true(keyring_key_time(X509_get0_notAfter(pki.leaf.certificate), &last));
    struct outcome outcome = assert_found(format("{\"x5c\":[\"%s\"]}", pki.leaf.x5c), &pki.leaf);
    assert_true(outcome.has_chain);
    assert_true(outcome.until == last - 1);
    assert_found(format("{\"x5c\":[\"%s\",\"%s\"]}", pki.deep.x5c, pki.intermediate.x5c),
                 &pki.deep);
    assert_refused(format("{\"x5c\":[\"%s\"]}", pki.deep.x5c),
                   "x5c does not lead to the trust bundle");
    assert_refused(format("{\"x5c\":null}"), "x5c is not a list");
    assert_refused(format("{\"x5c\":\"%s\"}", pki.leaf.x5c), "x5c is not a list");
    assert_refused(format("{\"x5c\":[\"%s\",null]}", pki.leaf.x5c), "x5c is not a list of strings");
    assert_refused(format("{\"x5c\":[]}"), "x5c holds no certificate, or more than six");
}

static void test_jwk_with_x5c(void **state)
{
    char *more = format(",\"x5c\":[\"%s\"]", pki.leaf.x5c);
    (void)state;
    struct outcome outcome = assert_found(with_jwk(pki.leaf.key, more), &pki.leaf);
    assert_true(outcome.has_chain);
    assert_true(outcome.until < INT64_MAX);
    /* The chain leads to another key, which may be a trusted one. */
    assert_refused(with_jwk(pki.deep.key, more), "jwk does not describe the trusted key");
    assert_refused(with_jwk(pki.root.key, more), "jwk does not describe the trusted key");
    assert_refused(with_jwk(pki.root.key, ",\"x5c\":null"), "x5c is not a list");
    free(more);
}

/* ---- which of the three decides ---- */

static void test_precedence(void **state)
{
    char *jwk = jwk_of(pki.branch.key, "");
    char *unknown = jwk_of(pki.untrusted.key, "");
    char kid[JOSE_FINGERPRINT_SIZE];
    (void)state;
    snprintf(kid, sizeof kid, "%s", kid_of(pki.root.key));
    assert_found(format("{\"kid\":\"%s\",\"jwk\":%s}", kid, jwk), &pki.branch);
    assert_found(format("{\"kid\":\"%s\",\"jwk\":%s,\"x5c\":[\"%s\"]}", kid, jwk, pki.leaf.x5c),
                 &pki.leaf);
    /* One that leads nowhere is refused, though the next would do. */
    assert_refused(format("{\"kid\":\"%s\",\"jwk\":%s}", kid, unknown), "jwk is not trusted");
    assert_refused(format("{\"kid\":\"%s\",\"x5c\":[\"%s\"]}", kid, pki.untrusted.x5c),
                   "x5c does not lead to the trust bundle");
    assert_refused(format("{\"jwk\":%s,\"x5c\":[]}", jwk),
                   "x5c holds no certificate, or more than six");
    free(jwk);
    free(unknown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kid),         cmocka_unit_test(test_jwk),
        cmocka_unit_test(test_private_jwk), cmocka_unit_test(test_jwk_of_another_form),
        cmocka_unit_test(test_x5c),         cmocka_unit_test(test_jwk_with_x5c),
        cmocka_unit_test(test_precedence),
    };
    return cmocka_run_group_tests(tests, pki_build, pki_remove);
}
