/* SPDX-License-Identifier: MIT
 * FastCGI's parameters as a request. */
#include "unit.h"

#include "http/request.h"

#define READ(request, ...) request_read(request, (char *[]){__VA_ARGS__, NULL})

static void test_nothing_given(void **state)
{
    struct request request;
    (void)state;
    memset(&request, 0xA5, sizeof request);
    request_read(&request, (char *[]){NULL});
    assert_string_equal(request.method, "");
    assert_string_equal(request.script_name, "");
    assert_string_equal(request.path_info, "");
    assert_string_equal(request.query, "");
    assert_string_equal(request.host, "");
    assert_string_equal(request.remote_addr, "");
    assert_null(request.authorization);
}

static void test_all_given(void **state)
{
    struct request request;
    (void)state;
    READ(&request, "REQUEST_METHOD=POST", "SCRIPT_NAME=/v1/gitlab", "PATH_INFO=/bbm/pause/",
         "QUERY_STRING=n=1&last=2", "HTTP_HOST=registry.example.com:8443", "REMOTE_ADDR=::1",
         "HTTP_AUTHORIZATION=Bearer a.b.c", "HTTP_X_REQUEST_ID=abc-123");
    assert_string_equal(request.method, "POST");
    assert_string_equal(request.script_name, "/v1/gitlab");
    assert_string_equal(request.path_info, "/bbm/pause/");
    assert_string_equal(request.query, "n=1&last=2");
    assert_string_equal(request.host, "registry.example.com:8443");
    assert_string_equal(request.remote_addr, "::1");
    assert_string_equal(request.authorization, "Bearer a.b.c");
    assert_string_equal(request.id, "abc-123");
}

/* Names that only begin or end like ours, and parameters without a value. */
static void test_other_names(void **state)
{
    struct request request;
    (void)state;
    READ(&request, "REQUEST_METHODS=GET", "XREQUEST_METHOD=GET", "request_method=GET", "PATH_INFO",
         "HTTP_AUTHORIZATION2=Bearer x", "PROXY_HTTP_AUTHORIZATION=Bearer x", "HTTP_AUTHORIZATION",
         "", "=", "HTTP_X_REQUEST_ID_=abc");
    assert_string_equal(request.method, "");
    assert_string_equal(request.path_info, "");
    assert_null(request.authorization);
    assert_string_not_equal(request.id, "abc");
}

/* ---- Authorization ---- */

/* Two headers count as none, also where they are the same: the service does not guess. */
static void test_two_authorizations(void **state)
{
    struct request request;
    (void)state;
    READ(&request, "HTTP_AUTHORIZATION=Bearer a.b.c", "PATH_INFO=/",
         "HTTP_AUTHORIZATION=Bearer d.e.f");
    assert_null(request.authorization);
    READ(&request, "HTTP_AUTHORIZATION=Bearer a.b.c", "HTTP_AUTHORIZATION=Bearer a.b.c");
    assert_null(request.authorization);
    READ(&request, "HTTP_AUTHORIZATION=Bearer a.b.c", "HTTP_AUTHORIZATION=");
    assert_null(request.authorization);
}

/* ---- X-Request-Id ---- */

static void read_id(const char *id, struct request *request)
{
    static char param[512];
    snprintf(param, sizeof param, "HTTP_X_REQUEST_ID=%s", id);
    READ(request, param);
}

static void assert_key(const char *header, const char *expected)
{
    struct request request;
    char param[512];
    snprintf(param, sizeof param, "HTTP_IDEMPOTENCY_KEY=%s", header);
    READ(&request, param);
    assert_string_equal(request.idempotency_key, expected);
}

/* With or without the quotes of a structured field (RFC 8941); none where it is not fit. */
static void test_idempotency_key(void **state)
{
    char longest[REQUEST_ID_SIZE + 2];
    (void)state;
    assert_key("8e03978e-40d5", "8e03978e-40d5");
    assert_key("\"8e03978e-40d5\"", "8e03978e-40d5");
    assert_key("", "");
    assert_key("\"", "");
    assert_key("\"\"", "");
    assert_key("a b", "");
    assert_key("\"a\"b\"", "");
    memset(longest, 'x', sizeof longest);
    longest[REQUEST_ID_SIZE - 1] = '\0';
    assert_key(longest, longest);
    longest[REQUEST_ID_SIZE - 1] = 'x';
    longest[REQUEST_ID_SIZE] = '\0';
    assert_key(longest, "");
}

static void assert_made(const char *id)
{
    assert_int_equal(strlen(id), 32);
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
}

static void test_id_taken(void **state)
{
    static const char *const ids[] = {"1", "01HZX5-abc_DEF.g:h+i=j@k",
                                      "5f2b6c1e-0c0e-4f0e-9d3a-0d6f4f7a1b2c", "-", "..."};
    char longest[REQUEST_ID_SIZE];
    struct request request;
    (void)state;
    for (size_t i = 0; i < COUNT(ids); i++) {
        read_id(ids[i], &request);
        assert_string_equal(request.id, ids[i]);
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    read_id(longest, &request);
    assert_string_equal(request.id, longest);
}

static void test_id_not_fit(void **state)
{
    static const char *const ids[] = {
        "",
        "a b",
        "a\"b",
        "a\\b",
        "a\r\nSet-Cookie: x",
        "a\tb",
        "<script>",
        "a;b",
        "$(reboot)",
        "a'b",
        "caf\xC3\xA9",
        "\xFF",
        "\x1B[31m",
        "a/b",
        "a%0d%0ab",
        "{id}",
        "a,b",
        "\x7F",
        " a",
        "a ",
    };
    char too_long[REQUEST_ID_SIZE + 1];
    struct request request;
    (void)state;
    for (size_t i = 0; i < COUNT(ids); i++) {
        read_id(ids[i], &request);
        assert_made(request.id);
    }
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    read_id(too_long, &request);
    assert_made(request.id);
}

static void test_id_made(void **state)
{
    struct request one;
    struct request two;
    (void)state;
    READ(&one, "PATH_INFO=/");
    READ(&two, "PATH_INFO=/");
    assert_made(one.id);
    assert_made(two.id);
    assert_string_not_equal(one.id, two.id);
}

/* ---- If-None-Match ---- */

static void test_if_none_match(void **state)
{
    static const struct {
        const char *header;
        bool names_it;
    } cases[] = {
        {"\"a\"", true},
        {"W/\"a\"", true},
        {" \"b\" ,\t\"a\"", true},
        {"\"x,y\", W/\"a\", \"z\"", true},
        {"*", true},
        {"", false},
        {"a", false},
        {"\"a", false},
        {"\"", false},
        {"\"b\"", false},
        {"\"aa\"", false},
        {"\"\"", false},
        {"\"b\" \"", false},
        {"w/\"a\"", false},
        {"*, \"a\"", false},
        {"b, \"a\"", false},
        {",", false},
    };
    char param[64];
    struct request request;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(param, sizeof param, "HTTP_IF_NONE_MATCH=%s", cases[i].header);
        READ(&request, param);
        if (request_has_body(&request, "\"a\"") != cases[i].names_it ||
            request_has_body(&request, "W/\"a\"") != cases[i].names_it)
            fail_msg("If-None-Match: %s", cases[i].header);
    }
    READ(&request, "PATH_INFO=/");
    assert_false(request_has_body(&request, "\"a\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_given),   cmocka_unit_test(test_all_given),
        cmocka_unit_test(test_other_names),     cmocka_unit_test(test_two_authorizations),
        cmocka_unit_test(test_idempotency_key), cmocka_unit_test(test_id_taken),
        cmocka_unit_test(test_id_not_fit),      cmocka_unit_test(test_id_made),
        cmocka_unit_test(test_if_none_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
