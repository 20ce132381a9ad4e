/* SPDX-License-Identifier: MIT
 * What a token's claims must say, and what they grant. */
#include "tokens.h"

/* ---- issuer and audience ---- */

static void test_issuer(void **state)
{
    static const char *const others[] = {
        "\"\"",
        "\"gitlab-issuer \"",
        "\"Gitlab-issuer\"",
        "\"gitlab-issue\"",
        "7",
        "null",
        "[\"gitlab-issuer\"]",
        "{}",
        NULL,
    };
    (void)state;
    for (size_t i = 0; i < COUNT(others); i++)
        assert_refused(token_with_claim("iss", others[i]), "another issuer");
}

static void test_audience(void **state)
{
    static const char *const good[] = {
        "\"container_registry\"",
        "[\"container_registry\"]",
        "[\"other\",\"container_registry\"]",
        "[\"container_registry\",\"other\",\"container_registry\"]",
        "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"container_registry\"]",
    };
    static const char *const bad[] = {
        NULL,
        "null",
        "7",
        "{}",
        "{\"container_registry\":true}",
        "\"\"",
        "\"container_registry \"",
        "\"Container_registry\"",
        "\"other,container_registry\"",
        "[]",
        "[\"other\"]",
        "[[\"container_registry\"]]",
        "[null]",
        /* a list of strings, says the claim's definition */
        "[\"container_registry\",7]",
        "[\"container_registry\",null]",
        /* one more than may be */
        "[\"container_registry\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\"]",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_good(token_with_claim("aud", good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_refused(token_with_claim("aud", bad[i]), "another audience");
}

/* ---- times ---- */

static void test_expiry(void **state)
{
    (void)state;
    assert_good_at(token_with_claim("exp", "1700000000"), 1700000000);
    assert_good_at(token_with_claim("exp", "1700000000"), 1700000000 + 60);
    assert_refused_at(token_with_claim("exp", "1700000000"), 1700000000 + 61, "expired");
    assert_refused(token_with_claim("exp", "0"), "expired");
    assert_refused(token_with_claim("exp", "-1"), "expired");
    assert_refused(token_with_claim("exp", "-9223372036854775807"), "expired");
    struct token token = assert_good(token_with_claim("exp", "9223372036854775807"));
    assert_int_equal(token.until, INT64_MAX);
}

static void test_expiry_that_is_no_time(void **state)
{
    static const char *const raw[] = {
        NULL,           "null", "\"1700000300\"",       "1700000300.0", "1.7e9", "true",
        "[1700000300]", "{}",   "-9223372036854775808",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++)
        assert_refused(token_with_claim("exp", raw[i]), "no integer exp");
}

static void test_not_before(void **state)
{
    (void)state;
    assert_good(token_with_claim("nbf", NULL));
    assert_good_at(token_with_claim("nbf", "1700000000"), 1700000000);
    assert_good_at(token_with_claim("nbf", "1700000000"), 1700000000 - 60);
    assert_refused_at(token_with_claim("nbf", "1700000000"), 1700000000 - 61, "not valid yet");
    assert_good(token_with_claim("nbf", "0"));
    assert_good(token_with_claim("nbf", "-9223372036854775807"));
    assert_refused(token_with_claim("nbf", "9223372036854775807"), "not valid yet");
}

static void test_not_before_that_is_no_time(void **state)
{
    static const char *const raw[] = {
        "null", "\"1\"", "1.0", "true", "[1]", "{}", "-9223372036854775808"};
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++)
        assert_refused(token_with_claim("nbf", raw[i]), "nbf is not an integer");
}

/* No rule reads its value. */
static void test_issued_at_may_be_any_integer(void **state)
{
    (void)state;
    assert_good(token_with_claim("iat", "9223372036854775807"));
    assert_good(token_with_claim("iat", "-1"));
    assert_refused(token_with_claim("iat", "\"yesterday\""), "iat is not an integer");
}

/* ---- access ---- */

#define OURS(actions)                                                                              \
    "{\"type\":\"registry\",\"name\":\"background-migrations\",\"actions\":" actions "}"

static void test_access(void **state)
{
    static const struct {
        const char *raw;
        unsigned granted;
    } cases[] = {
        {NULL, 0},
        {"null", 0},
        {"[]", 0},
        {"{}", 0},
        {"\"registry:background-migrations:*\"", 0},
        {OURS("[\"*\"]"), 0}, /* no list */
        {"[" OURS("[\"read\"]") "]", ACCESS_READ},
        {"[" OURS("[\"write\"]") "]", ACCESS_WRITE},
        {"[" OURS("[\"*\"]") "]", ACCESS_READ | ACCESS_WRITE},
        {"[" OURS("[\"read\",\"write\"]") "]", ACCESS_READ | ACCESS_WRITE},
        {"[" OURS("[\"read\",\"read\"]") "]", ACCESS_READ},
        /* several entries add up, in any order, with others between */
        {"[" OURS("[\"read\"]") "," OURS("[\"write\"]") "]", ACCESS_READ | ACCESS_WRITE},
        {"[null," OURS("[\"write\"]") ",null,{\"type\":\"repository\",\"name\":\"a/b\","
                                      "\"actions\":[\"pull\",\"*\"]}," OURS("[]") "]",
         ACCESS_WRITE},
        {"[1,\"x\",[],true," OURS("[\"read\"]") "]", ACCESS_READ},
        /* unknown actions, and what is none */
        {"[" OURS("[]") "]", 0},
        {"[" OURS("null") "]", 0},
        {"[" OURS("\"read\"") "]", 0},
        {"[" OURS("{\"read\":true}") "]", 0},
        {"[" OURS("[\"Read\",\"reads\",\"rea\",\"\",\" read\",\"**\",\"admin\"]") "]", 0},
        {"[" OURS("[null,7,[\"read\"],{\"*\":1}]") "]", 0},
        {"[" OURS("[\"delete\",null,\"write\"]") "]", ACCESS_WRITE},
        /* other resources */
        {"[{\"type\":\"repository\",\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"catalog\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"Background-Migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"Registry\",\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"*\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"background-migrations/x\",\"actions\":[\"*\"]}]", 0},
        {"[{\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"background-migrations\"}]", 0},
        {"[{\"type\":[\"registry\"],\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[[" OURS("[\"*\"]") "]]", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct token token;
        struct refusal refusal;
        char *text = token_with_claim("access", cases[i].raw);
        if (!check(text, NOW, &token, &refusal))
            fail_msg("refused: %s: %s", refusal.reason, cases[i].raw);
        if (token.granted != cases[i].granted)
            fail_msg("%s grants %u", cases[i].raw ? cases[i].raw : "nothing", token.granted);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_issuer),
        cmocka_unit_test(test_audience),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_expiry_that_is_no_time),
        cmocka_unit_test(test_not_before),
        cmocka_unit_test(test_not_before_that_is_no_time),
        cmocka_unit_test(test_issued_at_may_be_any_integer),
        cmocka_unit_test(test_access),
    };
    return cmocka_run_group_tests(tests, keys_build, keys_remove);
}
