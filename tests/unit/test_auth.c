/* SPDX-License-Identifier: MIT
 * What a request may do, and what a refused one is answered. */
#include "unit.h"

#include "auth/auth.h"
#include "jose.h"

#include <json-c/json.h>
#include <time.h>

static char issuer[] = "gitlab-issuer";
static char service[] = "container_registry";
static char realm[] = "https://gitlab.example.com/jwt/auth";

static struct {
    EVP_PKEY *key;
    char bundle[sizeof unit_folder + 64];
    struct conf conf;
    struct auth auth;
} fixture;

static int build(void **state)
{
    if (unit_folder_make(state) != 0)
        return -1;
    fixture.key = jose_ec("P-256");
    snprintf(fixture.bundle, sizeof fixture.bundle, "%s",
             jose_bundle_add("bundle.pem", fixture.key));
    return 0;
}

static int tear_down(void **state)
{
    EVP_PKEY_free(fixture.key);
    return unit_folder_remove(state);
}

static int open_auth(void **state)
{
    char why[512];
    (void)state;
    fixture.conf = (struct conf){
        .file = "config.yml",
        .token = {.realm = realm,
                  .service = service,
                  .issuer = issuer,
                  .rootcertbundle = fixture.bundle},
        .fcgi.threads = 2,
    };
    return auth_open(&fixture.auth, &fixture.conf, why, sizeof why) ? 0 : -1;
}

static int close_auth(void **state)
{
    (void)state;
    auth_close(&fixture.auth);
    return 0;
}

/* An Authorization header with a token that grants these actions (JSON). */
static const char *bearer(const char *actions, int64_t expires)
{
    static char header[2048];
    char kid[JOSE_FINGERPRINT_SIZE];
    char head[256];
    char claims[512];
    jose_fingerprint(fixture.key, kid);
    snprintf(head, sizeof head, "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    snprintf(claims, sizeof claims,
             "{\"iss\":\"gitlab-issuer\",\"aud\":\"container_registry\",\"sub\":\"ana\","
             "\"exp\":%lld,\"access\":[{\"type\":\"registry\","
             "\"name\":\"background-migrations\",\"actions\":%s}]}",
             (long long)expires, actions);
    char *token = jose_sign(fixture.key, EVP_sha256(), head, claims);
    snprintf(header, sizeof header, "Bearer %s", token);
    free(token);
    return header;
}

struct outcome {
    bool granted;
    struct auth_result result;
    struct error error;
};

static struct outcome ask(const char *authorization, enum access access)
{
    const struct auth_request request = {authorization, "registry.example.com"};
    struct outcome outcome = {0};
    memset(&outcome.result, 0xA5, sizeof outcome.result);
    outcome.granted = auth_check(&fixture.auth, &request, access, &outcome.result, &outcome.error);
    return outcome;
}

static void assert_refused(const char *authorization, enum access access, const char *challenge,
                           const char *reason)
{
    struct outcome outcome = ask(authorization, access);
    char expected[CHALLENGE_SIZE];
    snprintf(expected, sizeof expected,
             "Bearer realm=\"%s\",service=\"%s\",scope=\"registry:background-migrations:%s", realm,
             service, challenge);
    assert_false(outcome.granted);
    assert_int_equal(outcome.error.status, 401);
    assert_string_equal(outcome.result.challenge, expected);
    assert_string_equal(outcome.result.refusal.reason, reason);
    assert_string_equal(outcome.error.reason, reason);
    error_free(&outcome.error);
}

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
        struct outcome outcome = ask(bearer(cases[i / 2].actions, time(NULL) + 300), access);
        assert_int_equal(outcome.granted, expected);
        /* A good token that lacks the action has a subject for the log, too. */
        assert_string_equal(outcome.result.token.subject, "ana");
        assert_int_equal(*outcome.result.challenge == '\0', expected);
        assert_int_equal(outcome.result.refusal.reason == NULL, expected);
        assert_int_equal(outcome.error.status, expected ? 0 : 401);
        error_free(&outcome.error);
    }
}

static void test_no_token(void **state)
{
    (void)state;
    assert_refused(NULL, ACCESS_READ, "read\"", "no token");
    assert_refused(NULL, ACCESS_WRITE, "write\"", "no token");
    assert_refused("Basic dTpw", ACCESS_READ, "read\"", "Authorization is not one bearer token");
    assert_refused("Bearer ", ACCESS_READ, "read\"", "Authorization is not one bearer token");
}

static void test_bad_token(void **state)
{
    (void)state;
    assert_refused("Bearer garbage", ACCESS_WRITE, "write\",error=\"invalid_token\"",
                   "not three parts");
    assert_refused(bearer("[\"*\"]", time(NULL) - 300), ACCESS_READ,
                   "read\",error=\"invalid_token\"", "expired");
}

static void test_token_that_lacks_the_action(void **state)
{
    (void)state;
    assert_refused(bearer("[\"read\"]", time(NULL) + 300), ACCESS_WRITE,
                   "write\",error=\"insufficient_scope\"", "token lacks the action");
}

static void assert_detail(enum access access, const char *expected)
{
    struct outcome outcome = ask(NULL, access);
    struct json_object *body = error_body(&outcome.error);
    assert_string_equal(json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN), expected);
    json_object_put(body);
    error_free(&outcome.error);
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
    fixture.conf.fcgi.challenge = CONF_CHALLENGE_ALL;
    assert_detail(ACCESS_READ, DETAIL("*"));
}

/* A token with its signature changed. */
static const char *forged(void)
{
    static char header[2048];
    snprintf(header, sizeof header, "%s", bearer("[\"read\"]", time(NULL) + 60));
    char *last = header + strlen(header) - 20;
    *last = *last == 'A' ? 'B' : 'A';
    return header;
}

static void assert_status(const char *authorization, int status)
{
    struct outcome outcome = ask(authorization, ACCESS_READ);
    assert_int_equal(outcome.granted, status == 200);
    assert_int_equal(outcome.error.status, status == 200 ? 0 : status);
    if (status == 503) {
        assert_string_equal(outcome.result.challenge, "");
        assert_string_equal(outcome.error.reason,
                            "token not judged: too many tokens to verify at the same time");
    }
    error_free(&outcome.error);
}

/* With two threads, one of which verifies at this moment, in a flood of forged tokens. */
static void test_flood_of_forged_tokens(void **state)
{
    char known[2048];
    (void)state;
    snprintf(known, sizeof known, "%s", bearer("[\"read\"]", time(NULL) + 60));
    assert_status(known, 200);
    for (int i = 0; i < 100; i++)
        assert_status(forged(), 401);
    assert_true(signature_limit_begin(fixture.auth.signature_limit));
    /* What is in the cache, or needs no signature, is answered as usual. */
    assert_status(known, 200);
    assert_status(NULL, 401);
    assert_status("Bearer x.y.z", 401);
    assert_status(bearer("[\"read\"]", 1), 401);
    /* What needs one has to come again. */
    assert_status(forged(), 503);
    assert_status(bearer("[\"write\"]", time(NULL) + 60), 503);
    signature_limit_end(fixture.auth.signature_limit, false);
    assert_status(forged(), 401);
    assert_status(bearer("[\"read\",\"write\"]", time(NULL) + 60), 200);
}

static void test_bundle_that_cannot_be_read(void **state)
{
    char missing[sizeof unit_folder + 64];
    char expected[sizeof missing + 128];
    char why[512];
    struct auth auth;
    (void)state;
    snprintf(missing, sizeof missing, "%s", unit_path("missing.pem"));
    fixture.conf.token.rootcertbundle = missing;
    assert_false(auth_open(&auth, &fixture.conf, why, sizeof why));
    snprintf(expected, sizeof expected,
             "config.yml: auth.token.rootcertbundle: %s: cannot be read: No such file or directory",
             missing);
    assert_string_equal(why, expected);
    auth_close(&auth);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_auth, close_auth)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_granted),
        TEST(test_no_token),
        TEST(test_bad_token),
        TEST(test_token_that_lacks_the_action),
        TEST(test_detail),
        TEST(test_flood_of_forged_tokens),
        TEST(test_bundle_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, build, tear_down);
}
