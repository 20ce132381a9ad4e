/* SPDX-License-Identifier: MIT
 * digest: equal for equal bytes under one key, and different otherwise. */
#include "base/digest.h"

#include "unit.h"

static void test_equal_bytes(void **state)
{
    struct digest_key *key = digest_key_new();
    unsigned char one[DIGEST_SIZE];
    unsigned char other[DIGEST_SIZE];
    (void)state;
    assert_true(digest_of(key, "abc", 3, one));
    assert_true(digest_of(key, "abc", 3, other));
    assert_memory_equal(one, other, DIGEST_SIZE);
    assert_true(digest_of(key, "", 0, one));
    assert_true(digest_of(key, NULL, 0, other));
    assert_memory_equal(one, other, DIGEST_SIZE);
    digest_key_free(key);
}

static void test_other_bytes(void **state)
{
    struct digest_key *key = digest_key_new();
    unsigned char one[DIGEST_SIZE];
    unsigned char other[DIGEST_SIZE];
    char bytes[64] = {0};
    (void)state;
    assert_true(digest_of(key, bytes, sizeof bytes, one));
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_true(digest_of(key, bytes, sizeof bytes, other));
        assert_memory_not_equal(one, other, DIGEST_SIZE);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(digest_of(key, bytes, sizeof bytes - 1, other));
    assert_memory_not_equal(one, other, DIGEST_SIZE);
    digest_key_free(key);
}

static void test_other_key(void **state)
{
    struct digest_key *keys[] = {digest_key_new(), digest_key_new()};
    unsigned char one[DIGEST_SIZE];
    unsigned char other[DIGEST_SIZE];
    (void)state;
    assert_true(digest_of(keys[0], "abc", 3, one));
    assert_true(digest_of(keys[1], "abc", 3, other));
    assert_memory_not_equal(one, other, DIGEST_SIZE);
    digest_key_free(keys[0]);
    digest_key_free(keys[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_bytes),
        cmocka_unit_test(test_other_bytes),
        cmocka_unit_test(test_other_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
