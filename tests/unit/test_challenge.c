/* SPDX-License-Identifier: MIT
 * The value of WWW-Authenticate. */
#include "unit.h"

#include "auth/challenge.h"

static struct conf conf;

static int reset(void **state)
{
    static char realm[] = "https://gitlab.example.com/jwt/auth";
    static char service[] = "container_registry";
    (void)state;
    conf = (struct conf){.token = {.realm = realm, .service = service}};
    return 0;
}

#define REALM   "Bearer realm=\"https://gitlab.example.com/jwt/auth\""
#define SERVICE ",service=\"container_registry\""
#define SCOPE   ",scope=\"registry:background-migrations:"

static void assert_challenge(enum access access, enum challenge_error error, const char *host,
                             const char *expected)
{
    char value[CHALLENGE_SIZE];
    memset(value, 'x', sizeof value);
    challenge_write(&conf, access, host, error, value);
    assert_string_equal(value, expected);
}

static void test_access_and_error(void **state)
{
    (void)state;
    assert_challenge(ACCESS_READ, CHALLENGE_NO_TOKEN, "", REALM SERVICE SCOPE "read\"");
    assert_challenge(ACCESS_WRITE, CHALLENGE_NO_TOKEN, "", REALM SERVICE SCOPE "write\"");
    assert_challenge(ACCESS_READ, CHALLENGE_INVALID_TOKEN, "",
                     REALM SERVICE SCOPE "read\",error=\"invalid_token\"");
    assert_challenge(ACCESS_WRITE, CHALLENGE_INSUFFICIENT_SCOPE, "",
                     REALM SERVICE SCOPE "write\",error=\"insufficient_scope\"");
}

static void test_challenge_for_all_actions(void **state)
{
    (void)state;
    conf.fcgi.challenge = CONF_CHALLENGE_ALL;
    assert_challenge(ACCESS_READ, CHALLENGE_NO_TOKEN, "", REALM SERVICE SCOPE "*\"");
    assert_challenge(ACCESS_WRITE, CHALLENGE_NO_TOKEN, "", REALM SERVICE SCOPE "*\"");
    assert_string_equal(challenge_action(&conf, ACCESS_READ), "*");
}

static void assert_realm(const char *host, const char *realm)
{
    char expected[CHALLENGE_SIZE];
    snprintf(expected, sizeof expected, "Bearer realm=\"%s\"%s", realm, SERVICE SCOPE "read\"");
    assert_challenge(ACCESS_READ, CHALLENGE_NO_TOKEN, host, expected);
}

/* The client sends the host, so only what a name may hold goes into the realm. */
static void test_autoredirect(void **state)
{
    static const char *const unfit[] = {"",    "a b", "a\"b", "a/b",  "a@b",      "a\\b",
                                        "a?b", "a#b", "a,b",  "a\nb", "\xC3\xA9", "a%62"};
    char long_host[300];
    (void)state;
    conf.token.autoredirect = true;
    assert_realm("registry.example.com", "https://registry.example.com/auth/token");
    assert_realm("10.0.0.1:8443", "https://10.0.0.1:8443/auth/token");
    assert_realm("[::1]:8443", "https://[::1]:8443/auth/token");
    for (size_t i = 0; i < COUNT(unfit); i++)
        assert_realm(unfit[i], "https://gitlab.example.com/jwt/auth");
    memset(long_host, 'x', sizeof long_host - 1);
    long_host[sizeof long_host - 1] = '\0';
    assert_realm(long_host, "https://gitlab.example.com/jwt/auth");
    long_host[255] = '\0';
    char realm[320];
    snprintf(realm, sizeof realm, "https://%s/auth/token", long_host);
    assert_realm(long_host, realm);
    conf.token.autoredirect = false;
    assert_realm("registry.example.com", "https://gitlab.example.com/jwt/auth");
}

/* Quotes and backslashes of the configuration stay within their quotes. */
static void test_quoting(void **state)
{
    (void)state;
    conf.token.realm = (char[]){"https://h/\"x\",a=\"\\"};
    conf.token.service = (char[]){"s\""};
    assert_challenge(ACCESS_READ, CHALLENGE_NO_TOKEN, "",
                     "Bearer realm=\"https://h/\\\"x\\\",a=\\\"\\\\\",service=\"s\\\"\"" SCOPE
                     "read\"");
}

/* Nothing bounds a realm in the configuration. The challenge is whole or absent: a client would
 * follow half a realm. Each length around the bound, in memory of exactly CHALLENGE_SIZE bytes. */
static void test_long_realm(void **state)
{
    static char realm[4001];
    char *value = malloc(CHALLENGE_SIZE);
    size_t rest = strlen("Bearer realm=\"\"" SERVICE SCOPE "read\"");
    (void)state;
    assert_non_null(value);
    conf.token.realm = realm;
    for (size_t len = 1; len < sizeof realm; len++) {
        memset(realm, 'r', len);
        challenge_write(&conf, ACCESS_READ, "", CHALLENGE_NO_TOKEN, value);
        assert_int_equal(strlen(value), len + rest < CHALLENGE_SIZE ? len + rest : 0);
    }
    free(value);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_access_and_error), TEST(test_challenge_for_all_actions),
        TEST(test_autoredirect),     TEST(test_quoting),
        TEST(test_long_realm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
