/* SPDX-License-Identifier: MIT
 * Bodies (server/input.c): what the application needs of them, and what of them is discarded. */
#include "serving_input.h"

/* input.c's bound on what is discarded after an answer. */
#define DISCARDED_MOST ((size_t)64 * 1024 * 1024)

/* ---- what is discarded ---- */

/* The rest of a body that the answer did not wait for, and behind it the next request. */
static void test_rest_of_a_body_is_discarded(void **state)
{
    static const char filler[40000];
    (void)state;
    struct connection *c = waiting();
    put_params("/a", KEEP_CONNECTION);
    put_record(STDIN, "half", 4, 0);
    send_and_serve();
    assert_answer(client, "/a");
    assert_true(is_released(c));
    put_record(STDIN, filler, sizeof filler, 7);
    put_record(STDIN, "", 0, 0);
    put_request("/b");
    send_and_serve();
    assert_answer(client, "/b");
    assert_int_equal(application.calls, 2);
    close(client);
}

/* The same where its records come in the smallest pieces. */
static void test_rest_of_a_body_byte_by_byte(void **state)
{
    (void)state;
    waiting();
    put_params("/a", KEEP_CONNECTION);
    put_record(STDIN, "half", 4, 0);
    send_and_serve();
    assert_answer(client, "/a");
    put_record(STDIN, "the other half", 14, 3);
    put_record(STDIN, "", 0, 0);
    put_request("/b");
    for (size_t i = 0; i < in.len; i++) {
        client_send(client, in.bytes + i, 1);
        serve();
    }
    assert_answer(client, "/b");
    assert_int_equal(application.calls, 2);
    close(client);
}

static void test_discarded_up_to_a_bound(void **state)
{
    static const char filler[100];
    (void)state;
    struct connection *c = waiting();
    put_params("/a", KEEP_CONNECTION);
    send_and_serve();
    assert_answer(client, "/a");
    put_record(STDIN, filler, sizeof filler, 0);
    c->discarded = DISCARDED_MOST - in.len;
    send_and_serve();
    assert_true(is_released(c));
    assert_int_equal(c->discarded, DISCARDED_MOST);
    put_record(STDIN, filler, 1, 0);
    send_and_serve();
    assert_gone(c);
}

/* Each answer begins the count again: a connection may live for long. */
static void test_discarded_is_counted_for_each_answer(void **state)
{
    (void)state;
    struct connection *c = waiting();
    put_params("/a", KEEP_CONNECTION);
    send_and_serve();
    put_body("rest");
    send_and_serve();
    assert_int_not_equal(c->discarded, 0);
    put_request("/b");
    send_and_serve();
    assert_int_equal(c->discarded, 0);
    close(client);
}

static void test_lingering_up_to_a_bound(void **state)
{
    (void)state;
    struct connection *c = waiting();
    connection_linger(c);
    c->discarded = DISCARDED_MOST - 10;
    client_send(client, "0123456789", 10);
    serve();
    assert_true(is_released(c));
    client_send(client, "x", 1);
    serve();
    assert_gone(c);
}

/* ---- bodies ---- */

/* The application is asked again when what it needs has come, and not at each byte before. */
static void test_body_that_is_needed(void **state)
{
    (void)state;
    struct connection *c = waiting();
    application.wanted = 10;
    put_params("/a", KEEP_CONNECTION);
    send_and_serve();
    assert_int_equal(application.calls, 1);
    int64_t deadline = atomic_load(&c->deadline);
    for (int i = 0; i < 9; i++) {
        put_record(STDIN, "x", 1, 0);
        send_and_serve();
        assert_int_equal(application.calls, 1);
        assert_silent(client);
    }
    assert_int_equal(atomic_load(&c->deadline), deadline);
    put_record(STDIN, "yz", 2, 0);
    send_and_serve();
    assert_int_equal(application.calls, 2);
    assert_int_equal(application.body_state, SERVER_BODY_MORE);
    assert_int_equal(application.body_len, 11);
    assert_memory_equal(application.body, "xxxxxxxxxyz", 11);
    assert_answer(client, "/a");
    close(client);
}

/* It ends before that. */
static void test_body_that_is_shorter(void **state)
{
    (void)state;
    waiting();
    application.wanted = 10;
    put_params("/a", KEEP_CONNECTION);
    send_and_serve();
    put_body("short");
    send_and_serve();
    assert_int_equal(application.body_state, SERVER_BODY_WHOLE);
    assert_int_equal(application.body_len, 5);
    assert_answer(client, "/a");
    close(client);
}

/* Its time has passed (deadlines.c): the application has what there is. */
static void test_body_that_is_late(void **state)
{
    (void)state;
    struct connection *c = waiting();
    application.wanted = 10;
    put_params("/a", KEEP_CONNECTION);
    put_record(STDIN, "part", 4, 0);
    send_and_serve();
    assert_int_equal(application.calls, 1);
    assert_true(connection_claim(c, CONNECTION_USE(atomic_load(&c->state))));
    c->body_late = true;
    connection_hand_over(&server, c);
    assert_true(serve() > 0);
    assert_int_equal(application.body_state, SERVER_BODY_LATE);
    assert_memory_equal(application.body, "part", 4);
    /* Its end is not known, so no further request can follow. */
    assert_answers(client, (const char *const[]){"/a"}, 1, true);
    assert_true(c->lingers);
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(test_rest_of_a_body_is_discarded),
        SERVING_TEST(test_rest_of_a_body_byte_by_byte),
        SERVING_TEST(test_discarded_up_to_a_bound),
        SERVING_TEST(test_discarded_is_counted_for_each_answer),
        SERVING_TEST(test_lingering_up_to_a_bound),
        SERVING_TEST(test_body_that_is_needed),
        SERVING_TEST(test_body_that_is_shorter),
        SERVING_TEST(test_body_that_is_late),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
