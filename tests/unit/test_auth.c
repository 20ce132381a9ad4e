/* SPDX-License-Identifier: MIT
 * Who may do what, and how a client is told what to bring. */
#include "unit.h"

#include "auth/auth.h"
#include "jose.h"

#include <time.h>

static struct {
    EVP_PKEY *key;
    struct keys *keys;
    struct token_cache *token_cache;
    struct signature_limit *limit;
    struct conf conf;
} house;

static int house_build(void **state)
{
    char why[256];
    if (unit_folder_make(state) != 0)
        return -1;
    house.key = jose_ec("P-256");
    house.keys = keys_open(jose_bundle_add("bundle.pem", house.key), why, sizeof why);
    house.token_cache = token_cache_new();
    house.limit = signature_limit_new(2);
    return house.keys && house.token_cache && house.limit ? 0 : -1;
}

static int house_remove(void **state)
{
    keys_close(house.keys);
    token_cache_free(house.token_cache);
    signature_limit_free(house.limit);
    EVP_PKEY_free(house.key);
    return unit_folder_remove(state);
}

/* Each test may change the configuration as it likes. */
static int conf_reset(void **state)
{
    static char realm[] = "https://gitlab.example.com/jwt/auth";
    static char service[] = "container_registry";
    static char issuer[] = "gitlab-issuer";
    (void)state;
    house.conf = (struct conf){.token = {.realm = realm, .service = service, .issuer = issuer}};
    return 0;
}

/* An Authorization header with a token that grants these actions (JSON). */
static const char *bearer(const char *actions, int64_t expires)
{
    static char header[2048];
    char kid[JOSE_FINGERPRINT_SIZE];
    char head[256];
    char claims[512];
    jose_fingerprint(house.key, kid);
    snprintf(head, sizeof head, "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    snprintf(claims, sizeof claims,
             "{\"iss\":\"gitlab-issuer\",\"aud\":\"container_registry\",\"sub\":\"ana\","
             "\"exp\":%lld,\"access\":[{\"type\":\"registry\","
             "\"name\":\"background-migrations\",\"actions\":%s}]}",
             (long long)expires, actions);
    char *token = jose_sign(house.key, EVP_sha256(), head, claims);
    snprintf(header, sizeof header, "Bearer %s", token);
    free(token);
    return header;
}

struct outcome {
    bool good;
    struct token token;
    struct response response;
    struct error error;
};

static struct outcome ask(const char *authorization, const char *host, enum access access)
{
    const struct auth auth = {&house.conf, house.keys, house.token_cache, house.limit};
    const struct request request = {.authorization = authorization, .host = host};
    struct outcome outcome = {0};
    struct refusal refusal;
    outcome.good = auth_check(&auth, &request, access, &outcome.token, &refusal, &outcome.response,
                              &outcome.error);
    return outcome;
}

static void outcome_free(struct outcome *outcome)
{
    response_free(&outcome->response);
    error_free(&outcome->error);
}

static void assert_refused(const char *authorization, enum access access, const char *challenge,
                           const char *reason)
{
    struct outcome outcome = ask(authorization, "registry.example.com", access);
    char header[2048];
    assert_false(outcome.good);
    assert_int_equal(outcome.error.status, 401);
    snprintf(header, sizeof header, "WWW-Authenticate: Bearer %s\r\n", challenge);
    assert_string_equal(outcome.response.headers, header);
    assert_string_equal(outcome.error.reason, reason);
    outcome_free(&outcome);
}

#define REALM "realm=\"https://gitlab.example.com/jwt/auth\",service=\"container_registry\","
#define SCOPE "scope=\"registry:background-migrations:"

static void test_granted(void **state)
{
    static const struct {
        const char *actions;
        bool read;
        bool write;
    } cases[] = {
        {"[\"read\"]", true, false},
        {"[\"write\"]", false, true},
        {"[\"read\",\"write\"]", true, true},
        {"[\"*\"]", true, true},
        {"[]", false, false},
        {"[\"delete\"]", false, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases) * 2; i++) {
        enum access access = i % 2 ? ACCESS_WRITE : ACCESS_READ;
        bool expected = i % 2 ? cases[i / 2].write : cases[i / 2].read;
        struct outcome outcome = ask(bearer(cases[i / 2].actions, time(NULL) + 300), "", access);
        assert_int_equal(outcome.good, expected);
        /* Known either way: a good token that lacks the action has a subject for the log. */
        assert_string_equal(outcome.token.subject, "ana");
        assert_int_equal(outcome.response.headers_len == 0, expected);
        assert_int_equal(outcome.error.status, expected ? 0 : 401);
        outcome_free(&outcome);
    }
}

static void test_no_token(void **state)
{
    (void)state;
    assert_refused(NULL, ACCESS_READ, REALM SCOPE "read\"", "no token");
    assert_refused(NULL, ACCESS_WRITE, REALM SCOPE "write\"", "no token");
    assert_refused("Basic dTpw", ACCESS_READ, REALM SCOPE "read\"",
                   "Authorization is not one bearer token");
    assert_refused("Bearer ", ACCESS_READ, REALM SCOPE "read\"",
                   "Authorization is not one bearer token");
}

static void test_bad_token(void **state)
{
    (void)state;
    assert_refused("Bearer garbage", ACCESS_WRITE, REALM SCOPE "write\",error=\"invalid_token\"",
                   "not three parts");
    assert_refused(bearer("[\"*\"]", time(NULL) - 300), ACCESS_READ,
                   REALM SCOPE "read\",error=\"invalid_token\"", "expired");
}

static void test_action_that_is_lacking(void **state)
{
    (void)state;
    assert_refused(bearer("[\"read\"]", time(NULL) + 300), ACCESS_WRITE,
                   REALM SCOPE "write\",error=\"insufficient_scope\"", "token lacks the action");
}

static void assert_detail(enum access access, const char *expected)
{
    struct outcome outcome = ask(NULL, "", access);
    struct json_object *body = error_body(&outcome.error);
    assert_string_equal(json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN), expected);
    json_object_put(body);
    outcome_free(&outcome);
}

#define DETAIL(action)                                                                             \
    "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\","             \
    "\"detail\":[{\"Type\":\"registry\",\"Class\":\"\",\"Name\":\"background-migrations\","        \
    "\"ProjectPath\":\"\",\"Action\":\"" action "\"}]}]}"

static void test_detail(void **state)
{
    (void)state;
    assert_detail(ACCESS_READ, DETAIL("read"));
    assert_detail(ACCESS_WRITE, DETAIL("write"));
    house.conf.fcgi.challenge_all = true;
    assert_detail(ACCESS_READ, DETAIL("*"));
}

static void test_challenge_for_all(void **state)
{
    (void)state;
    house.conf.fcgi.challenge_all = true;
    assert_refused(NULL, ACCESS_READ, REALM SCOPE "*\"", "no token");
    assert_refused(NULL, ACCESS_WRITE, REALM SCOPE "*\"", "no token");
}

static void assert_realm(const char *host, const char *realm)
{
    char expected[1024];
    struct outcome outcome = ask(NULL, host, ACCESS_READ);
    snprintf(expected, sizeof expected, "WWW-Authenticate: Bearer realm=\"%s\",service=", realm);
    assert_int_equal(strncmp(outcome.response.headers, expected, strlen(expected)), 0);
    outcome_free(&outcome);
}

/* The client's own word goes into the header, so only what a name may hold. */
static void test_autoredirect(void **state)
{
    static const char *const unfit[] = {"",    "a b", "a\"b", "a/b",  "a@b",      "a\\b",
                                        "a?b", "a#b", "a,b",  "a\nb", "\xC3\xA9", "a%62"};
    char long_host[300];
    (void)state;
    house.conf.token.autoredirect = true;
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
    house.conf.token.autoredirect = false;
    assert_realm("registry.example.com", "https://gitlab.example.com/jwt/auth");
}

/* Quotes and backslashes of the configuration stay within their quotes. */
static void test_quoting(void **state)
{
    (void)state;
    house.conf.token.realm = (char[]){"https://h/\"x\",a=\"\\"};
    house.conf.token.service = (char[]){"s\""};
    assert_refused(NULL, ACCESS_READ,
                   "realm=\"https://h/\\\"x\\\",a=\\\"\\\\\",service=\"s\\\"\"," SCOPE "read\"",
                   "no token");
}

/* A token with its signature changed. */
static const char *forged(void)
{
    static char header[2048];
    snprintf(header, sizeof header, "%s", bearer("[\"read\"]", (int64_t)time(NULL) + 60));
    char *last = header + strlen(header) - 20;
    *last = *last == 'A' ? 'B' : 'A';
    return header;
}

static void assert_status(const char *authorization, int status)
{
    struct outcome outcome = ask(authorization, "", ACCESS_READ);
    assert_int_equal(outcome.good, status == 200);
    assert_int_equal(outcome.error.status, status == 200 ? 0 : status);
    if (status == 503) {
        assert_int_equal(outcome.response.headers_len, 0);
        assert_string_equal(outcome.error.reason,
                            "token not judged: too many tokens to verify at the same time");
    }
    outcome_free(&outcome);
}

/* In a flood of forged tokens, with all that may verify at it: a token that is in the cache is
 * accepted, one that has no need of a signature is refused, and any other is to come again. */
static void test_flood_of_forged_tokens(void **state)
{
    char known[2048];
    (void)state;
    snprintf(known, sizeof known, "%s", bearer("[\"read\"]", (int64_t)time(NULL) + 60));
    assert_status(known, 200);
    for (int i = 0; i < 100; i++)
        assert_status(forged(), 401);
    assert_true(signature_limit_begin(house.limit));
    assert_status(known, 200);
    assert_status(NULL, 401);
    assert_status("Bearer x.y.z", 401);
    assert_status(bearer("[\"read\"]", 1), 401);
    assert_status(forged(), 503);
    assert_status(bearer("[\"write\"]", (int64_t)time(NULL) + 60), 503);
    signature_limit_end(house.limit, false);
    assert_status(forged(), 401);
    assert_status(bearer("[\"read\",\"write\"]", (int64_t)time(NULL) + 60), 200);
}

/* Nothing bounds a realm in the configuration: however long, it is refused with 401, and
 * the memory beside the header stays as it is (for the sanitizers to watch). Last, because
 * a fault here ends the program. */
static void test_long_realm(void **state)
{
    static const size_t lengths[] = {500,  900,  1000, 1008, 1009, 1010, 1011, 1012, 1013,
                                     1014, 1015, 1016, 1017, 1018, 1100, 1900, 4000};
    static char realm[4001];
    (void)state;
    house.conf.token.realm = realm;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        memset(realm, 'r', lengths[i]);
        realm[lengths[i]] = '\0';
        struct outcome outcome = ask(NULL, "", ACCESS_READ);
        assert_false(outcome.good);
        assert_int_equal(outcome.error.status, 401);
        /* All of the challenge or none: a client would follow half a realm. */
        if (outcome.response.headers_len > 0) {
            assert_non_null(strstr(outcome.response.headers, realm));
            assert_non_null(strstr(outcome.response.headers, "\"," SCOPE "read\"\r\n"));
        }
        outcome_free(&outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_granted, conf_reset),
        cmocka_unit_test_setup(test_no_token, conf_reset),
        cmocka_unit_test_setup(test_bad_token, conf_reset),
        cmocka_unit_test_setup(test_action_that_is_lacking, conf_reset),
        cmocka_unit_test_setup(test_detail, conf_reset),
        cmocka_unit_test_setup(test_challenge_for_all, conf_reset),
        cmocka_unit_test_setup(test_autoredirect, conf_reset),
        cmocka_unit_test_setup(test_quoting, conf_reset),
        cmocka_unit_test_setup(test_flood_of_forged_tokens, conf_reset),
        cmocka_unit_test_setup(test_long_realm, conf_reset),
    };
    return cmocka_run_group_tests(tests, house_build, house_remove);
}
