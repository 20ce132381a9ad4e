/* SPDX-License-Identifier: MIT
 * Entity tags: weak, quoted, and another one for every other body. */
#include "unit.h"

#include "base/etag.h"

static void test_form(void **state)
{
    char tag[ETAG_SIZE];
    (void)state;
    /* The first half of SHA-256("abc"), FIPS 180-4's own example. */
    etag_of("abc", 3, tag);
    assert_string_equal(tag, "W/\"ba7816bf8f01cfea414140de5dae2223\"");
    etag_of("", 0, tag);
    assert_string_equal(tag, "W/\"e3b0c44298fc1c149afbf4c8996fb924\"");
}

static void test_every_byte_counts(void **state)
{
    char body[64];
    char first[ETAG_SIZE];
    char other[ETAG_SIZE];
    (void)state;
    memset(body, 'x', sizeof body);
    etag_of(body, sizeof body, first);
    for (size_t i = 0; i < sizeof body; i++) {
        body[i]++;
        etag_of(body, sizeof body, other);
        assert_string_not_equal(first, other);
        body[i]--;
    }
    etag_of(body, sizeof body - 1, other);
    assert_string_not_equal(first, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_every_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
