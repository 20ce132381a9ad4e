/* SPDX-License-Identifier: MIT
 * The trust bundle as a file: which are accepted, and what is found in them. */
#include "unit.h"

#include "auth/keyring.h"
#include "jose.h"

#include <openssl/err.h>

static struct {
    EVP_PKEY *rsa;
    EVP_PKEY *ec;
} fixture;

static int build(void **state)
{
    fixture.rsa = jose_rsa(2048);
    fixture.ec = jose_ec("P-384");
    return unit_folder_make(state);
}

static int tear_down(void **state)
{
    EVP_PKEY_free(fixture.rsa);
    EVP_PKEY_free(fixture.ec);
    return unit_folder_remove(state);
}

static struct keyring *load(const char *path)
{
    char why[256];
    struct keyring *keyring = keyring_load(path, 7, why, sizeof why);
    if (!keyring)
        fail_msg("%s", why);
    return keyring;
}

static const struct key *find(const struct keyring *keyring, EVP_PKEY *key)
{
    char fingerprint[JOSE_FINGERPRINT_SIZE];
    jose_fingerprint(key, fingerprint);
    const struct key *found = keyring_find(keyring, fingerprint);
    if (found)
        assert_string_equal(found->fingerprint, fingerprint);
    return found;
}

/* ---- good bundles ---- */

static void test_mixed_bundle(void **state)
{
    EVP_PKEY *const keys[] = {fixture.ec, jose_ec("P-256"), fixture.rsa};
    const char *path = NULL;
    EVP_PKEY *stranger = jose_ec("P-256");
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++)
        path = jose_bundle_add("mixed.pem", keys[i]);
    struct keyring *keyring = load(path);
    assert_int_equal(keyring_serial(keyring), 7);
    assert_int_equal(keyring_count(keyring), COUNT(keys));
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct key *found = find(keyring, keys[i]);
        assert_non_null(found);
        assert_ptr_equal(keyring_key(keyring, i), found);
        assert_ptr_equal(keyring_find_jwk(keyring, (const char *[]){found->jwk[0], found->jwk[1]}),
                         found);
        assert_null(keyring_find_jwk(keyring, (const char *[]){found->jwk[1], found->jwk[0]}));
    }
    assert_null(find(keyring, stranger));
    assert_null(keyring_find(keyring, ""));
    assert_null(keyring_find_jwk(keyring, (const char *[]){"", ""}));
    keyring_unref(keyring);
    EVP_PKEY_free(keys[1]);
    EVP_PKEY_free(stranger);
}

/* Text between certificates, and PEM blocks of other kinds, occur in bundles. */
static void test_other_content(void **state)
{
    char name[] = "content.pem";
    (void)state;
    FILE *file = fopen(unit_path(name), "we");
    assert_non_null(file);
    fputs("# who this is\n\n", file);
    PEM_write_PrivateKey(file, fixture.rsa, NULL, NULL, 0, NULL, NULL);
    PEM_write_PUBKEY(file, fixture.rsa);
    fclose(file);
    jose_bundle_add(name, fixture.rsa);
    file = fopen(unit_path(name), "ae");
    assert_non_null(file);
    fputs("and a word at the end", file);
    fclose(file);
    struct keyring *keyring = load(unit_path(name));
    assert_int_equal(keyring_count(keyring), 1);
    assert_non_null(find(keyring, fixture.rsa));
    keyring_unref(keyring);
}

static void test_references(void **state)
{
    struct keyring *keyring = load(jose_bundle_add("references.pem", fixture.ec));
    (void)state;
    assert_ptr_equal(keyring_ref(keyring), keyring);
    keyring_unref(keyring);
    assert_non_null(find(keyring, fixture.ec)); /* a sanitizer reports where it is gone */
    keyring_unref(keyring);
    keyring_unref(NULL);
}

/* ---- bundles that are refused ---- */

/* The reason is one line that names the file and says this. */
static void assert_unusable(const char *path, const char *expected)
{
    char why[512] = "";
    assert_null(keyring_load(path, 1, why, sizeof why));
    assert_int_equal(strncmp(why, path, strlen(path)), 0);
    assert_null(strchr(why, '\n'));
    if (!strstr(why, expected))
        fail_msg("\"%s\" does not say \"%s\"", why, expected);
    /* No error is left in libcrypto's queue, where other code would find it. */
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_no_bundle(void **state)
{
    (void)state;
    assert_unusable(unit_path("missing.pem"), "No such file or directory");
    assert_unusable(unit_write("empty.pem", ""), "holds no certificate");
    assert_unusable(unit_write("words.pem", "these are words\n"), "holds no certificate");
    assert_unusable(unit_folder, "a PEM bundle is expected");
}

static void test_keys_too_weak_or_unknown(void **state)
{
    EVP_PKEY *small = jose_rsa(1024);
    EVP_PKEY *edwards = jose_ed25519();
    (void)state;
    jose_bundle_add("small.pem", fixture.rsa);
    assert_unusable(jose_bundle_add("small.pem", small),
                    "certificate 2 cannot be used: its RSA key is shorter than 2048 bits");
    assert_unusable(jose_bundle_add("edwards.pem", edwards),
                    "certificate 1 cannot be used: its key is neither RSA nor EC");
    EVP_PKEY_free(small);
    EVP_PKEY_free(edwards);
}

/* The text of a file in the folder; the caller frees it. */
static char *text_of(const char *path)
{
    char *text = calloc(1, 100000);
    FILE *file = fopen(path, "re");
    assert_non_null(text);
    assert_non_null(file);
    assert_true(fread(text, 1, 99999, file) > 0);
    fclose(file);
    return text;
}

/* One good certificate and a second that is cut short or broken: no half of a bundle counts. */
static void test_damaged(void **state)
{
    jose_bundle_add("sound.pem", fixture.ec);
    char *text = text_of(jose_bundle_add("sound.pem", fixture.rsa));
    size_t len = strlen(text);
    char *second = strstr(text + 1, "-----BEGIN");
    (void)state;
    assert_non_null(second);

    text[len - 30] = '\0'; /* within the END line, or before it */
    assert_unusable(unit_write("cut.pem", text), "certificate 2 cannot be used");
    free(text);

    text = text_of(unit_path("sound.pem"));
    second = strstr(text + 1, "-----BEGIN");
    second[200] = '*';
    assert_unusable(unit_write("letters.pem", text), "certificate 2 cannot be used");
    free(text);

    text = text_of(unit_path("sound.pem"));
    second = strstr(text + 1, "-----BEGIN") + strlen("-----BEGIN CERTIFICATE-----\n");
    memcpy(second, "AAAA", 4);
    assert_unusable(unit_write("der.pem", text),
                    "certificate 2 cannot be used: it is not a valid certificate");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed_bundle),
        cmocka_unit_test(test_other_content),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_no_bundle),
        cmocka_unit_test(test_keys_too_weak_or_unknown),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, build, tear_down);
}
