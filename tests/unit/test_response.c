/* SPDX-License-Identifier: MIT
 * Answers, as the bytes that leave for the web server. */
#include "threads.h"

#include "http/response.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* FastCGI 1.0, section 8. */
enum {
    STDOUT = 6
};

/* A request that libfcgi has read from one end of a pair of sockets; at the other is the
 * web server, who wants to keep the connection. */
static void accept_request(FCGX_Request *request, int ends[2])
{
    static const unsigned char records[] = {1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0,
                                            1, 4, 0, 1, 0, 0, 0, 0, 1, 5, 0, 1, 0, 0, 0, 0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(send(ends[1], records, sizeof records, 0), sizeof records);
    FCGX_InitRequest(request, 0, 0);
    request->ipcFd = ends[0];
    request->keepConnection = 1;
    request->listen_sock = -1;
    assert_int_equal(FCGX_Accept_r(request), 0);
}

/* What comes until the other end is closed, its STDOUT records put together. Closes the socket; the
 * caller frees the text. */
static char *received(int end)
{
    static unsigned char bytes[1024 * 1024];
    ssize_t len = recv(end, bytes, sizeof bytes, MSG_WAITALL);
    close(end);

    char *text = calloc(1, sizeof bytes);
    size_t text_len = 0;
    assert_non_null(text);
    for (ssize_t at = 0; at + 8 <= len;) {
        size_t content = (size_t)(bytes[at + 4] << 8 | bytes[at + 5]);
        if (bytes[at + 1] == STDOUT) {
            memcpy(text + text_len, bytes + at + 8, content);
            text_len += content;
        }
        at += 8 + (ssize_t)content + bytes[at + 6];
    }
    return text;
}

/* What the response sends; frees the response. The caller frees the text. */
static char *sent(struct response *response, bool head)
{
    int ends[2];
    int size = 1024 * 1024;
    FCGX_Request request;
    accept_request(&request, ends);
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_true(response_send(response, &request, head));
    FCGX_Finish_r(&request);
    close(ends[0]);
    response_free(response);
    return received(ends[1]);
}

static void assert_sent(struct response *response, bool head, const char *expected)
{
    char *text = sent(response, head);
    assert_string_equal(text, expected);
    free(text);
}

static struct response with_body(int status)
{
    struct response response = {.status = status, .body = json_object_new_object()};
    json_object_object_add(response.body, "a/b", json_object_new_string("\xC3\xA9"));
    return response;
}

#define BODY_HEADERS "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"

static void test_body(void **state)
{
    struct response response = with_body(200);
    (void)state;
    response_header(&response, "X-Request-Id", "abc");
    response_header(&response, "Allow", "GET, HEAD, OPTIONS");
    assert_sent(&response, false,
                "Status: 200 OK\r\nCache-Control: no-store\r\nX-Request-Id: abc\r\n"
                "Allow: GET, HEAD, OPTIONS\r\n" BODY_HEADERS "{\"a/b\":\"\xC3\xA9\"}");
}

/* A HEAD's answer gives the length of the body that it does not have. */
static void test_head(void **state)
{
    struct response response = with_body(200);
    (void)state;
    assert_sent(&response, true, "Status: 200 OK\r\nCache-Control: no-store\r\n" BODY_HEADERS);
}

static void test_no_body(void **state)
{
    struct response response = {.status = 204};
    (void)state;
    assert_sent(&response, false, "Status: 204 No Content\r\nCache-Control: no-store\r\n\r\n");
}

/* RFC 9110, 15.4.5: what describes the body is sent, the body is not. */
static void test_not_modified(void **state)
{
    struct response response = {.status = 304, .type = "text/css", .cache = "no-cache"};
    (void)state;
    response_header(&response, "ETag", "\"a\"");
    assert_sent(&response, false,
                "Status: 304 Not Modified\r\nCache-Control: no-cache\r\nETag: \"a\"\r\n\r\n");
}

static void test_other_type(void **state)
{
    struct response response = {
        .status = 200, .type = "text/css", .cache = "no-cache", .json = "a{}", .json_len = 3};
    (void)state;
    assert_sent(&response, false,
                "Status: 200 OK\r\nCache-Control: no-cache\r\nContent-Type: text/css\r\n"
                "Content-Length: 3\r\n\r\na{}");
}

/* A body that could not be made: the answer says so, and says it once. */
static void test_lost_body(void **state)
{
    (void)state;
    for (int status = 200; status <= 503; status += 303) {
        struct response response = {.status = status};
        if (status == 503)
            response_header(&response, "Retry-After", RESPONSE_RETRY_AFTER);
        assert_sent(
            &response, false,
            "Status: 503 Service Unavailable\r\nCache-Control: no-store\r\n"
            "Retry-After: 5\r\nContent-Type: application/json\r\nContent-Length: 135\r\n\r\n"
            "{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"service unavailable\","
            "\"detail\":\"out of memory; whether a change took effect is not known\"}]}");
    }
}

static void test_phrases(void **state)
{
    static const int statuses[] = {200, 204, 304, 400, 401, 404, 405, 408, 409, 413, 500, 503};
    (void)state;
    for (size_t i = 0; i < COUNT(statuses); i++) {
        struct response response = with_body(statuses[i]);
        char *text = sent(&response, false);
        int status = 0;
        char phrase[64] = "";
        assert_int_equal(sscanf(text, "Status: %d %63[^\r]", &status, phrase), 2);
        assert_int_equal(status, statuses[i]);
        assert_string_not_equal(phrase, "Unknown");
        free(text);
    }
}

/* A client that can put a line's end into a header could add another one, or a body. */
static void test_no_header_within_a_header(void **state)
{
    static const char *const values[] = {
        "a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\x7F", "\x01", "a\tb", "\r\n\r\n<html>"};
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        struct response response = {.status = 204};
        response_header(&response, "X-Evil", values[i]);
        assert_int_equal(response.headers_len, 0);
        response_header(&response, "X-Good", "1");
        assert_sent(&response, false,
                    "Status: 204 No Content\r\nCache-Control: no-store\r\nX-Good: 1\r\n\r\n");
    }
}

/* One that does not fit is left out whole; a later one that does is taken. */
static void test_too_many_headers(void **state)
{
    static char value[sizeof((struct response *)0)->headers];
    struct response response = {.status = 200};
    const size_t room = sizeof response.headers - 1 - strlen("X-Long: \r\n");
    (void)state;
    memset(value, 'v', room + 1);
    response_header(&response, "X-Long", value);
    assert_int_equal(response.headers_len, 0);
    value[room] = '\0';
    response_header(&response, "X-Long", value);
    assert_int_equal(response.headers_len, sizeof response.headers - 1);
    response_header(&response, "X", "");
    assert_int_equal(response.headers_len, sizeof response.headers - 1);
    response_free(&response);

    value[room - 10] = '\0';
    response = (struct response){.status = 204};
    response_header(&response, "X-Long", value);
    response_header(&response, "X-Long", "not ten characters");
    response_header(&response, "X", "fits");
    char *text = sent(&response, false);
    assert_string_equal(strstr(text, "v\r\n"), "v\r\nX: fits\r\n\r\n");
    free(text);
}

/* A body of any length comes whole, in records that a reader can separate. */
static void test_long_bodies(void **state)
{
    static const size_t lengths[] = {8191, 8192, 8193, 65527, 65528, 65529, 131056, 131057};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len = lengths[i];
        char *body = malloc(len + 1);
        assert_non_null(body);
        for (size_t at = 0; at < len; at++)
            body[at] = (char)('a' + at % 23);
        body[len] = '\0';
        struct response response = {.status = 200, .json = body, .json_len = len};
        char *text = sent(&response, false);
        const char *got = strstr(text, "\r\n\r\n");
        assert_non_null(got);
        assert_string_equal(got + 4, body);
        free(text);
        free(body);
    }
}

/* A peer that is gone makes response_send return false, and does not end the program. */
static void test_peer_gone(void **state)
{
    int ends[2];
    FCGX_Request request;
    struct response response = {.status = 200, .body = json_object_new_string("")};
    char *text = malloc(100001);
    (void)state;
    assert_non_null(text);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    json_object_set_string(response.body, text);
    accept_request(&request, ends);
    close(ends[1]);
    assert_false(response_send(&response, &request, false));
    FCGX_Finish_r(&request);
    close(ends[0]);
    response_free(&response);
    free(text);
}

/* ---- a peer that does not read ---- */

/* More than a socket takes. */
#define LONG_BODY ((size_t)700000)

/* A thread that sends a long body. */
struct sender {
    FCGX_Request request;
    char *body;
    _Atomic pid_t tid;
    bool good;
};

static void *send_long(void *argument)
{
    struct sender *sender = argument;
    struct response response = {.status = 200, .json = sender->body, .json_len = LONG_BODY};
    atomic_store(&sender->tid, gettid());
    sender->good = response_send(&response, &sender->request, false);
    FCGX_Finish_r(&sender->request);
    close(sender->request.ipcFd);
    return NULL;
}

static char *long_body(void)
{
    char *body = malloc(LONG_BODY + 1);
    assert_non_null(body);
    for (size_t at = 0; at < LONG_BODY; at++)
        body[at] = (char)('a' + at % 23);
    body[LONG_BODY] = '\0';
    return body;
}

static void limit_sending(int end, long ms)
{
    const struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    assert_int_equal(setsockopt(end, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
}

/* The thread that ends the request finds out why there is no answer. */
static void test_peer_that_does_not_read(void **state)
{
    int ends[2];
    FCGX_Request request;
    char *body = long_body();
    struct response response = {.status = 200, .json = body, .json_len = LONG_BODY};
    (void)state;
    accept_request(&request, ends);
    limit_sending(ends[0], 10);
    assert_false(response_send(&response, &request, false));
    assert_int_equal(FCGX_GetError(request.out), EAGAIN);
    FCGX_Finish_r(&request);
    close(ends[0]);
    close(ends[1]);
    free(body);
}

/* Of a record a part is sent when the time for it is over: the rest follows, and nothing is lost.
 */
static void test_peer_that_reads_late(void **state)
{
    int ends[2];
    pthread_t thread;
    struct sender sender = {.body = long_body()};
    (void)state;
    accept_request(&sender.request, ends);
    sender.request.ipcFd = ends[0];
    limit_sending(ends[0], 1000);
    assert_int_equal(pthread_create(&thread, NULL, send_long, &sender), 0);
    while (!thread_sleeps(atomic_load(&sender.tid)))
        sched_yield();
    long slept = thread_sleep_count(atomic_load(&sender.tid));
    while (thread_sleep_count(atomic_load(&sender.tid)) == slept)
        sched_yield();
    char *text = received(ends[1]);
    pthread_join(thread, NULL);
    assert_true(sender.good);
    const char *got = strstr(text, "\r\n\r\n");
    assert_non_null(got);
    assert_string_equal(got + 4, sender.body);
    free(text);
    free(sender.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_no_body),
        cmocka_unit_test(test_not_modified),
        cmocka_unit_test(test_other_type),
        cmocka_unit_test(test_lost_body),
        cmocka_unit_test(test_phrases),
        cmocka_unit_test(test_no_header_within_a_header),
        cmocka_unit_test(test_too_many_headers),
        cmocka_unit_test(test_long_bodies),
        cmocka_unit_test(test_peer_gone),
        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_peer_that_reads_late),
    };
    FCGX_Init();
    signal(SIGPIPE, SIG_IGN); /* as the server does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
