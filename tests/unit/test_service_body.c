/* SPDX-License-Identifier: MIT
 * A request's body (http/service_body.c): when it is read, when more of it must come first, and
 * what is refused. */
#include "services.h"

#define REASON     "{\"reason\":\"disk is full\"}"
#define REASON_LEN (sizeof REASON - 1)

static int setup(void **state)
{
    services_setup(state);
    x.match.route = &services_write;
    return 0;
}

/* The Content-Length (-1: none), what has come, and whether that is all. */
static void given(int64_t length, const char *body, size_t len, enum server_body body_state)
{
    error_free(&x.call.error);
    params_free(&x.call.params);
    x.call.params = (struct params){.n = 100};
    x.request.content_length = length;
    services_fcgi.body = body;
    services_fcgi.body_len = len;
    services_fcgi.body_state = body_state;
    services_fcgi.body_wanted = 0;
}

static void assert_read(void)
{
    assert_true(service_read_body(&x));
    assert_string_equal(x.call.params.reason, "disk is full");
}

static void assert_refused(int status)
{
    assert_false(service_read_body(&x));
    assert_int_equal(x.call.error.status, status);
}

static void assert_wants(size_t bytes)
{
    assert_false(service_read_body(&x));
    assert_int_equal(x.call.error.status, 0);
    assert_int_equal(services_fcgi.body_wanted, bytes);
}

static void test_whole_body(void **state)
{
    (void)state;
    given(-1, REASON, REASON_LEN, SERVER_BODY_WHOLE);
    assert_read();
    given(REASON_LEN, REASON, REASON_LEN, SERVER_BODY_WHOLE);
    assert_read();
}

/* As soon as Content-Length has come, the end of the records is not waited for. */
static void test_body_before_its_end(void **state)
{
    (void)state;
    given(REASON_LEN, REASON, REASON_LEN, SERVER_BODY_MORE);
    assert_read();
    given(REASON_LEN, REASON, REASON_LEN, SERVER_BODY_LATE);
    assert_read();
    /* What stands behind it is none of the body. */
    given(REASON_LEN, REASON "{}", REASON_LEN + 2, SERVER_BODY_LONG);
    assert_read();
}

static void test_no_body(void **state)
{
    (void)state;
    given(0, "", 0, SERVER_BODY_MORE);
    assert_true(service_read_body(&x));
    given(-1, "", 0, SERVER_BODY_WHOLE);
    assert_true(service_read_body(&x));
    assert_null(x.call.params.reason);
}

static void test_more_must_come(void **state)
{
    (void)state;
    given(REASON_LEN, REASON, REASON_LEN - 1, SERVER_BODY_MORE);
    assert_wants(REASON_LEN);
    given(PARAMS_BODY_SIZE, "", 0, SERVER_BODY_MORE);
    assert_wants(PARAMS_BODY_SIZE);
    /* One byte beyond the bound tells that it is too large. */
    given(-1, REASON, REASON_LEN, SERVER_BODY_MORE);
    assert_wants(PARAMS_BODY_SIZE + 1);
}

static void test_too_large(void **state)
{
    static char body[PARAMS_BODY_SIZE + 1];
    (void)state;
    memset(body, ' ', sizeof body);
    memcpy(body, REASON, REASON_LEN);
    /* By its own account, before a byte of it has come. */
    given(PARAMS_BODY_SIZE + 1, "", 0, SERVER_BODY_MORE);
    assert_refused(413);
    given(INT64_MAX, "", 0, SERVER_BODY_MORE);
    assert_refused(413);
    given(-1, body, sizeof body, SERVER_BODY_MORE);
    assert_refused(413);
    given(-1, body, sizeof body, SERVER_BODY_WHOLE);
    assert_refused(413);
    given(-1, body, 10, SERVER_BODY_LONG); /* in too many pieces */
    assert_refused(413);
    /* The bound itself is allowed. */
    given(-1, body, sizeof body - 1, SERVER_BODY_WHOLE);
    assert_read();
}

static void test_late(void **state)
{
    (void)state;
    given(REASON_LEN, REASON, REASON_LEN - 1, SERVER_BODY_LATE);
    assert_refused(408);
    /* Its end is not known: what has come may be a part, although it reads as a whole. */
    given(-1, REASON, REASON_LEN, SERVER_BODY_LATE);
    assert_refused(408);
}

static void test_shorter_than_it_says(void **state)
{
    (void)state;
    given(REASON_LEN + 1, REASON, REASON_LEN, SERVER_BODY_WHOLE);
    assert_refused(400);
    assert_string_equal(x.call.error.code, "INVALID_BODY");
}

/* It takes the route's parameters alone. */
static void test_what_it_says(void **state)
{
    static const char last[] = "{\"last\":1}";
    static const char none[] = "pause";
    (void)state;
    given(-1, last, sizeof last - 1, SERVER_BODY_WHOLE);
    assert_refused(400);
    given(-1, none, sizeof none - 1, SERVER_BODY_WHOLE);
    assert_refused(400);
}

#define BODY_TEST(function) cmocka_unit_test_setup_teardown(function, setup, services_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BODY_TEST(test_whole_body),
        BODY_TEST(test_body_before_its_end),
        BODY_TEST(test_no_body),
        BODY_TEST(test_more_must_come),
        BODY_TEST(test_too_large),
        BODY_TEST(test_late),
        BODY_TEST(test_shorter_than_it_says),
        BODY_TEST(test_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
