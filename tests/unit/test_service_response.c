/* SPDX-License-Identifier: MIT
 * What is answered (http/service_response.c): status, headers and body. */
#include "services.h"

/* The headers are these, in this order. */
static void assert_headers(const char *expected)
{
    char headers[sizeof reply.response.headers + 1];
    snprintf(headers, sizeof headers, "%.*s", (int)reply.response.headers_len,
             reply.response.headers);
    assert_string_equal(headers, expected);
}

static void assert_body(const char *expected)
{
    assert_non_null(reply.response.body);
    assert_string_equal(json_object_to_json_string_ext(reply.response.body, JSON_C_TO_STRING_PLAIN),
                        expected);
}

/* ---- good ---- */

static void test_body(void **state)
{
    (void)state;
    x.call.body = json_object_new_object();
    service_respond(&x, true);
    assert_int_equal(reply.response.status, 200);
    assert_body("{}");
    assert_null(x.call.body); /* the response's now */
    assert_headers("X-Request-Id: abc\r\n");
}

static void test_text(void **state)
{
    (void)state;
    char *text = strdup("text");
    x.call.text = text;
    service_respond(&x, true);
    assert_int_equal(reply.response.status, 200);
    assert_ptr_equal(reply.response.text, text);
    assert_null(x.call.text);
}

static void test_link_and_etag(void **state)
{
    (void)state;
    snprintf(x.call.link, sizeof x.call.link, "</r?n=1>; rel=\"next\"");
    x.call.etag = "\"tag\"";
    x.call.body = json_object_new_object();
    service_respond(&x, true);
    assert_headers("Link: </r?n=1>; rel=\"next\"\r\nX-Request-Id: abc\r\nETag: \"tag\"\r\n");
}

static void test_cached_body(void **state)
{
    static const unsigned char digest[DIGEST_SIZE];
    struct list_cache *cache = list_cache_new();
    (void)state;
    assert_non_null(cache);
    x.call.cached_body = list_cache_keep(cache, digest, "[1]", 3, 0, NULL);
    list_cache_free(cache);
    service_respond(&x, true);
    assert_int_equal(reply.response.status, 200);
    assert_int_equal(reply.response.json_len, 3);
    assert_memory_equal(reply.response.json, "[1]", 3);
}

static void test_file(void **state)
{
    static const struct call_header headers[] = {{"Referrer-Policy", "no-referrer"}, {NULL, NULL}};
    (void)state;
    assert_true(page_files_count > 0);
    const struct page_file *file = &page_files[0];
    x.call.file = file;
    x.call.headers = headers;
    x.call.etag = file->etag;
    service_respond(&x, true);
    assert_ptr_equal(reply.response.json, file->body);
    assert_int_equal(reply.response.json_len, file->len);
    assert_string_equal(reply.response.type, file->type);
    assert_string_equal(reply.response.cache, "no-cache");
    assert_non_null(memmem(reply.response.headers, reply.response.headers_len,
                           "Referrer-Policy: no-referrer\r\n", 30));
}

/* The client has the body: it gets what describes it, and not the body. */
static void test_not_modified(void **state)
{
    (void)state;
    x.call.etag = "\"tag\"";
    x.call.body = json_object_new_object();
    x.request.if_none_match = "\"tag\"";
    service_respond(&x, true);
    assert_int_equal(reply.response.status, 304);
    assert_null(reply.response.body);
    assert_headers("X-Request-Id: abc\r\nETag: \"tag\"\r\n");
}

/* Another body; and a body that has no tag. */
static void test_modified(void **state)
{
    (void)state;
    x.call.etag = "\"tag\"";
    x.call.body = json_object_new_object();
    x.request.if_none_match = "\"other\"";
    service_respond(&x, true);
    assert_int_equal(reply.response.status, 200);
    response_free(&reply.response);
    x.call.etag = NULL;
    x.request.if_none_match = "*";
    service_respond(&x, true);
    assert_int_equal(reply.response.status, 200);
}

static void test_options(void **state)
{
    (void)state;
    x.match.verdict = ROUTER_OPTIONS;
    snprintf(x.match.allow, sizeof x.match.allow, "GET, HEAD, OPTIONS");
    service_respond(&x, true);
    assert_int_equal(reply.response.status, 204);
    assert_null(reply.response.body);
    assert_headers("Allow: GET, HEAD, OPTIONS\r\nX-Request-Id: abc\r\n");
}

/* ---- errors ---- */

/* The error's own body; what a handler has left of an answer is not sent. */
static void test_error(void **state)
{
    (void)state;
    x.call.body = json_object_new_object();
    x.call.etag = "\"tag\"";
    x.request.if_none_match = "\"tag\"";
    error_id_not_found(&x.call.error, 7);
    service_respond(&x, false);
    assert_int_equal(reply.response.status, 404);
    assert_non_null(reply.response.body);
    assert_true(json_object_object_get_ex(reply.response.body, "errors", NULL));
    assert_non_null(x.call.body);
    assert_headers("X-Request-Id: abc\r\n");
}

static void test_wrong_method(void **state)
{
    (void)state;
    x.match.verdict = ROUTER_METHOD;
    snprintf(x.match.allow, sizeof x.match.allow, "POST, OPTIONS");
    error_method(&x.call.error);
    service_respond(&x, false);
    assert_int_equal(reply.response.status, 405);
    assert_headers("Allow: POST, OPTIONS\r\nX-Request-Id: abc\r\n");
}

/* A 503 says when to try again; no other error does. */
static void test_retry_after(void **state)
{
    (void)state;
    error_unavailable(&x.call.error, "a secret reason");
    service_respond(&x, false);
    assert_int_equal(reply.response.status, 503);
    assert_headers("Retry-After: " RESPONSE_RETRY_AFTER "\r\nX-Request-Id: abc\r\n");
    assert_null(strstr(json_object_to_json_string(reply.response.body), "secret"));
    response_free(&reply.response);
    x.call.error.retry_after = 60;
    service_respond(&x, false);
    assert_headers("Retry-After: 60\r\nX-Request-Id: abc\r\n");
    response_free(&reply.response);
    error_free(&x.call.error);
    error_unknown(&x.call.error, "a bug");
    service_respond(&x, false);
    assert_int_equal(reply.response.status, 500);
    assert_headers("X-Request-Id: abc\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVICE_TEST(test_body),          SERVICE_TEST(test_text),
        SERVICE_TEST(test_link_and_etag), SERVICE_TEST(test_cached_body),
        SERVICE_TEST(test_file),          SERVICE_TEST(test_not_modified),
        SERVICE_TEST(test_modified),      SERVICE_TEST(test_options),
        SERVICE_TEST(test_error),         SERVICE_TEST(test_wrong_method),
        SERVICE_TEST(test_retry_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
