/* SPDX-License-Identifier: MIT
 * The keyring in force, while the bundle's file changes. */
#include "unit.h"

#include "auth/trust_bundle.h"
#include "base/log.h"
#include "jose.h"

#include <sys/stat.h>

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

/* ---- helpers ---- */

static struct trust_bundle *open_bundle(const char *path)
{
    char why[256];
    struct trust_bundle *bundle = trust_bundle_open(path, why, sizeof why);
    if (!bundle)
        fail_msg("%s", why);
    return bundle;
}

static bool has_key(const struct keyring *keyring, EVP_PKEY *key)
{
    char fingerprint[JOSE_FINGERPRINT_SIZE];
    jose_fingerprint(key, fingerprint);
    return keyring_find(keyring, fingerprint) != NULL;
}

static void assert_in_force(struct trust_bundle *bundle, EVP_PKEY *key, bool expected)
{
    struct keyring *keyring = trust_bundle_keyring(bundle);
    assert_int_equal(has_key(keyring, key), expected);
    assert_int_equal(keyring_serial(keyring), trust_bundle_serial(bundle));
    keyring_unref(keyring);
}

/* NULL: nothing is logged. */
static void refresh(struct trust_bundle *bundle, bool force, const char *logged)
{
    uint64_t before = trust_bundle_serial(bundle);
    log_setup(LOG_INFO, LOG_TEXT);
    unit_stderr_begin();
    trust_bundle_refresh(bundle, force);
    char *text = unit_stderr_end();
    bool as_expected = logged ? strstr(text, logged) != NULL : *text == '\0';
    if (!as_expected)
        fail_msg("\"%s\" does not say \"%s\"", text, logged ? logged : "nothing");
    bool reloaded = strstr(text, "trust bundle reloaded") != NULL;
    assert_int_equal(trust_bundle_serial(bundle), before + reloaded);
    free(text);
}

/* ---- tests ---- */

static void test_open(void **state)
{
    char why[256];
    (void)state;
    assert_null(trust_bundle_open(unit_path("missing.pem"), why, sizeof why));
    assert_non_null(strstr(why, "missing.pem"));
    struct trust_bundle *bundle = open_bundle(jose_bundle_add("open.pem", fixture.rsa));
    assert_in_force(bundle, fixture.rsa, true);
    assert_in_force(bundle, fixture.ec, false);
    trust_bundle_close(bundle);
    trust_bundle_close(NULL);
}

/* Replaced by rename, overwritten in place, damaged, removed, and written again. */
static void test_refresh(void **state)
{
    char path[sizeof unit_folder + 64];
    struct trust_bundle *bundle = open_bundle(jose_bundle_add("live.pem", fixture.rsa));
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("live.pem"));
    refresh(bundle, false, NULL);

    struct keyring *old = trust_bundle_keyring(bundle);
    assert_int_equal(rename(jose_bundle_add("next.pem", fixture.ec), path), 0);
    refresh(bundle, false, "trust bundle reloaded: 1 keys");
    assert_in_force(bundle, fixture.ec, true);
    assert_in_force(bundle, fixture.rsa, false);
    assert_true(has_key(old, fixture.rsa));
    keyring_unref(old);
    refresh(bundle, false, NULL);

    jose_bundle_add("live.pem", fixture.rsa);
    refresh(bundle, false, "trust bundle reloaded: 2 keys");
    assert_in_force(bundle, fixture.ec, true);
    assert_in_force(bundle, fixture.rsa, true);

    unit_write("live.pem", "damaged");
    refresh(bundle, false, "level=error");
    assert_in_force(bundle, fixture.rsa, true);
    refresh(bundle, false, NULL); /* logged once */
    refresh(bundle, true, "the old one stays in force");

    assert_int_equal(unlink(path), 0);
    refresh(bundle, false, "No such file");
    refresh(bundle, false, NULL);
    assert_in_force(bundle, fixture.ec, true);

    jose_bundle_add("live.pem", fixture.rsa);
    refresh(bundle, false, "trust bundle reloaded: 1 keys");
    assert_in_force(bundle, fixture.ec, false);
    refresh(bundle, true, "trust bundle reloaded: 1 keys");
    trust_bundle_close(bundle);
}

/* The same size and modification time: tools that copy times leave a file so. */
static void test_refresh_compares_more_than_the_time(void **state)
{
    char path[sizeof unit_folder + 64];
    EVP_PKEY *other = jose_ec("P-384");
    struct stat first;
    struct trust_bundle *bundle = open_bundle(jose_bundle_add("times.pem", fixture.ec));
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("times.pem"));
    assert_int_equal(stat(path, &first), 0);
    assert_int_equal(rename(jose_bundle_add("times-next.pem", other), path), 0);
    const struct timespec times[2] = {first.st_atim, first.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    refresh(bundle, false, "reloaded");
    assert_in_force(bundle, other, true);
    trust_bundle_close(bundle);
    EVP_PKEY_free(other);
}

/* What the file holds, with spaces behind it up to a size; in static storage. */
static const char *padded(const char *path)
{
    static char text[4096];
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    memset(text + len, ' ', sizeof text - 1 - len);
    return text;
}

/* Overwritten in place, with the same size and modification time: only the kernel's own time of the
 * change shows it. */
static void test_refresh_sees_what_is_written_in_place(void **state)
{
    struct stat first;
    const char *path = jose_bundle_add("place.pem", fixture.ec);
    (void)state;
    path = unit_write("place.pem", padded(path));
    struct trust_bundle *bundle = open_bundle(path);
    assert_int_equal(stat(path, &first), 0);
    const char *other = padded(jose_bundle_add("place-next.pem", fixture.rsa));
    path = unit_write("place.pem", other);
    const struct timespec times[2] = {first.st_atim, first.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    refresh(bundle, false, "reloaded");
    assert_in_force(bundle, fixture.rsa, true);
    trust_bundle_close(bundle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_refresh_compares_more_than_the_time),
        cmocka_unit_test(test_refresh_sees_what_is_written_in_place),
    };
    return cmocka_run_group_tests(tests, build, tear_down);
}
