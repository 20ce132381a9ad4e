/* SPDX-License-Identifier: MIT
 * The overload thread: which requests it answers, which it leaves to the workers, and when it
 * sleeps. The test's own thread says which workers are busy. */
#include "serving.h"

#include <poll.h>
#include <semaphore.h>
#include <time.h>

static struct worker *worker;
static struct worker *overload;
static pthread_t thread;
static sem_t looks; /* one for each look of the overload thread */

static void on_busy_timer(void *context, struct server *of)
{
    if (context == overload && of == &server)
        sem_post(&looks);
}

/* Waits until the overload thread has looked this often. */
static void await_looks(int count)
{
    while (count > 0) {
        if (sem_wait(&looks) == 0)
            count--;
    }
}

/* Until it has looked once from start to end since now. */
static void await_whole_look(void)
{
    while (sem_trywait(&looks) == 0)
        continue;
    await_looks(2);
}

static void worker_busy_since(int64_t since)
{
    atomic_store(&worker->busy_since, since);
    overload_wake(&server);
}

static int start(void **state, int64_t queue_timeout_ms)
{
    serving_setup(state);
    worker = &server.workers[0];
    overload = &server.workers[1];
    serving_calls.on_busy_timer = on_busy_timer;
    serving_conf.queue_timeout_ms = queue_timeout_ms;
    assert_int_equal(sem_init(&looks, 0, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, overload_run, overload), 0);
    return 0;
}

/* What waits at all waits for too long. */
static int setup(void **state)
{
    return start(state, 1);
}

/* Nothing waits for too long. */
static int setup_patient(void **state)
{
    return start(state, LONG_TIME);
}

static int teardown(void **state)
{
    event_signal(server.quit_event);
    pthread_join(thread, NULL);
    sem_destroy(&looks);
    return serving_teardown(state);
}

/* A connection with a whole request, which waits to be accepted. */
static int asking(const char *path)
{
    int client = client_connect();
    in.len = 0;
    put_request(path);
    client_send_records(client);
    return client;
}

static void await_input(int client)
{
    struct pollfd event = {.fd = client, .events = POLLIN};
    assert_int_equal(poll(&event, 1, -1), 1);
}

/* ---- tests ---- */

/* The worker is at one request for too long: others are answered in its place, also such that came
 * on a connection that was there before. */
static void test_answers_what_waits_for_too_long(void **state)
{
    (void)state;
    worker_busy_since(LONG_AGO);
    int client[2];
    client[0] = asking("/a");
    await_input(client[0]);
    assert_answer(client[0], "/a");
    await_whole_look();
    assert_ptr_equal(application.context, overload);
    client[1] = asking("/b");
    await_input(client[1]);
    assert_answer(client[1], "/b");
    put_request("/c");
    client_send_records(client[0]);
    await_input(client[0]);
    assert_answer(client[0], "/c");
    atomic_store(&worker->busy_since, 0);
    await_whole_look();
    close(client[0]);
    close(client[1]);
}

/* A worker becomes free while this thread waits for requests in its place: the next ones are the
 * workers' again. */
static void test_leaves_requests_to_a_free_worker(void **state)
{
    (void)state;
    worker_busy_since(LONG_AGO);
    await_looks(5); /* two until it answers in their place, and some there */
    atomic_store(&worker->busy_since, 0);
    int client = asking("/a");
    await_whole_look();
    assert_silent(client);
    assert_int_equal(application.calls, 0);
    assert_true(serve() > 0);
    assert_answer(client, "/a");
    assert_ptr_equal(application.context, worker);
    close(client);
}

/* No worker is free, and none for too long: what comes waits for the workers in one queue, with the
 * queue probe behind it. */
static void test_queue_probe(void **state)
{
    int64_t then = clock_ms();
    (void)state;
    int client = asking("/a");
    await_looks(2); /* with a free worker */
    assert_int_equal(atomic_load(&server.probe_sent), 0);
    assert_int_equal(connections_open(&server), 0);
    worker_busy_since(clock_ms() + LONG_TIME); /* never for long */
    await_whole_look();
    assert_in_range(atomic_load(&server.probe_sent), then, clock_ms());
    assert_int_equal(application.calls, 0);
    assert_silent(client);
    /* One probe is enough. */
    int64_t sent = atomic_load(&server.probe_sent);
    await_whole_look();
    assert_int_equal(atomic_load(&server.probe_sent), sent);

    atomic_store(&worker->busy_since, 0);
    await_whole_look();
    assert_true(serve() > 0);
    assert_answer(client, "/a");
    assert_ptr_equal(application.context, worker);
    assert_int_equal(atomic_load(&server.probe_sent), 0); /* it has reached a worker */
    close(client);
}

/* A worker that is at one request for longer is blocked: all others may lead. */
static void test_blocked_worker_lets_all_lead(void **state)
{
    (void)state;
    worker_busy_since(LONG_AGO);
    await_whole_look();
    for (size_t i = 0; i < LEADER_POOL_LEADERS + 2; i++)
        assert_true(leader_pool_join(server.leader_pool, i));
    atomic_store(&worker->busy_since, 0);
    await_whole_look();
}

static void await_sleep(void)
{
    while (!atomic_load(&server.overload_sleeps)) {
        struct timespec patience;
        clock_gettime(CLOCK_REALTIME, &patience);
        patience.tv_sec++;
        sem_timedwait(&looks, &patience);
    }
    while (sem_trywait(&looks) == 0)
        continue;
}

/* At rest it costs nothing, and the first busy worker wakes it. */
static void test_sleeps_while_nobody_is_busy(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        await_sleep();
        worker_busy_since(clock_ms() + LONG_TIME);
        await_looks(1);
        assert_false(atomic_load(&server.overload_sleeps));
        atomic_store(&worker->busy_since, 0);
    }
}

/* Also while it answers in the workers' place. */
static void test_ends_while_overloaded(void **state)
{
    (void)state;
    worker_busy_since(LONG_AGO);
    int client = asking("/a");
    await_input(client);
    close(client); /* teardown waits for the thread's end */
}

/* It does not accept at a stop: those that wait are the main thread's to accept. */
static void test_stopping_accepts_nobody(void **state)
{
    (void)state;
    atomic_store(&server.stopping, true);
    int client = asking("/a");
    worker_busy_since(clock_ms() + LONG_TIME);
    await_whole_look();
    assert_int_equal(connections_open(&server), 0);
    assert_int_equal(atomic_load(&server.probe_sent), 0);
    atomic_store(&worker->busy_since, 0);
    close(client);
}

#define OVERLOAD_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define PATIENT_TEST(function)  cmocka_unit_test_setup_teardown(function, setup_patient, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVERLOAD_TEST(test_answers_what_waits_for_too_long),
        OVERLOAD_TEST(test_leaves_requests_to_a_free_worker),
        PATIENT_TEST(test_queue_probe),
        OVERLOAD_TEST(test_blocked_worker_lets_all_lead),
        PATIENT_TEST(test_sleeps_while_nobody_is_busy),
        OVERLOAD_TEST(test_ends_while_overloaded),
        PATIENT_TEST(test_stopping_accepts_nobody),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
