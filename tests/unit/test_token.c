/* SPDX-License-Identifier: MIT
 * Tokens: their shape, their JSON and their header. */
#include "tokens.h"

/* ---- shape ---- */

static void test_not_three_parts(void **state)
{
    static const char *const texts[] = {"",      ".",      "..",     "...",  "a",
                                        "a.b",   "a.b.",   "a..",    ".b.",  "a.b.c.d",
                                        "a.b..", "Bearer", "a.b.c.", "....", "a.b.c.d.e"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_refused(strdup(texts[i]), "not three parts");
    char *text = token_of(keys.rsa, "RS256");
    size_t size = strlen(text) + 3;
    char *longer = malloc(size);
    assert_non_null(longer);
    snprintf(longer, size, "%s.x", text);
    free(text);
    assert_refused(longer, "not three parts");
}

static void test_not_base64url(void **state)
{
    (void)state;
    assert_refused(strdup("e30.e30.a+b="), "signature is not base64url");
    assert_refused(strdup("e30.e30.AAAAA"), "signature is not base64url");
    assert_refused(strdup("e3!.e30.AAAA"), "header is not a JSON object in base64url");
    assert_refused(strdup("e30=.e30.AAAA"), "header is not a JSON object in base64url");
    assert_refused(strdup(".e30.AAAA"), "header is not a JSON object in base64url");
    char *text = token_of(keys.rsa, "RS256");
    strchr(text, '.')[1] = '+';
    assert_refused(text, "claims are not a JSON object in base64url");
}

static const struct {
    const char *text;
    size_t len;
} not_objects[] = {
#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    TEXT(""),
    TEXT("null"),
    TEXT("true"),
    TEXT("1"),
    TEXT("\"{}\""),
    TEXT("[]"),
    TEXT("[{}]"),
    TEXT("{"),
    TEXT("}"),
    TEXT("{}}"),
    TEXT("{}{}"),
    TEXT("{} x"),
    TEXT("{}\0"),
    TEXT("{\"a\":1,}"),
    TEXT("{a:1}"),
    TEXT("{\"a\":01}"),
    TEXT("{\"a\":/**/1}"),
    TEXT("{\"a\":\"\xFF\"}"),
    TEXT("{\"a\":\"b"),
    TEXT("\xEF\xBB\xBF{}"),
};

static void test_not_json_objects(void **state)
{
    (void)state;
    char *header = header_with(keys.rsa, "RS256", NULL, NULL);
    char *claims = claims_with(NULL, NULL);
    for (size_t i = 0; i < COUNT(not_objects); i++) {
        assert_refused(jose_sign_bytes(keys.rsa, EVP_sha256(), not_objects[i].text,
                                       not_objects[i].len, claims, strlen(claims)),
                       "header is not a JSON object in base64url");
        assert_refused(jose_sign_bytes(keys.rsa, EVP_sha256(), header, strlen(header),
                                       not_objects[i].text, not_objects[i].len),
                       "claims are not a JSON object in base64url");
    }
    free(header);
    free(claims);
}

/* JSON that is refused for what a member holds, also one that nobody reads. */
static void test_reasons_for_json(void **state)
{
    static const struct {
        const char *raw;
        const char *header;
        const char *claims;
    } cases[] = {
        {"1,\"x\":1", "header has a name twice", "claims have a name twice"},
        {"9223372036854775808", "libjwt cannot parse the header: a number beyond 64 bits",
         "libjwt cannot parse the claims: a number beyond 64 bits"},
        {"1e400", "libjwt cannot parse the header: a number beyond 64 bits",
         "libjwt cannot parse the claims: a number beyond 64 bits"},
        {"\"\\u0000\"", "libjwt cannot parse the header: the character \\u0000",
         "libjwt cannot parse the claims: the character \\u0000"},
        {"\"\\ud800\"", "libjwt cannot parse the header: half a surrogate pair",
         "libjwt cannot parse the claims: half a surrogate pair"},
        {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", "header is nested too deeply",
         "claims are nested too deeply"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_refused(token_with_header("x", cases[i].raw), cases[i].header);
        assert_refused(token_with_claim("x", cases[i].raw), cases[i].claims);
    }
    assert_refused(token_with_header("alg", "\"RS256\\u0000\""), cases[3].header);
    assert_refused(token_with_header("kid", "\"x\\u0000\""), cases[3].header);
    assert_refused(token_with_claim("iss", "\"gitlab-issuer\\u0000\""), cases[3].claims);
    assert_refused(token_with_claim("aud", "\"container_registry\\u0000x\""), cases[3].claims);
    assert_refused(token_with_claim("exp", "9223372036854775808"), cases[1].claims);
    assert_refused(token_with_claim("nbf", "-9223372036854775809"), cases[1].claims);
    assert_refused(token_with_claim("iat", "99999999999999999999999"), cases[1].claims);
    assert_good(token_with_header("x", "\"\\u00e9\\ud83d\\ude00\""));
    assert_good(token_with_claim("x", "[9223372036854775807,-9223372036854775808,1e308,\"\\n\"]"));
}

/* Not JSON, but some parser accepts it. */
static void test_not_quite_json(void **state)
{
    static const char *const raw[] = {"NaN",  "Infinity",         "-Infinity",   "'a'", "1.",
                                      "-01",  "\"\xED\xA0\x80\"", "\"\t\"",      "01",  "+1",
                                      "True", "\"\\x41\"",        "\"\\ud800\"", ".5",  "1,"};
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++) {
        assert_refused(token_with_header("x", raw[i]), ANY_REASON);
        assert_refused(token_with_claim("x", raw[i]), ANY_REASON);
    }
}

static void test_zero_byte_in_the_text(void **state)
{
    struct token token;
    struct refusal refusal;
    char *text = token_of(keys.rsa, "RS256");
    size_t len = strlen(text);
    (void)state;
    /* What follows the first `len` bytes is not looked at, and a zero within is seen. */
    assert_false(token_check(text, len + 1, keys.keyring, &policy, NOW, &token, &refusal));
    assert_string_equal(refusal.reason, "signature is not base64url");
    assert_false(token_check(text, len - 1, keys.keyring, &policy, NOW, &token, &refusal));
    assert_true(token_check(text, len, keys.keyring, &policy, NOW, &token, &refusal));
    free(text);
}

/* ---- header ---- */

static void test_critical_extensions(void **state)
{
    (void)state;
    assert_refused(token_with_header("crit", "[\"exp\"]"), "critical header extensions");
    assert_refused(token_with_header("crit", "[]"), "critical header extensions");
    assert_good(token_with_header("x-other", "1"));
}

static void test_type(void **state)
{
    static const char *const others[] = {"\"\"", "\"JWT \"", "\"at+jwt\"", "\"JOSE\"",
                                         "null", "7",        "[\"JWT\"]"};
    (void)state;
    for (size_t i = 0; i < COUNT(others); i++)
        assert_refused(token_with_header("typ", others[i]), "typ is not JWT");
    assert_good(token_with_header("typ", "\"jwt\""));
    assert_good(token_with_header("typ", NULL));
}

/* ---- names for the log ---- */

static void test_subject_and_id(void **state)
{
    char longest[300];
    char raw[310];
    struct token token;
    (void)state;
    token = assert_good(token_with_claim("sub", NULL));
    assert_string_equal(token.subject, "");
    assert_string_equal(token.id, "5e8f");
    assert_refused(token_with_claim("sub", "7"), "sub or jti is not a string");
    assert_refused(token_with_claim("jti", "[]"), "sub or jti is not a string");
    token = assert_good(token_with_claim("sub", "null"));
    assert_string_equal(token.subject, "");
    token = assert_good(token_with_claim("jti", NULL));
    assert_string_equal(token.id, "");
    token = assert_good(token_with_claim("sub", "\"J\xC3\xB6rg \\\"J\\\" <j>\""));
    assert_string_equal(token.subject, "J\xC3\xB6rg \"J\" <j>");
    token = assert_good(token_with_claim("sub", "\"J\\u00f6rg\\ud83d\\ude00\""));
    assert_string_equal(token.subject, "J\xC3\xB6rg\xF0\x9F\x98\x80");

    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    snprintf(raw, sizeof raw, "\"%s\"", longest);
    token = assert_good(token_with_claim("sub", raw));
    assert_int_equal(strlen(token.subject), sizeof token.subject - 1);
    token = assert_good(token_with_claim("jti", raw));
    assert_int_equal(strlen(token.id), sizeof token.id - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_three_parts),     cmocka_unit_test(test_not_base64url),
        cmocka_unit_test(test_not_json_objects),    cmocka_unit_test(test_reasons_for_json),
        cmocka_unit_test(test_not_quite_json),      cmocka_unit_test(test_zero_byte_in_the_text),
        cmocka_unit_test(test_critical_extensions), cmocka_unit_test(test_type),
        cmocka_unit_test(test_subject_and_id),
    };
    return cmocka_run_group_tests(tests, keys_build, keys_remove);
}
