/* SPDX-License-Identifier: MIT
 * What is remembered, for whom, and for how long. */
#include "auth/token_cache.h"
#include "unit.h"

#include <string.h>

static int setup(void **state)
{
    *state = token_cache_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    token_cache_free(*state);
    return 0;
}

/* A number beyond which the places are taken again: with four ways, those of n, n + SHARED,
 * n + 2 * SHARED and n + 3 * SHARED are the same. */
#define SHARED (TOKEN_CACHE_SIZE / 4)

/* Digests made by hand: where chance places them, now and then five meet in four places. */
static void name_of(unsigned number, unsigned char digest[])
{
    memset(digest, 0, TOKEN_CACHE_DIGEST_SIZE);
    digest[0] = (unsigned char)(number >> 8);
    digest[1] = (unsigned char)number;
    memcpy(digest + 2, &number, sizeof number);
}

static void keep(struct token_cache *token_cache, unsigned number, uint64_t serial)
{
    struct token token = {.granted = number, .from = 100, .until = 200};
    unsigned char digest[TOKEN_CACHE_DIGEST_SIZE];
    name_of(number, digest);
    token_cache_keep(token_cache, digest, serial, &token);
}

static bool finds(struct token_cache *token_cache, unsigned number, uint64_t serial, int64_t now)
{
    struct token token;
    unsigned char digest[TOKEN_CACHE_DIGEST_SIZE];
    name_of(number, digest);
    bool found = token_cache_find(token_cache, digest, serial, now, &token);
    assert_true(!found || token.granted == number);
    return found;
}

/* The same for the same text only, and another in another process. */
static void test_digest(void **state)
{
    unsigned char first[TOKEN_CACHE_DIGEST_SIZE];
    unsigned char second[TOKEN_CACHE_DIGEST_SIZE];
    struct token_cache *other = token_cache_new();
    assert_true(token_cache_digest(*state, "abc", 3, first));
    assert_true(token_cache_digest(*state, "abc", 3, second));
    assert_memory_equal(first, second, sizeof first);
    assert_true(token_cache_digest(*state, "abd", 3, second));
    assert_memory_not_equal(first, second, sizeof first);
    assert_true(token_cache_digest(other, "abc", 3, second));
    assert_memory_not_equal(first, second, sizeof first);
    token_cache_free(other);
}

static void test_only_what_was_kept_is_found(void **state)
{
    assert_false(finds(*state, 1, 1, 150));
    keep(*state, 1, 1);
    assert_true(finds(*state, 1, 1, 150));
    assert_false(finds(*state, 2, 1, 150));
}

static void test_only_for_the_same_bundle(void **state)
{
    keep(*state, 1, 1);
    assert_false(finds(*state, 1, 2, 150));
    keep(*state, 1, 2);
    assert_true(finds(*state, 1, 2, 150));
    assert_false(finds(*state, 1, 1, 150));
}

/* The clock may step back and forth: each find looks at it. */
static void test_only_within_its_time(void **state)
{
    keep(*state, 1, 1);
    assert_false(finds(*state, 1, 1, 99));
    assert_true(finds(*state, 1, 1, 100));
    assert_true(finds(*state, 1, 1, 200));
    assert_false(finds(*state, 1, 1, 201));
    assert_false(finds(*state, 1, 1, INT64_MIN));
    assert_false(finds(*state, 1, 1, INT64_MAX));
    assert_true(finds(*state, 1, 1, 150));
}

static unsigned count_found(struct token_cache *token_cache, unsigned first, unsigned last)
{
    unsigned count = 0;
    for (unsigned i = first; i < last; i++)
        count += finds(token_cache, i, 1, 150);
    return count;
}

/* Bounded; and who is used stays, though strangers come. */
static void test_the_unused_make_room(void **state)
{
    for (unsigned i = 1; i <= 20; i++)
        keep(*state, i, 1);
    assert_int_equal(count_found(*state, 1, 21), 20);
    for (unsigned i = 1000; i < 1000 + 20 * TOKEN_CACHE_SIZE; i++) {
        keep(*state, i, 1);
        assert_int_equal(count_found(*state, 1, 21), 20);
    }
    assert_true(count_found(*state, 1000, 1000 + 20 * TOKEN_CACHE_SIZE) <= TOKEN_CACHE_SIZE - 20);
}

static void test_kept_again_takes_no_second_place(void **state)
{
    for (unsigned i = 0; i < 4; i++)
        keep(*state, 1 + i * SHARED, 1);
    for (unsigned i = 0; i < 1000; i++)
        keep(*state, 1, i % 7 + 1);
    for (unsigned i = 1; i < 4; i++)
        assert_true(finds(*state, 1 + i * SHARED, 1, 150));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_digest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_what_was_kept_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_for_the_same_bundle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_within_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_unused_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept_again_takes_no_second_place, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
