/* SPDX-License-Identifier: MIT
 * What comes on a connection, in whatever pieces (server/input.c): parts of requests, several at
 * once, and what is no request. */
#include "serving_input.h"

/* ---- requests in pieces ---- */

static void test_one_request(void **state)
{
    int64_t then = clock_ms();
    (void)state;
    struct connection *c = waiting();
    put_request("/a");
    send_and_serve();
    assert_answer(client, "/a");
    assert_true(is_released(c));
    assert_null(c->partial);
    assert_true(c->served);
    assert_false(c->begun);
    assert_from_now(atomic_load(&c->deadline), then, serving_conf.idle_timeout_ms);
    close(client);
}

/* The time of a request runs from its first byte, and no byte after that adds to it. */
static void test_one_byte_at_a_time(void **state)
{
    (void)state;
    struct connection *c = waiting();
    put_request("/slow");
    size_t len = in.len;
    int64_t deadline = 0;
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(application.calls, 0);
        assert_silent(client);
        assert_int_equal(c->partial_len, i);
        client_send(client, in.bytes + i, 1);
        int64_t then = clock_ms();
        assert_int_equal(serve(), 1);
        assert_true(is_released(c));
        if (i == 0) {
            assert_true(c->begun);
            assert_from_now(atomic_load(&c->deadline), then, serving_conf.read_timeout_ms);
            deadline = LONG_TIME * 1000;
            atomic_store(&c->deadline, deadline);
        } else if (application.calls == 0) {
            assert_int_equal(atomic_load(&c->deadline), deadline);
        } else {
            break; /* a request without a body is answered when its parameters are whole */
        }
    }
    assert_answer(client, "/slow");
    assert_int_equal(application.calls, 1);
    close(client);
}

static void test_several_in_one_read(void **state)
{
    static const char *const paths[] = {"/a", "/bb", "/ccc"};
    (void)state;
    struct connection *c = waiting();
    for (size_t i = 0; i < COUNT(paths); i++)
        put_request(paths[i]);
    send_and_serve();
    assert_answers(client, paths, COUNT(paths), false);
    assert_true(is_released(c));
    assert_null(c->partial);
    close(client);
}

/* Cut at each place: what comes behind a whole request is kept, and nothing else. */
static void test_one_and_a_part_of_the_next(void **state)
{
    static const char *const paths[] = {"/first", "/second"};
    (void)state;
    put_request(paths[0]);
    size_t first = in.len;
    put_request(paths[1]);
    size_t len = in.len;
    for (size_t cut = 1; cut < len; cut++) {
        struct connection *c = waiting();
        application.calls = 0;
        client_send(client, in.bytes, cut);
        serve();
        assert_true(is_released(c));
        if (cut > first && application.calls == 1)
            assert_int_equal(c->partial_len, cut - first);
        client_send(client, in.bytes + cut, len - cut);
        serve();
        assert_answers(client, paths, 2, false);
        assert_int_equal(application.calls, 2);
        assert_null(c->partial);
        connection_close(&server, c);
        close(client);
    }
}

/* Of about 2 KiB, so that few answers are many bytes of input. */
static void put_long_request(void)
{
    put_begin(KEEP_CONNECTION);
    for (int i = 0; i < 8; i++)
        put_record(PARAMS, "\x01\x01XY", 4, 255);
    put_record(PARAMS, "\x09\x01PATH_INFO/", 12, 0);
    put_record(PARAMS, "", 0, 0);
    put_body("");
}

/* More than the buffer takes: nothing is lost where one reading ends. */
static void test_more_than_one_read_takes(void **state)
{
    int requests = 0;
    (void)state;
    struct connection *c = waiting();
    for (; in.len <= RECORD_REQUEST_MOST; requests++)
        put_long_request();
    send_and_serve();
    assert_int_equal(application.calls, requests);
    assert_int_equal(client_read(client).ended, requests);
    assert_true(is_released(c));
    assert_null(c->partial);
    close(client);
}

static struct connection *owned;

static void send_another(void)
{
    put_request("/b");
    client_send_records(client);
    assert_false(connection_claim(owned, CONNECTION_USE(atomic_load(&owned->state))));
}

/* Another thread takes the event of what comes while the owner answers, and leaves it to him. */
static void test_event_while_a_request_is_answered(void **state)
{
    static const char *const paths[] = {"/a", "/b"};
    (void)state;
    owned = accepted(&client);
    application.meanwhile = send_another;
    put_request("/a");
    client_send_records(client);
    input_serve(&server.workers[0], owned);
    assert_answers(client, paths, 2, false);
    assert_true(is_released(owned));
    close(client);
}

/* ---- connections without a request ---- */

static void test_closed_without_a_byte(void **state)
{
    (void)state;
    struct connection *c = waiting();
    shutdown(client, SHUT_WR);
    serve();
    assert_gone(c);
}

static void test_closed_within_a_request(void **state)
{
    (void)state;
    struct connection *c = waiting();
    put_begin(KEEP_CONNECTION);
    send_and_serve();
    assert_non_null(c->partial);
    shutdown(client, SHUT_WR);
    serve();
    assert_null(c->partial);
    assert_gone(c);
}

static void test_not_fastcgi(void **state)
{
    static const char *const inputs[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x16\x03\x01\x02\x16",
        "\x01\x01\x01\x01\xFF\xFF\xFF\xFF\xFF\xFF",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(inputs); i++) {
        long before = dropped("not_fastcgi");
        struct connection *c = waiting();
        client_send(client, inputs[i], strlen(inputs[i]));
        serve();
        assert_int_equal(application.calls, 0);
        assert_int_equal(dropped("not_fastcgi"), before + 1);
        assert_gone(c);
    }
}

/* What stood before the bad bytes is answered. */
static void test_bad_bytes_behind_a_request(void **state)
{
    (void)state;
    struct connection *c = waiting();
    put_request("/good");
    put("GET / HTTP/1.1\r\n", 16);
    put_request("/never");
    send_and_serve();
    assert_string_equal(application.paths, "/good ");
    assert_false(is_open(c));
    assert_answers(client, (const char *const[]){"/good"}, 1, true);
    close(client);
}

static void test_aborted(void **state)
{
    long before = dropped("aborted");
    (void)state;
    struct connection *c = waiting();
    put_begin(KEEP_CONNECTION);
    put_record(ABORT_REQUEST, "", 0, 0);
    send_and_serve();
    assert_int_equal(application.calls, 0);
    assert_int_equal(dropped("aborted"), before + 1);
    assert_gone(c);
}

/* ---- management records ---- */

static void put_management(void)
{
    static const unsigned char values[] = {1, GET_VALUES, 0, 0, 0, 16, 0, 0, 14, 0};
    put(values, sizeof values);
    put("FCGI_MAX_CONNS", 14);
}

/* At any place: before, within and behind requests, which go on as if there were none. */
static void test_management_among_requests(void **state)
{
    (void)state;
    struct connection *c = waiting();
    put_management();
    put_management();
    put_begin(KEEP_CONNECTION);
    put_management();
    put_record(PARAMS, "\x09\x02PATH_INFO/a", 13, 0);
    put_management();
    put_record(PARAMS, "", 0, 0);
    put_body("");
    put_management();
    put_request("/b");
    send_and_serve();
    struct answers answers = client_read(client);
    assert_int_equal(answers.management, 5);
    assert_int_equal(answers.ended, 2);
    assert_string_equal(application.paths, "/a /b ");
    assert_true(is_released(c));
    close(client);
}

/* Only its record is taken out of what has come. */
static void test_management_within_a_partial_request(void **state)
{
    (void)state;
    struct connection *c = waiting();
    put_begin(KEEP_CONNECTION);
    size_t begun = in.len;
    put_management();
    send_and_serve();
    assert_int_equal(client_read(client).management, 1);
    assert_int_equal(c->partial_len, begun);
    put_record(PARAMS, "\x09\x02PATH_INFO/a", 13, 0);
    put_record(PARAMS, "", 0, 0);
    put_body("");
    send_and_serve();
    assert_answer(client, "/a");
    close(client);
}

/* ---- parameters beyond the bounds ---- */

/* It is answered without libfcgi, and what still comes of it is no request. */
static void test_too_large(void **state)
{
    static const char filler[32768];
    long before = dropped("parameters_too_large");
    (void)state;
    struct connection *c = waiting();
    put_begin(KEEP_CONNECTION);
    put_record(PARAMS, "\x01\x84\x00\x00\x00X", 6, 0);
    for (size_t i = 0; i < 5; i++)
        put_record(PARAMS, filler, sizeof filler, 0);
    for (size_t at = 0, part; at < in.len; at += part) {
        part = in.len - at < 32768 ? in.len - at : 32768;
        client_send(client, in.bytes + at, part);
        serve();
    }
    in.len = 0;
    assert_int_equal(application.calls, 0);
    assert_int_equal(dropped("parameters_too_large"), before + 1);
    assert_true(c->lingers);
    struct answers answers = client_read(client);
    assert_string_equal(answers.text, serving_calls.too_large_answer);
    assert_int_equal(answers.ended, 1);
    assert_true(answers.closed);

    put_request("/behind");
    send_and_serve();
    assert_int_equal(application.calls, 0);
    assert_true(is_released(c));
    shutdown(client, SHUT_WR);
    serve();
    assert_false(is_open(c));
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(test_one_request),
        SERVING_TEST(test_one_byte_at_a_time),
        SERVING_TEST(test_several_in_one_read),
        SERVING_TEST(test_one_and_a_part_of_the_next),
        SERVING_TEST(test_more_than_one_read_takes),
        SERVING_TEST(test_event_while_a_request_is_answered),
        SERVING_TEST(test_closed_without_a_byte),
        SERVING_TEST(test_closed_within_a_request),
        SERVING_TEST(test_not_fastcgi),
        SERVING_TEST(test_bad_bytes_behind_a_request),
        SERVING_TEST(test_aborted),
        SERVING_TEST(test_management_among_requests),
        SERVING_TEST(test_management_within_a_partial_request),
        SERVING_TEST(test_too_large),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
