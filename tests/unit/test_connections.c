/* SPDX-License-Identifier: MIT
 * The table of connections: slots, use numbers, ownership, and what a slot forgets. */
#include "serving.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>

/* ---- accepting ---- */

static void test_nobody_waits(void **state)
{
    (void)state;
    assert_null(connection_accept(&server));
    assert_int_equal(connections_open(&server), 0);
    assert_true(server.listening);
}

static void test_accepted_is_owned(void **state)
{
    int client;
    int64_t then = clock_ms();
    (void)state;
    struct connection *c = accepted(&client);
    assert_true(is_open(c));
    assert_false(is_released(c));
    assert_int_equal(connections_open(&server), 1);
    /* A whole request may still have to wait for a thread. */
    assert_from_now(atomic_load(&c->deadline), then,
                    serving_conf.read_timeout_ms + serving_conf.queue_timeout_ms);
    close(client);
}

/* An answer goes out at once, and a peer that does not read it holds its thread for a time only. */
static void test_options_of_a_connection(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    struct timeval patience = {0};
    socklen_t patience_len = sizeof patience;
    int on = 0;
    socklen_t on_len = sizeof on;
    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    assert_true(dup2(listening, serving_listener.fds[0]) >= 0);
    close(listening);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    struct connection *c = connection_accept(&server);
    assert_non_null(c);
    assert_int_equal(getsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, &on_len), 0);
    assert_int_equal(on, 1);
    assert_int_equal(getsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, &patience_len), 0);
    assert_int_equal(patience.tv_sec, serving_conf.read_timeout_ms / 1000 + 1);
    close(client);
}

/* Without a free slot nobody is accepted, and nothing is reported over and over. */
static void test_all_slots_in_use(void **state)
{
    int clients[SLOTS + 1];
    struct connection *c[SLOTS];
    (void)state;
    for (size_t i = 0; i < SLOTS; i++) {
        assert_true(server.listening);
        c[i] = accepted(&clients[i]);
    }
    assert_false(server.listening);
    clients[SLOTS] = client_connect();
    assert_no_event();
    assert_null(connection_accept(&server));
    assert_int_equal(connections_open(&server), SLOTS);

    connection_close(&server, c[2]);
    assert_true(server.listening);
    assert_int_equal(next_event(), EVENT_LISTENER);
    assert_ptr_equal(connection_accept(&server), c[2]);
    assert_false(server.listening);
    for (size_t i = 0; i <= SLOTS; i++)
        close(clients[i]);
}

static void test_stopping_does_not_listen_again(void **state)
{
    int clients[SLOTS];
    struct connection *c[SLOTS];
    (void)state;
    for (size_t i = 0; i < SLOTS; i++)
        c[i] = accepted(&clients[i]);
    atomic_store(&server.stopping, true);
    for (size_t i = 0; i < SLOTS; i++) {
        connection_close(&server, c[i]);
        close(clients[i]);
    }
    assert_false(server.listening);
}

static void test_pause(void **state)
{
    (void)state;
    int client = client_connect();
    listen_pause(&server);
    listen_pause(&server);
    assert_no_event();
    pthread_mutex_lock(&server.table_lock);
    listen_locked(&server);
    listen_locked(&server);
    pthread_mutex_unlock(&server.table_lock);
    assert_int_equal(next_event(), EVENT_LISTENER);
    close(client);
}

/* Out of descriptors, the connection that waits is not reported over and over. It is not lost. */
static void test_out_of_descriptors(void **state)
{
    struct rlimit limit;
    (void)state;
    int client = client_connect();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {(rlim_t)client + 1, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct connection *c = connection_accept(&server);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_null(c);
    assert_false(server.listening);
    assert_int_equal(connections_open(&server), 0);
    assert_non_null(connection_accept(&server));
    close(client);
}

/* ---- a slot's next use ---- */

/* All that a connection can leave in its slot. */
static void leave_traces(struct connection *c)
{
    c->served = c->begun = c->lingers = c->body_late = c->in_epoll = true;
    c->discarded = 12345;
    c->rest = (struct record_rest){.id = 7, .left = 100};
    c->body_wanted = 99;
    c->partial = malloc(10);
    assert_non_null(c->partial);
    c->partial_len = 10;
    atomic_store(&c->deadline, LONG_AGO);
}

static void test_slot_forgets_its_last_connection(void **state)
{
    int client[2];
    (void)state;
    struct connection *c = accepted(&client[0]);
    leave_traces(c);
    connection_close(&server, c);
    assert_true(atomic_load(&c->deadline) > clock_ms() + LONG_TIME);
    assert_ptr_equal(accepted(&client[1]), c);
    assert_false(c->served || c->begun || c->lingers || c->body_late || c->in_epoll);
    assert_int_equal(c->discarded, 0);
    assert_int_equal(c->rest.id, 0);
    assert_int_equal(c->rest.left, 0);
    assert_int_equal(c->body_wanted, 0);
    assert_null(c->partial);
    assert_int_equal(c->partial_len, 0);
    assert_true(atomic_load(&c->deadline) > clock_ms());
    close(client[0]);
    close(client[1]);
}

static void test_close_tells_the_peer(void **state)
{
    int client;
    (void)state;
    struct connection *c = accepted(&client);
    assert_silent(client);
    connection_close(&server, c);
    assert_closed(client);
    assert_int_equal(connections_open(&server), 0);
    close(client);
}

/* An event for a connection that was closed since must not give anyone the next one. */
static void test_event_of_an_earlier_use(void **state)
{
    int client[2];
    (void)state;
    struct connection *c = accepted(&client[0]);
    assert_true(connection_release(&server, c));
    uint64_t early = event_for(c);
    assert_ptr_equal(connection_of_event(&server, early), c);
    connection_close(&server, c);
    assert_null(connection_of_event(&server, early));
    assert_null(connection_of_event(&server, event_for(c))); /* free, under its next number */
    assert_ptr_equal(accepted(&client[1]), c);
    assert_null(connection_of_event(&server, early));
    /* Nor does such an event count as one of the next connection's. */
    assert_true(connection_release(&server, c));
    assert_null(connection_of_event(&server, early));
    assert_ptr_equal(connection_of_event(&server, event_for(c)), c);
    close(client[0]);
    close(client[1]);
}

static void test_numbers_differ(void **state)
{
    uint64_t seen[50];
    (void)state;
    for (size_t i = 0; i < COUNT(seen); i++) {
        int client;
        struct connection *c = accepted(&client);
        seen[i] = event_for(c);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(seen[i], seen[j]);
        connection_close(&server, c);
        close(client);
    }
    assert_int_equal(atomic_load(&server.used), 1);
}

/* ---- ownership ---- */

static void test_one_owner(void **state)
{
    int client;
    (void)state;
    struct connection *c = accepted(&client);
    uint64_t use = CONNECTION_USE(atomic_load(&c->state));
    assert_true(connection_release(&server, c));
    assert_false(connection_claim(c, use + 1));
    assert_true(connection_claim(c, use));
    assert_false(connection_claim(c, use));
    assert_false(connection_claim(c, use));
    /* Two events have come meanwhile; the owner looks once more, and then it is free. */
    assert_false(connection_release(&server, c));
    assert_false(is_released(c));
    assert_true(connection_release(&server, c));
    assert_true(is_released(c));
    close(client);
}

/* What has come before the connection is in the epoll set is reported, once. */
static void test_release_reports_what_is_there(void **state)
{
    int client;
    (void)state;
    struct connection *c = accepted(&client);
    client_send(client, "x", 1);
    assert_true(connection_release(&server, c));
    assert_event(c);
    assert_no_event();
    client_send(client, "x", 1);
    assert_event(c);
    assert_no_event();
    close(client);
    assert_event(c);
}

/* Its event was taken already: without being re-armed, it would never be reported. */
static void test_hand_over_reports_again(void **state)
{
    int client;
    (void)state;
    struct connection *c = accepted(&client);
    client_send(client, "x", 1);
    assert_true(connection_release(&server, c));
    assert_event(c);
    assert_true(connection_claim(c, CONNECTION_USE(atomic_load(&c->state))));
    assert_false(connection_claim(c, CONNECTION_USE(atomic_load(&c->state))));
    connection_hand_over(&server, c);
    assert_true(is_released(c));
    assert_event(c);
    assert_no_event();
    close(client);
}

static void test_hand_over_of_a_new_one(void **state)
{
    int client;
    (void)state;
    struct connection *c = accepted(&client);
    connection_hand_over(&server, c);
    assert_no_event();
    client_send(client, "x", 1);
    assert_event(c);
    close(client);
}

/* A request whose body is late is answered although nothing more comes. */
static void test_hand_over_of_a_late_body(void **state)
{
    int client;
    (void)state;
    struct connection *c = accepted(&client);
    assert_true(connection_release(&server, c));
    assert_no_event();
    assert_true(connection_claim(c, CONNECTION_USE(atomic_load(&c->state))));
    c->body_late = true;
    connection_hand_over(&server, c);
    assert_event(c);
    close(client);
}

/* A connection that no event can reach is closed. */
static void test_release_that_epoll_refuses(void **state)
{
    int client;
    int epoll = server.epoll;
    (void)state;
    struct connection *c = accepted(&client);
    server.epoll = -1;
    assert_true(connection_release(&server, c));
    server.epoll = epoll;
    assert_false(is_open(c));
    assert_closed(client);
    assert_int_equal(connections_open(&server), 0);
    close(client);
}

/* ---- linger ---- */

static void test_linger(void **state)
{
    int client;
    (void)state;
    struct connection *c = accepted(&client);
    connection_linger(c);
    assert_true(c->lingers);
    assert_closed(client);
    client_send(client, "what still comes", 16);
    assert_true(is_open(c));
    /* For a while, which is shorter than the time for a request. */
    assert_in_range(atomic_load(&c->deadline), clock_ms(), clock_ms() + 60000);
    close(client);
}

/* ---- threads ---- */

#define THREADS 3
#define ROUNDS  3000

/* In each round every thread has one event for the same connection: a unit of input, and a claim.
 */
static struct {
    struct connection *c;
    uint64_t use;
    pthread_barrier_t barrier;
    atomic_long input;
    long consumed; /* the owner's: ThreadSanitizer watches */
    long left;     /* input that nobody saw when a round was over */
} shared;

static void send_and_claim(void)
{
    atomic_fetch_add(&shared.input, 1);
    if (!connection_claim(shared.c, shared.use))
        return;
    do {
        shared.consumed += atomic_exchange(&shared.input, 0);
        sched_yield(); /* for another thread's event to come before the release */
    } while (!connection_release(&server, shared.c));
}

static void *send_in_rounds(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&shared.barrier);
        send_and_claim();
        if (pthread_barrier_wait(&shared.barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            shared.left += atomic_load(&shared.input);
    }
    return unused;
}

static void test_no_event_is_lost_between_threads(void **state)
{
    pthread_t threads[THREADS];
    int client;
    (void)state;
    shared.c = accepted(&client);
    shared.use = CONNECTION_USE(atomic_load(&shared.c->state));
    assert_true(connection_release(&server, shared.c));
    assert_int_equal(pthread_barrier_init(&shared.barrier, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_in_rounds, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&shared.barrier);
    assert_int_equal(shared.left, 0);
    assert_int_equal(shared.consumed, THREADS * ROUNDS);
    assert_true(is_released(shared.c));
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(test_nobody_waits),
        SERVING_TEST(test_accepted_is_owned),
        SERVING_TEST(test_options_of_a_connection),
        SERVING_TEST(test_all_slots_in_use),
        SERVING_TEST(test_stopping_does_not_listen_again),
        SERVING_TEST(test_pause),
        SERVING_TEST(test_out_of_descriptors),
        SERVING_TEST(test_slot_forgets_its_last_connection),
        SERVING_TEST(test_close_tells_the_peer),
        SERVING_TEST(test_event_of_an_earlier_use),
        SERVING_TEST(test_numbers_differ),
        SERVING_TEST(test_one_owner),
        SERVING_TEST(test_release_reports_what_is_there),
        SERVING_TEST(test_hand_over_reports_again),
        SERVING_TEST(test_hand_over_of_a_new_one),
        SERVING_TEST(test_hand_over_of_a_late_body),
        SERVING_TEST(test_release_that_epoll_refuses),
        SERVING_TEST(test_linger),
        SERVING_TEST(test_no_event_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
