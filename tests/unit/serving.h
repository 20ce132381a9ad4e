/* SPDX-License-Identifier: MIT
 *
 * serving: a server without its threads, for the tests of server/'s files. The test itself takes
 * events from the epoll set, as a worker does, and is the web server at the other end of each
 * connection.
 */
#ifndef BBM_UNIT_SERVING_H
#define BBM_UNIT_SERVING_H

#include "metric.h"
#include "record_input.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "server/server_private.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The slots for connections; few, so that a test can use all of them. */
#define SLOTS 4

/* A moment that has passed, for deadlines; and one that does not come while a test runs. */
#define LONG_AGO  INT64_C(1)
#define LONG_TIME INT64_C(3600000)

#define BODY_MOST 64

static struct conf_fcgi serving_conf;
static struct server_calls serving_calls;
static struct listener serving_listener;
static struct server server;

/* ---- the application ---- */

/* What the callback has been given, and what it is to do. */
static struct {
    int calls;
    char paths[256]; /* of all answered requests, with a blank behind each */
    void *context;   /* of the last call, as all that follows */
    enum server_body body_state;
    char body[BODY_MOST + 1];
    size_t body_len;
    bool may_be_kept;
    size_t wanted;               /* bytes of a body that it needs */
    bool keep;                   /* it keeps a request that may be kept */
    size_t answer_len;           /* bytes in an answer, beyond its path */
    struct server_request *kept; /* NULL: none */
    void (*meanwhile)(void);     /* called once, within the next call; NULL: nothing */
} application;

static inline void application_write(struct server_request *request)
{
    static const char filler[1024];
    FCGX_Stream *out = request->fcgx.out;
    FCGX_FPrintF(out, "Status: 200 OK\r\n\r\n%s;", FCGX_GetParam("PATH_INFO", request->fcgx.envp));
    for (size_t left = application.answer_len; left > 0;) {
        size_t part = left < sizeof filler ? left : sizeof filler;
        FCGX_PutStr(filler, (int)part, out);
        left -= part;
    }
}

static inline enum server_outcome application_answer(void *context, struct server_request *request)
{
    const char *path = FCGX_GetParam("PATH_INFO", request->fcgx.envp);
    size_t used = strlen(application.paths);
    void (*meanwhile)(void) = application.meanwhile;
    application.meanwhile = NULL;
    if (meanwhile)
        meanwhile();
    application.calls++;
    application.context = context;
    application.body_state = request->body_state;
    application.body_len = request->body_len;
    assert_in_range(request->body_len, 0, BODY_MOST + 1);
    memcpy(application.body, request->body, request->body_len);
    application.may_be_kept = request->may_be_kept;
    if (request->body_state == SERVER_BODY_MORE && request->body_len < application.wanted) {
        request->body_wanted = application.wanted;
        return SERVER_NEEDS_BODY;
    }
    snprintf(application.paths + used, sizeof application.paths - used, "%s ", path);
    if (application.keep && request->may_be_kept) {
        application.kept = request;
        return SERVER_KEPT;
    }
    application_write(request);
    return SERVER_ANSWERED;
}

/* Answers the request that was kept. */
static inline void application_answer_kept(void)
{
    struct server_request *request = application.kept;
    assert_non_null(request);
    application.kept = NULL;
    application_write(request);
    server_answered(request);
}

/* ---- the server ---- */

static inline void serving_event(int *event, uint32_t events, uint64_t data)
{
    *event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(*event >= 0);
    assert_true(events == 0 || epoll_add(server.epoll, *event, events, data));
}

static inline void serving_worker(struct worker *worker, void *context)
{
    worker->server = &server;
    worker->pipe[0] = worker->pipe[1] = -1;
    worker->context = context;
    worker->request = request_new(&server);
    worker->body = malloc(BODY_MOST + 1);
    assert_non_null(worker->request);
    assert_non_null(worker->body);
}

static inline void serving_listen(void)
{
    char why[512];
    const struct conf conf = {.file = (char *)(uintptr_t) "config.yml", .fcgi = serving_conf};
    if (!listener_open(&serving_listener, &conf, why, sizeof why))
        fail_msg("%s", why);
    pthread_mutex_lock(&server.table_lock);
    listen_locked(&server);
    pthread_mutex_unlock(&server.table_lock);
    assert_true(server.listening);
}

/* For cmocka's setup of each test. One worker, with its own context, and behind it the overload
 * thread's. All times are so long that none passes while a test runs. */
static inline int serving_setup(void **state)
{
    static char path[sizeof unit_folder + 64];
    (void)state;
    alarm(60); /* where the server waits for a peer, which is this thread */
    snprintf(path, sizeof path, "%s/server.sock", unit_folder);
    server_block_signals();
    FCGX_Init();
    server_block_signals();
    log_setup(LOG_AUDIT_REFUSED, LOG_TEXT); /* silent */
    memset(&application, 0, sizeof application);
    in.len = 0;
    serving_conf = (struct conf_fcgi){.listen = path,
                                      .mode = 0600,
                                      .threads = 1,
                                      .connections = SLOTS,
                                      .timeout_ms = LONG_TIME,
                                      .queue_timeout_ms = 2 * LONG_TIME,
                                      .read_timeout_ms = 4 * LONG_TIME,
                                      .idle_timeout_ms = 8 * LONG_TIME,
                                      .drain_timeout_ms = LONG_TIME};
    serving_calls =
        (struct server_calls){.body_most = BODY_MOST,
                              .too_large_answer = "Status: 431 Too Large\r\n\r\ntoo large;",
                              .answer = application_answer};
    memset(&server, 0, sizeof server);
    server.conf = &serving_conf;
    server.calls = &serving_calls;
    server.listener = &serving_listener;
    server.free = NO_SLOT;
    pthread_mutex_init(&server.table_lock, NULL);
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.connections = calloc(SLOTS, sizeof *server.connections);
    server.workers = calloc(2, sizeof *server.workers);
    server.leader_pool = leader_pool_new(LEADER_POOL_LEADERS + 2);
    assert_true(server.epoll >= 0 && server.connections && server.workers && server.leader_pool);
    serving_event(&server.quit_event, EPOLLIN, EVENT_QUIT);
    serving_event(&server.probe_event, EPOLLIN | EPOLLET, EVENT_PROBE);
    serving_event(&server.wake_event, EPOLLIN | EPOLLET, EVENT_WAKE);
    serving_event(&server.overload_event, 0, 0);
    serving_worker(&server.workers[0], &server.workers[0]);
    serving_worker(&server.workers[1], &server.workers[1]);
    serving_listen();
    return 0;
}

static inline int serving_teardown(void **state)
{
    const int descriptors[] = {server.epoll, server.quit_event, server.wake_event,
                               server.probe_event, server.overload_event};
    (void)state;
    for (int64_t i = 0; i < atomic_load(&server.used); i++) {
        if (server.connections[i].fd >= 0)
            connection_close(&server, &server.connections[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        free(server.workers[i].request);
        free(server.workers[i].spare);
        free(server.workers[i].body);
        request_pipe_close(&server.workers[i]);
    }
    for (size_t i = 0; i < COUNT(descriptors); i++)
        close(descriptors[i]);
    free(server.workers);
    free(server.connections);
    leader_pool_free(server.leader_pool);
    pthread_mutex_destroy(&server.table_lock);
    listener_close(&serving_listener);
    alarm(0);
    return 0;
}

#define SERVING_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, serving_setup, serving_teardown)

/* ---- events ---- */

/* The data of the next event; EVENT_NONE: there is none. */
#define EVENT_NONE (UINT64_MAX - 100)

static inline uint64_t next_event(void)
{
    struct epoll_event event;
    int count = epoll_wait(server.epoll, &event, 1, 0);
    assert_true(count >= 0);
    return count == 0 ? EVENT_NONE : event.data.u64;
}

/* The event that an owned or waiting connection has in its present use. */
static inline uint64_t event_for(const struct connection *c)
{
    return CONNECTION_USE(atomic_load(&c->state)) << 32 | (uint64_t)(c - server.connections);
}

static inline void assert_event(const struct connection *c)
{
    assert_int_equal(next_event(), event_for(c));
}

static inline void assert_no_event(void)
{
    assert_int_equal(next_event(), EVENT_NONE);
}

/* Serves all events as a worker does, until there is none. Returns how many there were. */
static inline int serve(void)
{
    int events = 0;
    for (uint64_t event; (event = next_event()) != EVENT_NONE; events++) {
        assert_true(events < 10000);
        struct connection *c = connection_of_event(&server, event);
        if (c)
            input_serve(&server.workers[0], c);
    }
    return events;
}

static inline bool is_open(const struct connection *c)
{
    return c->fd >= 0;
}

/* No thread owns it: it waits in the epoll set. */
static inline bool is_released(const struct connection *c)
{
    return is_open(c) && !(atomic_load(&c->state) & CONNECTION_BUSY);
}

/* A moment is `ms` from now, or was so since `then`. */
static inline void assert_from_now(int64_t moment, int64_t then, int64_t ms)
{
    assert_in_range(moment, then + ms, clock_ms() + ms);
}

/* ---- the web server ---- */

/* Connects; the connection waits to be accepted. */
static inline int client_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    memcpy(address.sun_path, serving_conf.listen, strlen(serving_conf.listen) + 1);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Connects, and accepts that: the connection is the caller's to own. */
static inline struct connection *accepted(int *client)
{
    *client = client_connect();
    struct connection *c = connection_accept(&server);
    assert_non_null(c);
    return c;
}

static inline void client_send(int client, const void *bytes, size_t len)
{
    assert_int_equal(send(client, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL), len);
}

/* Sends the records that have been put, and begins others. */
static inline void client_send_records(int client)
{
    client_send(client, in.bytes, in.len);
    in.len = 0;
}

/* What has come from the server. */
struct answers {
    char text[1024]; /* of all STDOUT records */
    int ended;       /* END_REQUEST records */
    int management;  /* other records */
    bool closed;     /* and no more comes */
};

static inline void answers_add(struct answers *answers, const unsigned char *record, size_t content)
{
    size_t used = strlen(answers->text);
    if (record[1] == STDOUT)
        snprintf(answers->text + used, sizeof answers->text - used, "%.*s", (int)content,
                 record + 8);
    answers->ended += record[1] == END_REQUEST;
    answers->management += record[1] != STDOUT && record[1] != END_REQUEST;
}

/* Reads all that is there, which ends at the end of a record. */
static inline struct answers client_read(int client)
{
    static unsigned char bytes[256 * 1024];
    struct answers answers = {.closed = false};
    size_t len = 0;
    ssize_t got;
    while ((got = recv(client, bytes + len, sizeof bytes - len, MSG_DONTWAIT)) > 0)
        len += (size_t)got;
    answers.closed = got == 0 || errno == ECONNRESET;
    for (size_t at = 0, next; at < len; at = next) {
        assert_true(at + 8 <= len);
        size_t content = (size_t)bytes[at + 4] << 8 | bytes[at + 5];
        next = at + 8 + content + bytes[at + 6];
        assert_true(next <= len);
        answers_add(&answers, bytes + at, content);
    }
    return answers;
}

/* The answers to requests for these paths, in this order, are all that has come. */
static inline void assert_answers(int client, const char *const *paths, int count, bool closed)
{
    char expected[1024] = "";
    struct answers answers = client_read(client);
    for (int i = 0; i < count; i++) {
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "Status: 200 OK\r\n\r\n%s;", paths[i]);
    }
    assert_string_equal(answers.text, expected);
    assert_int_equal(answers.ended, count);
    assert_int_equal(answers.management, 0);
    assert_int_equal(answers.closed, closed);
}

static inline void assert_answer(int client, const char *path)
{
    assert_answers(client, &path, 1, false);
}

/* Nothing has come, and the connection is open. */
static inline void assert_silent(int client)
{
    assert_answers(client, NULL, 0, false);
}

static inline void assert_closed(int client)
{
    assert_answers(client, NULL, 0, true);
}

/* ---- requests ---- */

#define KEEP_CONNECTION 1U

static inline void put_begin(unsigned flags)
{
    const unsigned char responder[8] = {0, 1, (unsigned char)flags};
    put_record(BEGIN_REQUEST, responder, sizeof responder, 0);
}

/* A request up to the end of its parameters. */
static inline void put_params(const char *path, unsigned flags)
{
    char params[64];
    size_t len = strlen(path);
    int params_len = snprintf(params, sizeof params, "\x09%cPATH_INFO%s", (int)len, path);
    put_begin(flags);
    put_record(PARAMS, params, (size_t)params_len, 3);
    put_record(PARAMS, "", 0, 0);
}

static inline void put_body(const char *body)
{
    if (*body)
        put_record(STDIN, body, strlen(body), 5);
    put_record(STDIN, "", 0, 0);
}

/* A whole request, without a body. */
static inline void put_request(const char *path)
{
    put_params(path, KEEP_CONNECTION);
    put_body("");
}

/* ---- counters ---- */

/* How many connections were dropped for this reason, until now. */
static inline long dropped(const char *reason)
{
    char sample[96];
    snprintf(sample, sizeof sample, "\nbbm_fcgi_connections_dropped_total{reason=\"%s\"} ", reason);
    return metric(sample);
}

#endif
