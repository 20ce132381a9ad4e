/* SPDX-License-Identifier: MIT
 * Many threads, few tokens, a bundle that is replaced and a clock that steps: each verdict must be
 * the one that the keyring in force gives at that time. Also for ThreadSanitizer: make race. */
#include "unit.h"

#include "auth/auth.h"
#include "base/log.h"
#include "jose.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define NOW     2000000000
#define THREADS 4
#define SWAPS   60

/* A thread cannot fail a test: it ends the program. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* The two keys, of which the bundle holds one, the other, or both. */
static struct {
    EVP_PKEY *pkeys[2];
    X509 *certificates[2];
    char *tokens[2];
    char file[sizeof unit_folder + 64];
    struct conf conf;
    struct auth auth;
    /* The number of swaps from bit 3 on; bit 2 during a swap; below it what the bundle holds. */
    atomic_uint state;
    atomic_uint compared; /* verdicts, by all workers */
    atomic_bool wrong;    /* one of them */
    atomic_bool done;
} shared;

static void write_bundle(unsigned holds)
{
    FILE *file = fopen(shared.file, "w");
    MUST(file);
    for (unsigned i = 0; i < 2; i++)
        MUST(!(holds & 1u << i) || PEM_write_X509(file, shared.certificates[i]));
    MUST(fclose(file) == 0);
}

static void make_token(unsigned i)
{
    char kid[JOSE_FINGERPRINT_SIZE];
    char header[128];
    char claims[512];
    jose_fingerprint(shared.pkeys[i], kid);
    snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    snprintf(claims, sizeof claims,
             "{\"iss\":\"i\",\"aud\":\"s\",\"sub\":\"%u\",\"nbf\":%d,\"exp\":%d}", i, NOW - 100,
             NOW + 100);
    shared.tokens[i] = jose_sign(shared.pkeys[i], EVP_sha256(), header, claims);
}

static int setup(void **state)
{
    static char issuer[] = "i";
    static char service[] = "s";
    char why[512];
    log_setup(LOG_ERROR, LOG_TEXT);
    if (unit_folder_make(state) != 0)
        return -1;
    snprintf(shared.file, sizeof shared.file, "%s", unit_path("bundle.pem"));
    for (unsigned i = 0; i < 2; i++) {
        shared.pkeys[i] = jose_ec("P-256");
        shared.certificates[i] = jose_certificate(shared.pkeys[i]);
        make_token(i);
    }
    write_bundle(3);
    shared.conf.token.rootcertbundle = shared.file;
    shared.conf.fcgi.threads = 2 * THREADS; /* all may verify at the same time */
    shared.conf.token.issuer = issuer;
    shared.conf.token.service = service;
    atomic_store(&shared.state, 3);
    atomic_store(&shared.compared, 0);
    atomic_store(&shared.wrong, false);
    atomic_store(&shared.done, false);
    return auth_open(&shared.auth, &shared.conf, why, sizeof why) ? 0 : -1;
}

static int teardown(void **state)
{
    auth_close(&shared.auth);
    for (unsigned i = 0; i < 2; i++) {
        free(shared.tokens[i]);
        X509_free(shared.certificates[i]);
        EVP_PKEY_free(shared.pkeys[i]);
    }
    return unit_folder_remove(state);
}

static bool ask(unsigned i, int64_t now)
{
    struct token token;
    struct refusal refusal;
    bool good =
        auth_token(&shared.auth, shared.tokens[i], strlen(shared.tokens[i]), now, &token, &refusal);
    MUST(good != (refusal.reason != NULL));
    MUST(!good || (token.subject[0] == (char)('0' + i) && token.subject[1] == '\0'));
    return good;
}

static void replace_bundle(unsigned holds)
{
    unsigned swap = atomic_load(&shared.state) >> 3;
    atomic_store(&shared.state, (swap + 1) << 3 | 4);
    write_bundle(holds);
    trust_bundle_refresh(shared.auth.trust_bundle, true);
    atomic_store(&shared.state, (swap + 1) << 3 | holds);
}

static void test_each_swap_counts_at_once(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned holds = 1; holds <= 3; holds++) {
            replace_bundle(holds);
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(ask(i % 2, NOW), (holds & 1u << i % 2) != 0);
        }
    }
}

static void test_a_bundle_that_cannot_be_read_changes_nothing(void **state)
{
    (void)state;
    replace_bundle(1);
    log_setup((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
    write_bundle(0);
    trust_bundle_refresh(shared.auth.trust_bundle, true);
    assert_true(ask(0, NOW));
    assert_false(ask(1, NOW));
}

static void test_the_clock_counts_at_once(void **state)
{
    static const int64_t steps[] = {0, 160, 161, 0, -160, -161, 0, 1000000, -1000000, 0};
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        assert_int_equal(ask(0, NOW + steps[i]), steps[i] >= -160 && steps[i] <= 160);
}

/* Asks and compares while bundles are replaced, and then until it has compared one verdict. Returns
 * the number of compared ones; NULL where one was wrong. */
static void *worker(void *argument)
{
    static const int64_t steps[] = {0, 0, 0, 161, 0, 0, -161, 100};
    unsigned turn = *(unsigned *)argument;
    uintptr_t compared = 0;
    while (!atomic_load(&shared.done) || compared == 0) {
        unsigned i = turn % 2;
        int64_t step = steps[turn++ % 8];
        unsigned before = atomic_load(&shared.state);
        bool good = ask(i, NOW + step);
        if (before & 4 || atomic_load(&shared.state) != before)
            continue;
        compared++;
        atomic_fetch_add(&shared.compared, 1);
        if (good != ((before & 1u << i) != 0 && step > -161 && step < 161)) {
            atomic_store(&shared.wrong, true);
            return NULL;
        }
    }
    return (void *)compared;
}

static void test_threads_while_bundles_are_replaced(void **state)
{
    pthread_t threads[THREADS];
    unsigned turns[THREADS];
    void *compared;
    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        turns[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, worker, &turns[i]), 0);
    }
    for (unsigned swap = 0; swap < SWAPS; swap++) {
        replace_bundle(swap % 3 + 1);
        unsigned before = atomic_load(&shared.compared);
        while (atomic_load(&shared.compared) < before + THREADS && !atomic_load(&shared.wrong))
            sched_yield();
    }
    atomic_store(&shared.done, true);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &compared), 0);
        assert_non_null(compared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_swap_counts_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_bundle_that_cannot_be_read_changes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_clock_counts_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_while_bundles_are_replaced, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
