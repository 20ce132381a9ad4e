/* SPDX-License-Identifier: MIT
 * Connections whose time has passed: what is done with each kind, and how it is counted. */
#include "serving.h"

static int client;

/* A connection that waits in the epoll set, and whose time has passed. */
static struct connection *late(void)
{
    struct connection *c = accepted(&client);
    assert_true(connection_release(&server, c));
    atomic_store(&c->deadline, LONG_AGO);
    return c;
}

static void own(struct connection *c)
{
    assert_true(connection_claim(c, CONNECTION_USE(atomic_load(&c->state))));
}

/* Looks through the connections once: this one is closed, and counted for this reason alone. */
static void assert_dropped(struct connection *c, const char *reason)
{
    static const char *const reasons[] = {"read_timeout", "body_timeout", "answer_timeout",
                                          "idle_timeout", "linger_timeout"};
    long before[COUNT(reasons)];
    for (size_t i = 0; i < COUNT(reasons); i++)
        before[i] = dropped(reasons[i]);
    deadlines_enforce(&server);
    assert_false(is_open(c));
    assert_int_equal(connections_open(&server), 0);
    for (size_t i = 0; i < COUNT(reasons); i++)
        assert_int_equal(dropped(reasons[i]) - before[i], strcmp(reason, reasons[i]) == 0);
    assert_true(client_read(client).closed);
    close(client);
}

/* ---- at a deadline ---- */

static void test_nothing_happens_before(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    assert_true(connection_release(&server, c));
    deadlines_enforce(&server);
    assert_true(is_released(c));
    assert_silent(client);
    close(client);
}

static void test_nothing_came(void **state)
{
    (void)state;
    assert_dropped(late(), "read_timeout");
}

static void test_half_a_request(void **state)
{
    (void)state;
    struct connection *c = late();
    c->begun = true;
    assert_dropped(c, "read_timeout");
}

static void test_no_further_request(void **state)
{
    (void)state;
    struct connection *c = late();
    c->served = true;
    assert_dropped(c, "idle_timeout");
}

/* One that had answers before is not idle while half a request is there. */
static void test_half_of_a_further_request(void **state)
{
    (void)state;
    struct connection *c = late();
    c->served = true;
    c->begun = true;
    assert_dropped(c, "read_timeout");
}

static void test_not_closed_after_its_last_answer(void **state)
{
    (void)state;
    struct connection *c = late();
    c->served = true;
    connection_linger(c);
    atomic_store(&c->deadline, LONG_AGO);
    assert_dropped(c, "linger_timeout");
}

/* A worker answers a request whose body is late, and has as long as for reading one. */
static void test_late_body(void **state)
{
    int64_t then = clock_ms();
    long before = dropped("body_timeout");
    (void)state;
    struct connection *c = late();
    c->begun = true;
    c->body_wanted = 10;
    deadlines_enforce(&server);
    assert_true(is_released(c));
    assert_true(c->body_late);
    assert_from_now(atomic_load(&c->deadline), then, serving_conf.read_timeout_ms);
    assert_int_equal(dropped("body_timeout"), before + 1);
    assert_event(c);
    /* That has not happened either. */
    atomic_store(&c->deadline, LONG_AGO);
    assert_dropped(c, "read_timeout");
}

/* ---- another thread's connection ---- */

/* It may be blocked writing an answer that nobody reads. The slot stays its own. */
static void test_owned_by_another(void **state)
{
    long before = dropped("answer_timeout");
    (void)state;
    struct connection *c = late();
    own(c);
    deadlines_enforce(&server);
    assert_true(is_open(c));
    assert_int_equal(send(c->fd, "x", 1, MSG_NOSIGNAL), -1);
    assert_closed(client);
    assert_int_equal(dropped("answer_timeout"), before + 1);
    deadlines_enforce(&server);
    deadlines_enforce(&server);
    assert_int_equal(dropped("answer_timeout"), before + 1);
    assert_int_equal(connections_open(&server), 1);
    connection_close(&server, c);
    close(client);
}

/* A worker has just taken a slot, and has no descriptor yet; and a slot that is free. */
static void test_owned_without_a_descriptor(void **state)
{
    long before = dropped("answer_timeout");
    (void)state;
    struct connection *c = accepted(&client);
    int fd = c->fd;
    c->fd = -1;
    atomic_store(&c->deadline, LONG_AGO);
    deadlines_enforce(&server);
    c->fd = fd;
    assert_silent(client);
    connection_close(&server, c);
    deadlines_enforce(&server);
    assert_int_equal(dropped("answer_timeout"), before);
    close(client);
}

static void test_each_by_its_own_deadline(void **state)
{
    int clients[SLOTS];
    struct connection *c[SLOTS];
    (void)state;
    for (size_t i = 0; i < SLOTS; i++) {
        c[i] = accepted(&clients[i]);
        assert_true(connection_release(&server, c[i]));
    }
    atomic_store(&c[1]->deadline, LONG_AGO);
    atomic_store(&c[3]->deadline, LONG_AGO);
    deadlines_enforce(&server);
    for (size_t i = 0; i < SLOTS; i++) {
        assert_int_equal(is_open(c[i]), i % 2 == 0);
        close(clients[i]);
    }
}

/* ---- at a stop ---- */

/* As late, but with all time left; nothing has happened on it for long. */
static struct connection *quiet(void)
{
    struct connection *c = accepted(&client);
    assert_true(connection_release(&server, c));
    atomic_store(&c->last_used, 0);
    return c;
}

static void enforce_at_stop(void)
{
    atomic_store(&server.stopping, true);
    deadlines_enforce(&server);
}

static void test_stop_closes_quiet_ones(void **state)
{
    long before = dropped("idle_timeout");
    (void)state;
    struct connection *c = quiet();
    c->served = true;
    deadlines_enforce(&server);
    assert_true(is_open(c));
    enforce_at_stop();
    assert_false(is_open(c));
    assert_closed(client);
    assert_int_equal(dropped("idle_timeout"), before);
    close(client);
}

/* The web server may have sent a request before it could know of the stop. */
static void test_stop_leaves_those_just_used(void **state)
{
    (void)state;
    struct connection *c = quiet();
    atomic_store(&c->last_used, clock_ms() + LONG_TIME); /* later than any moment of this test */
    enforce_at_stop();
    assert_true(is_released(c));
    close(client);
}

/* For a moment after its last use, which on a busy machine may be over by the time of the look; but
 * not each time. */
static void test_stop_leaves_those_used_a_moment_ago(void **state)
{
    bool left = false;
    (void)state;
    for (int i = 0; i < 50 && !left; i++) {
        atomic_store(&server.stopping, false);
        struct connection *c = quiet();
        atomic_store(&c->last_used, clock_ms());
        enforce_at_stop();
        left = is_open(c);
        close(client);
    }
    assert_true(left);
}

/* This look may have taken its event, so the event must come again. */
static void test_stop_leaves_input_to_workers(void **state)
{
    (void)state;
    struct connection *c = quiet();
    client_send(client, "x", 1);
    assert_event(c);
    enforce_at_stop();
    assert_true(is_released(c));
    assert_event(c);
    close(client);
}

static void test_stop_leaves_half_a_request(void **state)
{
    (void)state;
    struct connection *c = quiet();
    c->partial = malloc(1);
    assert_non_null(c->partial);
    c->partial_len = 1;
    enforce_at_stop();
    assert_true(is_released(c));
    close(client);
}

/* What comes after the last answer is no request. */
static void test_stop_closes_lingering_ones(void **state)
{
    (void)state;
    struct connection *c = quiet();
    connection_linger(c);
    client_send(client, "x", 1);
    enforce_at_stop();
    assert_false(is_open(c));
    close(client);
}

static void test_stop_leaves_owned_ones(void **state)
{
    (void)state;
    struct connection *c = quiet();
    own(c);
    enforce_at_stop();
    assert_true(is_open(c));
    /* The owner does not look again: no event has come. */
    assert_true(connection_release(&server, c));
    close(client);
}

static void test_stop_closes_those_whose_peer_is_gone(void **state)
{
    (void)state;
    struct connection *c = quiet();
    close(client);
    enforce_at_stop();
    assert_false(is_open(c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(test_nothing_happens_before),
        SERVING_TEST(test_nothing_came),
        SERVING_TEST(test_half_a_request),
        SERVING_TEST(test_no_further_request),
        SERVING_TEST(test_half_of_a_further_request),
        SERVING_TEST(test_not_closed_after_its_last_answer),
        SERVING_TEST(test_late_body),
        SERVING_TEST(test_owned_by_another),
        SERVING_TEST(test_owned_without_a_descriptor),
        SERVING_TEST(test_each_by_its_own_deadline),
        SERVING_TEST(test_stop_closes_quiet_ones),
        SERVING_TEST(test_stop_leaves_those_just_used),
        SERVING_TEST(test_stop_leaves_those_used_a_moment_ago),
        SERVING_TEST(test_stop_leaves_input_to_workers),
        SERVING_TEST(test_stop_leaves_half_a_request),
        SERVING_TEST(test_stop_closes_lingering_ones),
        SERVING_TEST(test_stop_leaves_owned_ones),
        SERVING_TEST(test_stop_closes_those_whose_peer_is_gone),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
