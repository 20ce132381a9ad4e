/* SPDX-License-Identifier: MIT
 * Query strings. */
#include "unit.h"

#include "http/query.h"

static void assert_value(const char *query, const char *expected)
{
    char value[16];
    memset(value, 'x', sizeof value);
    if (!query_value(query, "n", value, sizeof value))
        fail_msg("there is no n in \"%s\"", query);
    assert_string_equal(value, expected);
}

static void test_values(void **state)
{
    (void)state;
    assert_value("n=7", "7");
    assert_value("last=1&n=7", "7");
    assert_value("n=7&last=1", "7");
    assert_value("&&n=7&", "7");
    assert_value("n=", "");
    assert_value("n", "");
    assert_value("n&last=1", "");
    assert_value("a=n&n=7", "7");
    assert_value("n=a=b", "a=b");
    assert_value("n=7&n=8", "7"); /* the first of two */
}

static void test_decoding(void **state)
{
    (void)state;
    assert_value("n=a+b%20c", "a b c");
    assert_value("n=%37%2b%2B", "7++");
    assert_value("n=%26%3D", "&=");
    assert_value("%6E=7", "7");
    assert_value("n=%c3%A9", "\xC3\xA9");
    /* What is no escape stands for itself. */
    assert_value("n=%", "%");
    assert_value("n=%4", "%4");
    assert_value("n=%4&x=1", "%4");
    assert_value("n=%zz%4g", "%zz%4g");
    assert_value("n=%%41", "%A");
}

static void test_no_such_parameter(void **state)
{
    static const char *const queries[] = {
        "",      "&",    "=",      "=n",     "N=7",
        "nn=7",  "xn=7", "last=n", "n%00=7", "?n=7",
        "n;x=7", "+n=7", "n+=7",   "a=b&c",  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(queries); i++) {
        char value[16];
        if (query_value(queries[i], "n", value, sizeof value))
            fail_msg("there is an n in \"%s\"", queries[i]);
    }
}

/* What cannot be held is no value that any parameter takes, and never a part of one. */
static void test_values_that_do_not_fit(void **state)
{
    (void)state;
    assert_value("n=123456789012345", "123456789012345");
    assert_value("n=1234567890123456", "?");
    assert_value("n=%31%32%33%34%35%36%37%38%39%30%31%32%33%34%35", "123456789012345");
    assert_value("n=1%002", "?");
    assert_value("n=%00", "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_no_such_parameter),
        cmocka_unit_test(test_values_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
