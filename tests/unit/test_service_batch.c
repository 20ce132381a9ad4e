/* SPDX-License-Identifier: MIT
 * Which requests share one handler's run, and what each of them is answered (http/service_batch.c).
 */
#include "asking.h"
#include "fake_time.h"

#define LIST "PATH_INFO=/v1/gitlab/background-migrations/"

/* Alone, it is a batch of one. One that may not be kept, or has a parameter, runs by itself. */
static void test_which_requests_share(void **state)
{
    (void)state;
    fcgi->may_be_kept = true;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_sent(200, "");
    /* While another batch runs, it waits. */
    struct coalesce_waiter other = {.handler = handle_all};
    assert_ptr_equal(coalesce_join(service.coalesce, &other, clock_ms()), &other);
    assert_int_equal(ANSWER(GET, LIST, "QUERY_STRING=n=5"), SERVER_ANSWERED);
    assert_int_equal(ANSWER(GET, ONE), SERVER_ANSWERED);
    fcgi->may_be_kept = false;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_int_equal(seen.handler_calls, 4);
    fcgi->may_be_kept = true;
    assert_int_equal(ANSWER(GET, LIST), SERVER_KEPT);
    assert_int_equal(seen.handler_calls, 4);
    assert_non_null(coalesce_clear(service.coalesce, clock_ms()));
}

/* Who has no token does not wait with others, nor get their answer. */
static void test_refused_request_does_not_share(void **state)
{
    struct coalesce_waiter other = {.handler = handle_all};
    (void)state;
    assert_ptr_equal(coalesce_join(service.coalesce, &other, clock_ms()), &other);
    fcgi->may_be_kept = true;
    seen.good = false;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_sent(401, "UNAUTHORIZED");
    assert_null(coalesce_clear(service.coalesce, clock_ms()));
}

/* ---- batches ---- */

static int ended;
static int woken;

void __wrap_server_answered(struct server_request *request);
void __wrap_server_wake_worker(struct server *server);

/* The server frees a kept request. */
void __wrap_server_answered(struct server_request *request)
{
    ended++;
    free(request);
}

void __wrap_server_wake_worker(struct server *server)
{
    (void)server;
    woken++;
}

/* Another request of its own, which waits for the batch that runs. */
static void keep_another(void)
{
    struct server_request *own = fcgi;
    fcgi = calloc(1, sizeof *fcgi + service_request_size());
    assert_non_null(fcgi);
    fcgi->may_be_kept = true;
    assert_int_equal(answer((char *[]){GET, LIST, NULL}), SERVER_KEPT);
    fcgi = own;
}

static struct coalesce_waiter running = {.handler = handle_all};

/* A batch runs, and two requests wait for the next one. */
static void keep_two(void)
{
    ended = woken = 0;
    assert_ptr_equal(coalesce_join(service.coalesce, &running, clock_ms()), &running);
    keep_another();
    keep_another();
    assert_int_equal(seen.sent, 0);
}

static void on_wake(void)
{
    unit_stderr_begin();
    service_on_wake(&thread, NULL);
    free(unit_stderr_end());
}

/* One run of the handler, and an answer for each. */
static void test_one_run_for_all(void **state)
{
    static char other;
    (void)state;
    keep_two();
    coalesce_end(service.coalesce, running.group);
    /* It runs on another thread than those that took the requests. */
    thread.store = (struct store *)(uintptr_t)&other;
    on_wake();
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(seen.sent, 2);
    assert_int_equal(seen.status, 200);
    assert_int_equal(ended, 2);
    assert_ptr_equal(seen.call.store, thread.store);
    /* Nobody waits any more. */
    on_wake();
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(woken, 0);
}

/* An error is the answer of each, too, with its detail and its reason. */
static void test_one_error_for_all(void **state)
{
    (void)state;
    keep_two();
    coalesce_end(service.coalesce, running.group);
    failing = true;
    on_wake();
    failing = false;
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(seen.sent, 2);
    assert_int_equal(seen.status, 503);
    assert_string_equal(seen.code, "UNAVAILABLE");
    assert_int_equal(ended, 2);
}

/* The one whose thread runs the batch is the server's to end. */
static void test_own_request_among_them(void **state)
{
    (void)state;
    keep_two();
    coalesce_end(service.coalesce, running.group);
    fcgi->may_be_kept = true;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(seen.sent, 3);
    assert_int_equal(ended, 2);
}

static void on_busy_timer(int64_t queue_timeout_ms)
{
    conf.fcgi.queue_timeout_ms = queue_timeout_ms;
    unit_stderr_begin();
    service_on_busy_timer(&thread, NULL);
    free(unit_stderr_end());
}

/* A long answer is made once, and written to each by a thread of its own. */
static void test_long_answer_for_each(void **state)
{
    (void)state;
    keep_two();
    coalesce_end(service.coalesce, running.group);
    answer_len = (size_t)1024 * 1024;
    fcgi->may_be_kept = true;
    /* This thread answers the first; its own request is left to another one. */
    assert_int_equal(ANSWER(GET, LIST), SERVER_KEPT);
    answer_len = 0;
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(seen.sent, 1);
    assert_int_equal(ended, 1);
    assert_int_equal(woken, 1);
    on_wake();
    assert_int_equal(seen.sent, 2);
    assert_int_equal(woken, 2);
    fcgi = calloc(1, sizeof *fcgi + service_request_size()); /* the server frees the kept one */
    assert_non_null(fcgi);
    on_wake();
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(seen.sent, 3);
    assert_int_equal(seen.status, 200);
    assert_int_equal(ended, 3);
    assert_int_equal(woken, 2);
}

/* While no worker takes them, the overload thread wakes one, and in the end refuses them without
 * the database. */
static void test_who_waits_for_too_long(void **state)
{
    long rejected = metric(REJECTED);
    (void)state;
    keep_two();
    on_busy_timer(60000);
    assert_int_equal(woken, 0);
    fake_time_pass(COALESCE_PATIENCE_MS);
    on_busy_timer(60000);
    assert_int_equal(woken, 1);
    assert_int_equal(seen.sent, 0);
    fake_time_pass(60000);
    on_busy_timer(60000);
    assert_int_equal(seen.handler_calls, 0);
    assert_int_equal(seen.sent, 2);
    assert_int_equal(seen.status, 503);
    assert_int_equal(ended, 2);
    assert_int_equal(metric(REJECTED), rejected + 2);
}

/* The next batch is for a worker to start, where somebody waits for it. */
static void test_next_batch_is_started(void **state)
{
    (void)state;
    ended = woken = 0;
    fcgi->may_be_kept = true;
    meanwhile = keep_another;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_int_equal(seen.handler_calls, 1);
    assert_int_equal(woken, 1);
    on_wake();
    assert_int_equal(seen.handler_calls, 2);
    assert_int_equal(ended, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKING_TEST(test_which_requests_share),   ASKING_TEST(test_refused_request_does_not_share),
        ASKING_TEST(test_one_run_for_all),        ASKING_TEST(test_one_error_for_all),
        ASKING_TEST(test_own_request_among_them), ASKING_TEST(test_who_waits_for_too_long),
        ASKING_TEST(test_next_batch_is_started),  ASKING_TEST(test_long_answer_for_each),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
