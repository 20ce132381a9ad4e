/* SPDX-License-Identifier: MIT
 * A request's body in FastCGI records: its bounds, its content, and what is discarded of it. */
#include "record_input.h"

static void test_body_up_to_bound(void **state)
{
    static char body[60000];
    (void)state;
    begin();
    put_record(PARAMS, "", 0, 0);
    put_record(STDIN, body, sizeof body, 0);
    put_record(STDIN, body, sizeof body, 0);
    size_t last = RECORD_REQUEST_MOST - in.len - 2 * 8;
    put_record(STDIN, body, last, 0);
    put_record(STDIN, "", 0, 0);
    assert_int_equal(in.len, RECORD_REQUEST_MOST);
    struct record_request request = scan();
    assert_int_equal(request.verdict, RECORD_WHOLE);
    assert_int_equal(request.len, RECORD_REQUEST_MOST);
    assert_int_equal(request.body_len, 2 * sizeof body + last);
}

/* Whatever the sizes of its records, a full buffer is not waited on. */
static void test_body_up_to_last_bytes_of_buffer(void **state)
{
    static char body[60000];
    (void)state;
    for (size_t left = 0; left <= 9; left++) {
        begin();
        put_record(PARAMS, "", 0, 0);
        put_record(STDIN, body, sizeof body, 0);
        put_record(STDIN, body, sizeof body, 0);
        put_record(STDIN, body, RECORD_REQUEST_MOST - in.len - 8 - left, 0);
        assert_int_equal(scan().verdict, left < 8 ? RECORD_BODY_LONG : RECORD_PARAMS);
    }
}

/* The parameters are whole, so that a request with too long a body can be answered; what
 * of the body would pass the bound need not have come. */
static void test_body_over_bound(void **state)
{
    static char body[65535];
    (void)state;
    begin();
    put_record(PARAMS, pair, PAIR_LEN, 0);
    put_record(PARAMS, "", 0, 0);
    size_t params_len = in.len;
    put_record(STDIN, body, sizeof body, 0);
    put_header(STDIN, ID, 65535, 0);
    assert_int_equal(scan_of(in.len - 1).verdict, RECORD_PARAMS);
    struct record_request request = scan();
    assert_int_equal(request.verdict, RECORD_BODY_LONG);
    assert_int_equal(request.params_len, params_len);
    assert_int_equal(request.id, ID);

    /* By a single byte, and that of padding. */
    begin();
    put_record(PARAMS, "", 0, 0);
    put_record(STDIN, body, sizeof body, 0);
    put_header(STDIN, ID, RECORD_REQUEST_MOST - in.len - 8, 1);
    assert_int_equal(scan().verdict, RECORD_BODY_LONG);
}

/* What of the body has come is there without its headers and padding, wherever it is cut. */
static void test_body_content(void **state)
{
    static const char text[] = "a body of three records";
    char out[sizeof text];
    (void)state;
    begin();
    put_record(PARAMS, pair, PAIR_LEN, 0);
    put_record(PARAMS, "", 0, 3);
    size_t start = in.len;
    put_record(STDIN, text, 7, 5);
    put_record(STDIN, text + 7, 1, 0);
    put_record(STDIN, text + 8, sizeof text - 9, 255);
    put_record(STDIN, "", 0, 0);
    for (size_t len = start; len <= in.len; len++) {
        struct record_request request = scan_of(len);
        assert_int_equal(request.body_at, start);
        memset(out, 0, sizeof out);
        assert_int_equal(record_body(in.bytes, &request, out, sizeof out), request.body_len);
        assert_memory_equal(out, text, request.body_len);
        size_t cut = request.body_len / 2;
        assert_int_equal(record_body(in.bytes, &request, out, cut), cut);
    }
    assert_int_equal(scan().body_len, sizeof text - 1);
}

/* Of a request that was answered when its parameters had come. */
static void test_rest_of_answered_request(void **state)
{
    static char body[60000];
    (void)state;
    in.len = 0;
    for (int i = 0; i < 4; i++)
        put_record(STDIN, body, sizeof body, 11);
    put_record(STDIN, "", 0, 9);
    size_t end = in.len;
    put_header(BEGIN_REQUEST, ID, 8, 0);
    for (size_t step = 1; step < end; step += step < 30 ? 1 : 4999) {
        struct record_rest rest = {.id = ID};
        size_t done = 0;
        /* As it comes: what is undecided is looked at once more. */
        for (size_t at = 0; at < in.len; at += step) {
            size_t there = at + step < in.len ? at + step : in.len;
            if (there > done)
                done += record_skip(&rest, in.bytes + done, there - done);
        }
        assert_int_equal(done, end);
        assert_true(rest.ended);
        assert_int_equal(rest.left, 0);
    }
}

static void test_end_of_rest(void **state)
{
    struct record_rest rest = {.id = ID};
    (void)state;
    /* With an abort. */
    in.len = 0;
    put_header(ABORT_REQUEST, ID, 0, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), in.len);
    assert_true(rest.ended);
    /* Nothing follows but what is another request's. */
    rest = (struct record_rest){.id = ID};
    in.len = 0;
    put_header(STDIN, ID + 1, 0, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
    in.len = 0;
    put_header(BEGIN_REQUEST, ID, 8, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
    in.len = 0;
    put("\x02\x05\x12\x34\x00\x00\x00\x00", 8); /* another version */
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
    assert_false(rest.ended);
    /* And there is none where no request was. */
    rest = (struct record_rest){0};
    in.len = 0;
    put_header(STDIN, 0, 0, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_up_to_bound),
        cmocka_unit_test(test_body_up_to_last_bytes_of_buffer),
        cmocka_unit_test(test_body_over_bound),
        cmocka_unit_test(test_body_content),
        cmocka_unit_test(test_rest_of_answered_request),
        cmocka_unit_test(test_end_of_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
