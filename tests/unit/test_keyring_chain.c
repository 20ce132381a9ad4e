/* SPDX-License-Identifier: MIT
 * Chains of certificates: which lead to the trust bundle, and until when. */
#include "pki.h"

#include "auth/keyring_chain.h"

#include <openssl/err.h>
#include <time.h>

#define MAX_CHAIN 8

/* The verdict on a chain. */
struct outcome {
    bool good;
    struct key leaf;
    int64_t from;
    int64_t until;
    struct refusal refusal;
};

/* The chain ends with NULL. */
static struct outcome verify_at(const struct keyring *keyring, const struct holder *const *chain,
                                int64_t now)
{
    const char *texts[MAX_CHAIN];
    struct outcome outcome = {0};
    size_t count = 0;
    for (; chain[count]; count++)
        texts[count] = chain[count]->x5c;
    memset(&outcome.leaf, 0xA5, sizeof outcome.leaf);
    outcome.good = keyring_chain_verify(keyring, texts, count, now, &outcome.leaf, &outcome.from,
                                        &outcome.until, &outcome.refusal);
    /* No error is left in libcrypto's queue, where other code would find it. */
    assert_int_equal(ERR_peek_error(), 0);
    return outcome;
}

#define CHAIN(...) ((const struct holder *const[]){__VA_ARGS__, NULL})

static void assert_good(const struct holder *const *chain)
{
    char fingerprint[JOSE_FINGERPRINT_SIZE];
    struct outcome outcome = verify_at(pki.keyring, chain, time(NULL));
    if (!outcome.good)
        fail_msg("%s", outcome.refusal.reason);
    jose_fingerprint(chain[0]->key, fingerprint);
    assert_string_equal(outcome.leaf.fingerprint, fingerprint);
    keyring_key_clear(&outcome.leaf);
}

static void assert_refused_by(const struct keyring *keyring, const struct holder *const *chain,
                              const char *reason)
{
    struct outcome outcome = verify_at(keyring, chain, time(NULL));
    assert_false(outcome.good);
    assert_string_equal(outcome.refusal.reason, reason);
    assert_false(outcome.refusal.undecided);
    assert_null(outcome.leaf.pem);
}

static void assert_refused(const struct holder *const *chain, const char *reason)
{
    assert_refused_by(pki.keyring, chain, reason);
}

/* ---- which lead to the bundle ---- */

static void test_good_chains(void **state)
{
    struct holder twig = holder_new("twig", JOSE_LEAF, 1000, &pki.branch);
    (void)state;
    assert_good(CHAIN(&pki.leaf));
    assert_good(CHAIN(&pki.leaf, &pki.root));
    assert_good(CHAIN(&pki.deep, &pki.intermediate));
    assert_good(CHAIN(&pki.deep, &pki.intermediate, &pki.root));
    assert_good(CHAIN(&pki.root));
    assert_good(CHAIN(&pki.branch));
    assert_good(CHAIN(&twig));
    assert_good(CHAIN(&twig, &pki.branch));
    holder_free(&twig);
}

static void test_chains_that_lead_elsewhere(void **state)
{
    static const char elsewhere[] = "x5c does not lead to the trust bundle";
    struct holder impostor = holder_new("root", JOSE_CA, 4000, NULL);
    struct holder victim = holder_new("victim", JOSE_LEAF, 4000, &impostor);
    struct holder namesake = holder_new("leaf", JOSE_LEAF, 4000, &impostor);
    (void)state;
    assert_refused(CHAIN(&pki.untrusted), elsewhere);
    assert_refused(CHAIN(&pki.deep), elsewhere);
    assert_refused(CHAIN(&victim), elsewhere);
    assert_refused(CHAIN(&victim, &impostor), elsewhere);
    assert_refused(CHAIN(&impostor), elsewhere);
    assert_refused(CHAIN(&namesake), elsewhere);
    /* Not in the path that leads to the bundle. */
    assert_refused(CHAIN(&pki.leaf, &impostor), elsewhere);
    holder_free(&impostor);
    holder_free(&victim);
    holder_free(&namesake);
}

/* ---- order, and what stands twice: refused without a signature ---- */

static void test_order(void **state)
{
    static const char order[] = "x5c holds a certificate that the next one has not issued";
    (void)state;
    assert_refused(CHAIN(&pki.intermediate, &pki.deep), order);
    assert_refused(CHAIN(&pki.deep, &pki.root, &pki.intermediate), order);
    assert_refused(CHAIN(&pki.deep, &pki.untrusted), order);
    assert_refused(CHAIN(&pki.leaf, &pki.leaf), order);
}

static void test_number_of_certificates(void **state)
{
    static const char number[] = "x5c holds no certificate, or more than six";
    const struct holder *untrusted = &pki.untrusted;
    (void)state;
    assert_refused((const struct holder *const[]){NULL}, number);
    assert_refused(
        CHAIN(untrusted, untrusted, untrusted, untrusted, untrusted, untrusted, untrusted), number);
}

static void test_what_stands_above_a_key_of_the_bundle(void **state)
{
    static const char above[] = "x5c goes on above a key of the trust bundle";
    struct holder twig = holder_new("twig", JOSE_LEAF, 1000, &pki.branch);
    /* The root's key and name in another certificate. */
    struct holder again = {.certificate = jose_issue(pki.root.key, "root", JOSE_CA, 5000,
                                                     pki.root.certificate, pki.root.key)};
    again.x5c = jose_x5c(again.certificate);
    const struct holder *root = &pki.root;
    (void)state;
    assert_refused(CHAIN(root, root), above);
    assert_refused(CHAIN(root, root, root, root, root, root), above);
    assert_refused(CHAIN(&pki.leaf, root, root), above);
    assert_refused(CHAIN(&pki.branch, root), above);
    assert_refused(CHAIN(&twig, &pki.branch, root), above);
    assert_refused(CHAIN(&again, root), above);
    assert_refused(CHAIN(root, &again), above);
    holder_free(&twig);
    holder_free(&again);
}

static void test_key_twice(void **state)
{
    struct holder again = {.certificate = jose_issue(pki.untrusted.key, "untrusted", JOSE_CA, 5000,
                                                     pki.untrusted.certificate, pki.untrusted.key)};
    again.x5c = jose_x5c(again.certificate);
    (void)state;
    assert_refused(CHAIN(&pki.untrusted, &pki.untrusted), "x5c holds a key twice");
    assert_refused(CHAIN(&again, &pki.untrusted), "x5c holds a key twice");
    holder_free(&again);
}

static void test_what_is_no_certificate(void **state)
{
    static const char *const texts[] = {"", "AAAA", "x", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"};
    struct holder other = {.key = NULL};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        other.x5c = strdup(texts[i]);
        assert_refused(CHAIN(&other), "x5c holds something else than certificates");
        assert_refused(CHAIN(&pki.deep, &other), "x5c holds something else than certificates");
        free(other.x5c);
    }
}

/* ---- authorities ---- */

/* A leaf of an authority that is in a bundle of its own. */
static void assert_issues(enum jose_authority authority, const char *reason)
{
    char why[256];
    struct holder issuer = holder_new("issuer", authority, 1000, NULL);
    struct holder leaf = holder_new("leaf", JOSE_LEAF, 1000, &issuer);
    const char *path = jose_bundle_add_certificate("authority.pem", issuer.certificate);
    struct keyring *keyring = keyring_load(path, 1, why, sizeof why);
    assert_non_null(keyring);
    if (reason) {
        assert_refused_by(keyring, CHAIN(&leaf), reason);
        assert_refused_by(keyring, CHAIN(&leaf, &issuer), reason);
    }
    /* Its own key is trusted in either case. */
    for (int i = 0; i < (reason ? 1 : 2); i++) {
        struct outcome outcome = verify_at(keyring, i ? CHAIN(&leaf) : CHAIN(&issuer), time(NULL));
        assert_true(outcome.good);
        keyring_key_clear(&outcome.leaf);
    }
    assert_int_equal(unlink(path), 0);
    keyring_unref(keyring);
    holder_free(&issuer);
    holder_free(&leaf);
}

static void test_issuer_must_be_an_authority(void **state)
{
    (void)state;
    assert_issues(JOSE_CA, NULL);
    assert_issues(JOSE_LEAF, "x5c does not lead to the trust bundle");
    assert_issues(JOSE_KEY_USAGE_ONLY, "x5c leads over a certificate that is no authority");
    assert_issues(JOSE_VERSION_1, "x5c leads over a certificate that is no authority");
}

static void test_issuer_below_the_bundle_must_be_an_authority(void **state)
{
    static const enum jose_authority kinds[] = {JOSE_LEAF, JOSE_KEY_USAGE_ONLY, JOSE_VERSION_1};
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct holder issuer = holder_new("issuer", kinds[i], 1000, &pki.root);
        struct holder leaf = holder_new("leaf", JOSE_LEAF, 1000, &issuer);
        struct outcome outcome = verify_at(pki.keyring, CHAIN(&leaf, &issuer), time(NULL));
        assert_false(outcome.good);
        holder_free(&issuer);
        holder_free(&leaf);
    }
}

/* ---- times ---- */

/* The narrowest of all on the way; OpenSSL does not count a certificate's last second. */
static void test_validity(void **state)
{
    int64_t first;
    int64_t last;
    (void)state;
    assert_true(keyring_key_time(X509_get0_notBefore(pki.deep.certificate), &first));
    assert_true(keyring_key_time(X509_get0_notAfter(pki.intermediate.certificate), &last));
    struct outcome outcome = verify_at(pki.keyring, CHAIN(&pki.deep, &pki.intermediate), last - 1);
    assert_true(outcome.good);
    assert_true(outcome.from == first);
    assert_true(outcome.until == last - 1);
    keyring_key_clear(&outcome.leaf);
    outcome = verify_at(pki.keyring, CHAIN(&pki.deep, &pki.intermediate), last);
    assert_false(outcome.good);
    assert_string_equal(outcome.refusal.reason, "x5c holds a certificate that is not valid now");
    outcome = verify_at(pki.keyring, CHAIN(&pki.deep, &pki.intermediate), first - 1);
    assert_false(outcome.good);
    assert_string_equal(outcome.refusal.reason, "x5c holds a certificate that is not valid now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_chains),
        cmocka_unit_test(test_chains_that_lead_elsewhere),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_number_of_certificates),
        cmocka_unit_test(test_what_stands_above_a_key_of_the_bundle),
        cmocka_unit_test(test_key_twice),
        cmocka_unit_test(test_what_is_no_certificate),
        cmocka_unit_test(test_issuer_must_be_an_authority),
        cmocka_unit_test(test_issuer_below_the_bundle_must_be_an_authority),
        cmocka_unit_test(test_validity),
    };
    return cmocka_run_group_tests(tests, pki_build, pki_remove);
}
