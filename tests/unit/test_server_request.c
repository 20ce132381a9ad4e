/* SPDX-License-Identifier: MIT
 * One request from libfcgi to the end of its answer (server/request.c): bodies, kept requests, and
 * whether the connection stays. */
#include "serving.h"

#include <sys/time.h>

static int client;

/* ---- in place of others ---- */

void __wrap_server_may_block(struct server_request *request);

/* How often the thread said that it may block. */
static int may_block;

void __wrap_server_may_block(struct server_request *request)
{
    assert_ptr_equal(request, server.workers[0].request);
    may_block++;
}

/* Serves the records that have been put, on an owned connection. */
static enum served serve_records(struct connection *c, size_t *used)
{
    struct record_request scanned = record_scan(in.bytes, in.len);
    *used = 0;
    return request_serve(&server.workers[0], c, in.bytes, in.len, &scanned, used);
}

static enum served serve_one(struct connection *c)
{
    size_t used;
    enum served served = serve_records(c, &used);
    assert_int_equal(used, in.len);
    in.len = 0;
    return served;
}

/* ---- the pipe ---- */

/* The largest request goes in without a wait, for nobody reads meanwhile. */
static void test_pipe_takes_the_largest_request(void **state)
{
    struct worker *worker = &server.workers[0];
    static char bytes[RECORD_REQUEST_MOST];
    (void)state;
    assert_true(request_pipe_open(worker));
    assert_int_equal(fcntl(worker->pipe[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(write(worker->pipe[1], bytes, sizeof bytes), sizeof bytes);
    /* It is open already. */
    int ends[2] = {worker->pipe[0], worker->pipe[1]};
    assert_true(request_pipe_open(worker));
    assert_int_equal(worker->pipe[0], ends[0]);
    assert_int_equal(worker->pipe[1], ends[1]);
    request_pipe_close(worker);
    assert_int_equal(worker->pipe[0], -1);
    assert_int_equal(worker->pipe[1], -1);
    assert_int_equal(fcntl(ends[0], F_GETFD), -1);
    request_pipe_close(worker);
}

/* libfcgi finds no request in the pipe: the connection is closed, and the next request has a new
 * pipe. */
static void test_request_that_libfcgi_refuses(void **state)
{
    struct worker *worker = &server.workers[0];
    (void)state;
    struct connection *c = accepted(&client);
    const struct record_request scanned = {.verdict = RECORD_WHOLE, .id = ID, .params_len = 16};
    size_t used;
    put_request("/a");
    assert_true(request_pipe_open(worker));
    /* Nothing of the request comes through. */
    close(worker->pipe[1]);
    worker->pipe[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(request_serve(worker, c, in.bytes, in.len, &scanned, &used), SERVED_LAST);
    assert_int_equal(application.calls, 0);
    assert_int_equal(worker->pipe[0], -1);
    assert_int_equal(worker->pipe[1], -1);
    assert_int_equal(serve_one(c), SERVED);
    assert_answer(client, "/a");
    close(client);
}

/* ---- how much of the input is the request's ---- */

static void test_whole_request(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    put_params("/a", KEEP_CONNECTION);
    put_body("body");
    assert_int_equal(serve_one(c), SERVED);
    assert_answer(client, "/a");
    assert_int_equal(application.body_state, SERVER_BODY_WHOLE);
    assert_int_equal(application.body_len, 4);
    assert_memory_equal(application.body, "body", 4);
    assert_ptr_equal(application.context, &server.workers[0]);
    assert_true(c->rest.ended);
    close(client);
}

static void test_next_request_is_left(void **state)
{
    size_t used;
    (void)state;
    struct connection *c = accepted(&client);
    put_request("/a");
    size_t len = in.len;
    put_request("/b");
    assert_int_equal(serve_records(c, &used), SERVED);
    assert_int_equal(used, len);
    assert_answer(client, "/a");
    close(client);
}

/* Its body goes on: what still comes is known not to be a request. */
static void test_request_without_its_body(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    put_params("/a", KEEP_CONNECTION);
    put_header(STDIN, ID, 1000, 0);
    put("0123456789", 10);
    assert_int_equal(serve_one(c), SERVED);
    assert_answer(client, "/a");
    assert_int_equal(application.body_state, SERVER_BODY_MORE);
    assert_int_equal(c->rest.id, ID);
    assert_int_equal(c->rest.left, 990);
    assert_false(c->rest.ended);
    close(client);
}

/* The application has no more of a body than it said that matters, and one byte: it sees that
 * there is more. */
static void test_long_body_is_cut(void **state)
{
    char body[2 * BODY_MOST + 1];
    (void)state;
    struct connection *c = accepted(&client);
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    put_params("/a", KEEP_CONNECTION);
    put_body(body);
    assert_int_equal(serve_one(c), SERVED);
    assert_int_equal(application.body_len, BODY_MOST + 1);
    assert_int_equal(application.body_state, SERVER_BODY_WHOLE);
    close(client);
}

static void test_body_beyond_the_bound(void **state)
{
    static const char filler[32000];
    size_t used;
    (void)state;
    struct connection *c = accepted(&client);
    put_params("/a", KEEP_CONNECTION);
    while (in.len < RECORD_REQUEST_MOST)
        put_record(STDIN, filler, sizeof filler, 0);
    in.len = RECORD_REQUEST_MOST;
    assert_int_equal(serve_records(c, &used), SERVED);
    assert_int_equal(used, in.len);
    assert_int_equal(application.body_state, SERVER_BODY_LONG);
    assert_false(c->rest.ended);
    in.len = 0;
    close(client);
}

/* ---- what the application needs first ---- */

static void test_needs_more_of_the_body(void **state)
{
    size_t used;
    (void)state;
    struct connection *c = accepted(&client);
    int64_t deadline = atomic_load(&c->deadline);
    application.wanted = 10;
    put_params("/a", KEEP_CONNECTION);
    put_record(STDIN, "part", 4, 0);
    assert_int_equal(serve_records(c, &used), SERVED_PART);
    assert_int_equal(c->body_wanted, 10);
    assert_int_equal(atomic_load(&c->deadline), deadline);
    assert_int_equal(c->rest.id, 0); /* it is not answered: all of it will be scanned again */
    assert_false(c->served);
    assert_silent(client);
    put_record(STDIN, "and the rest", 12, 0);
    put_record(STDIN, "", 0, 0);
    assert_int_equal(serve_one(c), SERVED);
    assert_int_equal(c->body_wanted, 0);
    assert_memory_equal(application.body, "partand the rest", 16);
    assert_answer(client, "/a");
    close(client);
}

/* ---- whether the connection stays ---- */

static void test_stays(void **state)
{
    int64_t then = clock_ms();
    (void)state;
    struct connection *c = accepted(&client);
    c->begun = true;
    c->discarded = 100;
    put_request("/a");
    assert_int_equal(serve_one(c), SERVED);
    assert_answer(client, "/a");
    assert_false(c->lingers);
    assert_true(c->served);
    assert_false(c->begun);
    assert_int_equal(c->discarded, 0);
    assert_from_now(atomic_load(&c->deadline), then, serving_conf.idle_timeout_ms);
    close(client);
}

static void test_web_server_does_not_keep_it(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    put_params("/a", 0);
    put_body("");
    assert_int_equal(serve_one(c), SERVED_LAST);
    assert_answer(client, "/a");
    close(client);
}

/* Closed at once, the peer's kernel could drop the answer: something may still come. */
static void test_not_kept_within_its_body(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    put_params("/a", 0);
    assert_int_equal(serve_one(c), SERVED);
    assert_true(c->lingers);
    assert_answers(client, (const char *const[]){"/a"}, 1, true);
    close(client);
}

static void test_stopping_keeps_none(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    atomic_store(&server.stopping, true);
    put_request("/a");
    assert_int_equal(serve_one(c), SERVED_LAST);
    assert_answer(client, "/a");
    close(client);
}

static void test_late_body_keeps_none(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    c->body_late = true;
    application.wanted = 10;
    put_params("/a", KEEP_CONNECTION);
    assert_int_equal(serve_one(c), SERVED);
    assert_int_equal(application.body_state, SERVER_BODY_LATE);
    assert_true(c->lingers);
    close(client);
}

/* ---- peers that do not read ---- */

static void test_answer_that_nobody_reads(void **state)
{
    const struct timeval patience = {.tv_usec = 1000};
    long before = dropped("answer_timeout");
    (void)state;
    struct connection *c = accepted(&client);
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    application.answer_len = 4 * 1024 * 1024;
    put_request("/a");
    assert_int_equal(serve_one(c), SERVED_LAST);
    assert_int_equal(dropped("answer_timeout"), before + 1);
    close(client);
}

/* That is no timeout. */
static void test_peer_is_gone(void **state)
{
    long before = dropped("answer_timeout");
    (void)state;
    struct connection *c = accepted(&client);
    close(client);
    put_request("/a");
    assert_int_equal(serve_one(c), SERVED_LAST);
    assert_int_equal(application.calls, 1);
    assert_int_equal(dropped("answer_timeout"), before);
}

/* ---- kept requests ---- */

static struct connection *kept(void)
{
    struct connection *c = accepted(&client);
    application.keep = true;
    put_request("/kept");
    may_block = 0;
    assert_int_equal(serve_one(c), SERVED_LATER);
    assert_int_equal(may_block, 0);
    assert_non_null(application.kept);
    assert_false(is_released(c));
    assert_silent(client);
    return c;
}

/* The worker goes on meanwhile; the connection waits for its next request when it is answered. */
static void test_kept_request(void **state)
{
    (void)state;
    struct connection *c = kept();
    int other;
    application.keep = false;
    struct connection *next = accepted(&other);
    put_request("/other");
    assert_int_equal(serve_one(next), SERVED);
    assert_answer(other, "/other");

    application_answer_kept();
    assert_answer(client, "/kept");
    assert_true(is_released(c));
    put_request("/more");
    client_send_records(client);
    assert_int_equal(serve(), 1);
    assert_answer(client, "/more");
    close(other);
    close(client);
}

/* The event of what came meanwhile was taken: a worker gets it again. */
static void test_input_while_a_request_is_kept(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    assert_true(connection_release(&server, c));
    put_request("/kept");
    client_send_records(client);
    application.keep = true;
    assert_int_equal(serve(), 1);
    assert_non_null(application.kept);
    application.keep = false;
    put_request("/more");
    client_send_records(client);
    assert_int_equal(serve(), 1);
    assert_silent(client);
    application_answer_kept();
    assert_answer(client, "/kept");
    assert_int_equal(serve(), 1);
    assert_answer(client, "/more");
    close(client);
}

static void test_kept_request_without_a_peer(void **state)
{
    (void)state;
    struct connection *c = kept();
    close(client);
    application_answer_kept();
    assert_false(is_open(c));
    assert_int_equal(connections_open(&server), 0);
}

static void test_kept_request_at_a_stop(void **state)
{
    (void)state;
    struct connection *c = kept();
    atomic_store(&server.stopping, true);
    application_answer_kept();
    assert_false(is_open(c));
    assert_answers(client, (const char *const[]){"/kept"}, 1, true);
    close(client);
}

/* Another request of this connection waits for this thread alone, which may block meanwhile: other
 * connections go to another one. */
static void test_not_kept_with_more_input(void **state)
{
    size_t used;
    (void)state;
    struct connection *c = accepted(&client);
    application.keep = true;
    put_request("/a");
    put_request("/b");
    may_block = 0;
    assert_int_equal(serve_records(c, &used), SERVED);
    assert_false(application.may_be_kept);
    assert_int_equal(may_block, 1);
    close(client);
}

/* The answer's thread would wait for a peer that has not read the last answer. */
static void test_not_kept_with_an_unread_answer(void **state)
{
    (void)state;
    struct connection *c = accepted(&client);
    put_request("/a");
    assert_int_equal(serve_one(c), SERVED);
    application.keep = true;
    put_request("/b");
    assert_int_equal(serve_one(c), SERVED);
    assert_false(application.may_be_kept);
    client_read(client);
    put_request("/c");
    assert_int_equal(serve_one(c), SERVED_LATER);
    application_answer_kept();
    assert_answer(client, "/c");
    close(client);
}

/* ---- while it is answered ---- */

static struct connection *answered;
static int64_t deadline_meanwhile;
static int64_t busy_meanwhile;

static void look_meanwhile(void)
{
    deadline_meanwhile = atomic_load(&answered->deadline);
    busy_meanwhile = atomic_load(&server.workers[0].busy_since);
}

/* The deadline of its connection cuts an answer that takes too long; the time that a worker is
 * at one request starts with each. */
static void test_times_while_it_is_answered(void **state)
{
    int64_t then = clock_ms();
    (void)state;
    answered = accepted(&client);
    application.meanwhile = look_meanwhile;
    atomic_store(&server.workers[0].busy_since, LONG_AGO);
    put_request("/a");
    assert_int_equal(serve_one(answered), SERVED);
    assert_from_now(deadline_meanwhile, then,
                    serving_conf.timeout_ms + serving_conf.read_timeout_ms);
    assert_from_now(busy_meanwhile, then, 0);
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(test_pipe_takes_the_largest_request),
        SERVING_TEST(test_request_that_libfcgi_refuses),
        SERVING_TEST(test_whole_request),
        SERVING_TEST(test_next_request_is_left),
        SERVING_TEST(test_request_without_its_body),
        SERVING_TEST(test_long_body_is_cut),
        SERVING_TEST(test_body_beyond_the_bound),
        SERVING_TEST(test_needs_more_of_the_body),
        SERVING_TEST(test_stays),
        SERVING_TEST(test_web_server_does_not_keep_it),
        SERVING_TEST(test_not_kept_within_its_body),
        SERVING_TEST(test_stopping_keeps_none),
        SERVING_TEST(test_late_body_keeps_none),
        SERVING_TEST(test_answer_that_nobody_reads),
        SERVING_TEST(test_peer_is_gone),
        SERVING_TEST(test_kept_request),
        SERVING_TEST(test_input_while_a_request_is_kept),
        SERVING_TEST(test_kept_request_without_a_peer),
        SERVING_TEST(test_kept_request_at_a_stop),
        SERVING_TEST(test_not_kept_with_more_input),
        SERVING_TEST(test_not_kept_with_an_unread_answer),
        SERVING_TEST(test_times_while_it_is_answered),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
