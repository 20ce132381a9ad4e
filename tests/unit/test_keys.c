/* SPDX-License-Identifier: MIT
 * Whom we trust: fingerprints, bundles, and a bundle that changes. */
#include "unit.h"

#include "auth/keys.h"
#include "base/log.h"
#include "jose.h"

#include <openssl/err.h>
#include <sys/stat.h>
#include <time.h>

static struct {
    EVP_PKEY *rsa;
    EVP_PKEY *ec;
} house;

static int house_build(void **state)
{
    house.rsa = jose_rsa(2048);
    house.ec = jose_ec("P-384");
    return unit_folder_make(state);
}

static int house_remove(void **state)
{
    EVP_PKEY_free(house.rsa);
    EVP_PKEY_free(house.ec);
    return unit_folder_remove(state);
}

/* ---- fingerprint ---- */

/* A P-256 key in DER made for this test, and its fingerprint as the openssl command and
 * python worked it out:
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
    (void)state;
    memset(fingerprint, 'x', sizeof fingerprint);
    assert_true(key_fingerprint(known_key, sizeof known_key, fingerprint));
    assert_string_equal(fingerprint, known_fingerprint);
}

/* Any bytes have one; two independent ways agree on a hundred of them. */
static void test_fingerprint_of_any_bytes(void **state)
{
    unsigned char bytes[100];
    (void)state;
    for (size_t len = 0; len < sizeof bytes; len++) {
        char ours[KEY_FINGERPRINT_SIZE];
        char theirs[JOSE_FINGERPRINT_SIZE];
        bytes[len] = (unsigned char)(len * 37);
        assert_true(key_fingerprint(bytes, len, ours));
        jose_fingerprint_of(bytes, len, theirs);
        assert_string_equal(ours, theirs);
        assert_int_equal(strlen(ours), KEY_FINGERPRINT_SIZE - 1);
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
    EVP_PKEY *const keys[] = {house.rsa, house.ec};
    static const char *const names[] = {"by-others-rsa.pem", "by-others-ec.pem"};
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        char fingerprint[KEY_FINGERPRINT_SIZE];
        char why[256];
        const char *path = jose_bundle_add(names[i], keys[i]);
        ask_others(path, fingerprint);
        struct keyring *keyring = keyring_load(path, why, sizeof why);
        assert_non_null(keyring);
        assert_non_null(keyring_find(keyring, fingerprint));
        keyring_drop(keyring);
    }
}

/* ---- bundles that are good ---- */

static const struct key *find(const struct keyring *keyring, EVP_PKEY *key)
{
    char fingerprint[JOSE_FINGERPRINT_SIZE];
    jose_fingerprint(key, fingerprint);
    const struct key *found = keyring_find(keyring, fingerprint);
    if (found)
        assert_string_equal(found->fingerprint, fingerprint);
    return found;
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

static void test_mixed_bundle(void **state)
{
    static const struct {
        const char *curve; /* NULL: RSA */
        int bits;
    } kinds[] = {{NULL, 2048}, {"P-256", 256}, {NULL, 3072}, {"P-384", 384}, {"P-521", 521}};
    EVP_PKEY *keys[COUNT(kinds)];
    const char *path = NULL;
    char why[256];
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        keys[i] = kinds[i].curve ? jose_ec(kinds[i].curve) : jose_rsa((unsigned)kinds[i].bits);
        path = jose_bundle_add("mixed.pem", keys[i]);
    }
    struct keyring *keyring = keyring_load(path, why, sizeof why);
    assert_non_null(keyring);
    assert_int_equal(keyring_count(keyring), COUNT(kinds));
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct key *found = find(keyring, keys[i]);
        assert_non_null(found);
        assert_int_equal(found->type, kinds[i].curve ? KEY_EC : KEY_RSA);
        assert_int_equal(found->bits, kinds[i].bits);
        assert_pem(found, keys[i]);
        /* In the bundle's order; jose_certificate() makes them for an hour. */
        assert_ptr_equal(keyring_key(keyring, i), found);
        assert_in_range(found->not_after, time(NULL) + 3500, time(NULL) + 3600);
        EVP_PKEY_free(keys[i]);
    }
    assert_null(find(keyring, house.rsa));
    assert_null(keyring_find(keyring, ""));
    keyring_drop(keyring);
}

/* Text between certificates, and PEM blocks of other kinds, occur in bundles. */
static void test_other_content(void **state)
{
    char why[256];
    char name[] = "content.pem";
    (void)state;
    FILE *file = fopen(unit_path(name), "we");
    assert_non_null(file);
    fputs("# who this is\n\n", file);
    PEM_write_PrivateKey(file, house.rsa, NULL, NULL, 0, NULL, NULL);
    PEM_write_PUBKEY(file, house.rsa);
    fclose(file);
    jose_bundle_add(name, house.rsa);
    file = fopen(unit_path(name), "ae");
    assert_non_null(file);
    fputs("and a word at the end", file);
    fclose(file);
    struct keyring *keyring = keyring_load(unit_path(name), why, sizeof why);
    assert_non_null(keyring);
    assert_int_equal(keyring_count(keyring), 1);
    assert_non_null(find(keyring, house.rsa));
    keyring_drop(keyring);
}

static void test_holders(void **state)
{
    char why[256];
    struct keyring *keyring = keyring_load(jose_bundle_add("held.pem", house.ec), why, sizeof why);
    (void)state;
    assert_non_null(keyring);
    assert_ptr_equal(keyring_hold(keyring), keyring);
    keyring_drop(keyring);
    assert_non_null(find(keyring, house.ec)); /* the sanitizers would see it gone */
    keyring_drop(keyring);
    keyring_drop(NULL);
}

/* ---- bundles that are not ---- */

/* One line that names the file and says this. */
static void assert_unusable(const char *path, const char *expected)
{
    char why[512] = "";
    assert_null(keyring_load(path, why, sizeof why));
    assert_int_equal(strncmp(why, path, strlen(path)), 0);
    assert_null(strchr(why, '\n'));
    if (!strstr(why, expected))
        fail_msg("\"%s\" does not say \"%s\"", why, expected);
    /* Nothing is left in libcrypto's queue for somebody else to find. */
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
    jose_bundle_add("small.pem", house.rsa);
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

/* One sound certificate and a second that is cut short or broken: none is half trusted. */
static void test_damaged(void **state)
{
    jose_bundle_add("sound.pem", house.ec);
    char *text = text_of(jose_bundle_add("sound.pem", house.rsa));
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

/* ---- the bundle in force ---- */

static void refresh(struct keys *keys, bool force, const char *logged)
{
    log_setup(LOG_INFO, LOG_TEXT);
    unit_stderr_begin();
    keys_refresh(keys, force);
    char *text = unit_stderr_end();
    bool said = logged ? strstr(text, logged) != NULL : *text == '\0';
    if (!said)
        fail_msg("\"%s\" does not say \"%s\"", text, logged ? logged : "nothing");
    free(text);
}

static void assert_in_force(struct keys *keys, EVP_PKEY *key, bool expected)
{
    struct keyring *keyring = keys_current(keys);
    assert_int_equal(find(keyring, key) != NULL, expected);
    keyring_drop(keyring);
}

static void test_open(void **state)
{
    char why[256];
    (void)state;
    assert_null(keys_open(unit_path("missing.pem"), why, sizeof why));
    assert_non_null(strstr(why, "missing.pem"));
    struct keys *keys = keys_open(jose_bundle_add("open.pem", house.rsa), why, sizeof why);
    assert_non_null(keys);
    assert_in_force(keys, house.rsa, true);
    assert_in_force(keys, house.ec, false);
    keys_close(keys);
    keys_close(NULL);
}

/* Replaced by rename, written over in place, damaged, removed, and put right again. */
static void test_refresh(void **state)
{
    char why[256];
    char path[sizeof unit_folder + 64];
    struct keys *keys = keys_open(jose_bundle_add("live.pem", house.rsa), why, sizeof why);
    (void)state;
    assert_non_null(keys);
    snprintf(path, sizeof path, "%s", unit_path("live.pem"));
    refresh(keys, false, NULL);

    struct keyring *held = keys_current(keys);
    assert_int_equal(rename(jose_bundle_add("next.pem", house.ec), path), 0);
    refresh(keys, false, "trust bundle reloaded: 1 keys");
    assert_in_force(keys, house.ec, true);
    assert_in_force(keys, house.rsa, false);
    /* Whoever holds the old one may go on reading it. */
    assert_non_null(find(held, house.rsa));
    keyring_drop(held);
    refresh(keys, false, NULL);

    jose_bundle_add("live.pem", house.rsa);
    refresh(keys, false, "trust bundle reloaded: 2 keys");
    assert_in_force(keys, house.ec, true);
    assert_in_force(keys, house.rsa, true);

    unit_write("live.pem", "damaged");
    refresh(keys, false, "level=error");
    assert_in_force(keys, house.rsa, true);
    refresh(keys, false, NULL); /* said once */
    refresh(keys, true, "the old one stays in force");

    assert_int_equal(unlink(path), 0);
    refresh(keys, false, "No such file");
    refresh(keys, false, NULL);
    assert_in_force(keys, house.ec, true);

    jose_bundle_add("live.pem", house.rsa);
    refresh(keys, false, "trust bundle reloaded: 1 keys");
    assert_in_force(keys, house.ec, false);
    refresh(keys, true, "trust bundle reloaded: 1 keys");
    keys_close(keys);
}

/* The same size and the same modification time, as tools that copy times leave it. */
static void test_refresh_sees_more_than_the_time(void **state)
{
    char why[256];
    char path[sizeof unit_folder + 64];
    EVP_PKEY *other = jose_ec("P-384");
    struct stat first;
    (void)state;
    struct keys *keys = keys_open(jose_bundle_add("times.pem", house.ec), why, sizeof why);
    assert_non_null(keys);
    snprintf(path, sizeof path, "%s", unit_path("times.pem"));
    assert_int_equal(stat(path, &first), 0);
    assert_int_equal(rename(jose_bundle_add("times-next.pem", other), path), 0);
    const struct timespec times[2] = {first.st_atim, first.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    refresh(keys, false, "reloaded");
    assert_in_force(keys, other, true);
    keys_close(keys);
    EVP_PKEY_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_fingerprint),
        cmocka_unit_test(test_fingerprint_of_any_bytes),
        cmocka_unit_test(test_fingerprint_by_others),
        cmocka_unit_test(test_mixed_bundle),
        cmocka_unit_test(test_other_content),
        cmocka_unit_test(test_holders),
        cmocka_unit_test(test_no_bundle),
        cmocka_unit_test(test_keys_too_weak_or_unknown),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_refresh_sees_more_than_the_time),
    };
    return cmocka_run_group_tests(tests, house_build, house_remove);
}
