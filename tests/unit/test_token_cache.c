/* SPDX-License-Identifier: MIT
 * Which tokens the cache finds, for which keyring, and until when. */
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

/* The number of sets, of four entries each: digests of n, n + SETS, n + 2 * SETS ... share a set.
 */
#define SETS (TOKEN_CACHE_SIZE / 4)

/* Real digests are random, and now and then five meet in one set. These do not. */
static void numbered_digest(unsigned number, unsigned char digest[])
{
    memset(digest, 0, DIGEST_SIZE);
    digest[0] = (unsigned char)(number >> 8);
    digest[1] = (unsigned char)number;
    memcpy(digest + 2, &number, sizeof number);
}

static void keep(struct token_cache *cache, unsigned number, uint64_t serial)
{
    struct token token = {.granted = number, .from = 100, .until = 200};
    unsigned char digest[DIGEST_SIZE];
    numbered_digest(number, digest);
    token_cache_keep(cache, digest, serial, &token);
}

static bool finds(struct token_cache *cache, unsigned number, uint64_t serial, int64_t now)
{
    struct token token;
    unsigned char digest[DIGEST_SIZE];
    numbered_digest(number, digest);
    bool found = token_cache_find(cache, digest, serial, now, &token);
    assert_true(!found || token.granted == number);
    return found;
}

/* Equal for equal texts only, and different in each cache, as in each process. */
static void test_digest(void **state)
{
    unsigned char first[DIGEST_SIZE];
    unsigned char second[DIGEST_SIZE];
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

static void test_finds_only_what_was_stored(void **state)
{
    assert_false(finds(*state, 1, 1, 150));
    keep(*state, 1, 1);
    assert_true(finds(*state, 1, 1, 150));
    assert_false(finds(*state, 2, 1, 150));
}

static void test_finds_only_for_the_same_keyring(void **state)
{
    keep(*state, 1, 1);
    assert_false(finds(*state, 1, 2, 150));
    keep(*state, 1, 2);
    assert_true(finds(*state, 1, 2, 150));
    assert_false(finds(*state, 1, 1, 150));
}

/* The clock may step back and forth: each lookup checks it. */
static void test_finds_only_while_valid(void **state)
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

static unsigned count_found(struct token_cache *cache, unsigned first, unsigned last)
{
    unsigned count = 0;
    for (unsigned i = first; i < last; i++)
        count += finds(cache, i, 1, 150);
    return count;
}

/* The cache is bounded; a token in use stays while others come. */
static void test_unused_tokens_make_room(void **state)
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

static void test_stored_again_takes_no_second_entry(void **state)
{
    for (unsigned i = 0; i < 4; i++)
        keep(*state, 1 + i * SETS, 1);
    for (unsigned i = 0; i < 1000; i++)
        keep(*state, 1, i % 7 + 1);
    for (unsigned i = 1; i < 4; i++)
        assert_true(finds(*state, 1 + i * SETS, 1, 150));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_digest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finds_only_what_was_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finds_only_for_the_same_keyring, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finds_only_while_valid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unused_tokens_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stored_again_takes_no_second_entry, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
