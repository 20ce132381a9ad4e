/* SPDX-License-Identifier: MIT
 * The token in an Authorization header. */
#include "unit.h"

#include "auth/bearer.h"

static void test_token(void **state)
{
    static const char *const headers[] = {"Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c",
                                          "bEaReR a.b.c"};
    size_t len;
    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++) {
        len = 999;
        const char *token = bearer_token(headers[i], &len);
        assert_non_null(token);
        assert_string_equal(token, "a.b.c");
        assert_int_equal(len, 5);
    }
}

static void test_no_token(void **state)
{
    static const char *const headers[] = {
        NULL,
        "",
        "Bearer",
        "Bearer ",
        "Bearer  a.b.c",
        " Bearer a.b.c",
        "Bearer a b",
        "Bearer a.b.c ",
        "Bearer\ta.b.c",
        "Bearer\xC2\xA0t",
        "Bearer:a.b.c",
        "Bearera.b.c",
        "a.b.c",
        "Basic dXNlcjpw",
        "Token a.b.c",
        "Bearer a,b",
        "Bearer a.b.c, Bearer d.e.f",
        "Bearer a.b.c\tx",
        "Bearer a\r\nb",
        "BearerX a.b.c",
    };
    size_t len;
    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++) {
        if (bearer_token(headers[i], &len))
            fail_msg("a token was found in \"%s\"", headers[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
