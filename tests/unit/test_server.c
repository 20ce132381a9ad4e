/* SPDX-License-Identifier: MIT
 * The main thread of a server (server/server.c): signals, timer and stop. Each server runs in a
 * process of its own on a socket that it inherits, and the test is its web server and supervisor.
 */
#include "record_input.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* A test that waits for longer has failed. */
#define PATIENCE_MS 30000

/* What the two processes share. */
struct shared {
    atomic_bool started;
    atomic_bool answering; /* a request has come */
    atomic_bool may_answer;
    atomic_int
        stuck; /* calls of the timer that said that nothing goes on, and that something does */
    atomic_int going;
    atomic_int stopping;
    atomic_bool sigpipe_is_ignored;
};

static struct shared *shared;
static struct sockaddr_un address;
static struct conf_fcgi fcgi;
static int listening = -1;
static pid_t server;

/* ---- the server's process ---- */

static void *thread_new(void *of, bool overload)
{
    (void)overload;
    return of;
}

static void thread_free(void *context)
{
    (void)context;
}

static enum server_outcome answer(void *context, struct server_request *request)
{
    (void)context;
    atomic_store(&shared->answering, true);
    while (!atomic_load(&shared->may_answer))
        poll(NULL, 0, 1);
    FCGX_FPrintF(request->fcgx.out, "Status: 200 OK\r\n\r\n");
    return SERVER_ANSWERED;
}

static void on_thread(void *context, struct server *of)
{
    (void)context;
    (void)of;
}

static void on_started(void *of)
{
    struct sigaction action;
    (void)of;
    sigaction(SIGPIPE, NULL, &action);
    atomic_store(&shared->sigpipe_is_ignored, action.sa_handler == SIG_IGN);
    atomic_store(&shared->started, true);
}

static void on_timer(void *of, bool progress)
{
    (void)of;
    atomic_fetch_add(progress ? &shared->going : &shared->stuck, 1);
}

static void on_stopping(void *of)
{
    (void)of;
    atomic_fetch_add(&shared->stopping, 1);
}

static void on_nothing(void *of)
{
    (void)of;
}

/* Exit code of a server that could not start. */
#define NOT_STARTED 71

static void serve(void)
{
    char why[512];
    struct listener listener;
    const struct conf conf = {.file = (char *)(uintptr_t) "config.yml", .fcgi = fcgi};
    const struct server_calls calls = {
        .body_most = 64,
        .too_large_answer = "Status: 431 Too Large\r\n\r\n",
        .shared = shared,
        .thread_new = thread_new,
        .thread_free = thread_free,
        .answer = answer,
        .on_wake = on_thread,
        .on_busy_timer = on_thread,
        .on_started = on_started,
        .on_timer = on_timer,
        .on_reload = on_nothing,
        .on_stopping = on_stopping,
        .on_idle = on_nothing,
    };
    alarm(2 * PATIENCE_MS / 1000);
    server_block_signals();
    if (dup2(listening, STDIN_FILENO) != STDIN_FILENO)
        _exit(NOT_STARTED);
    close(listening);
    if (!listener_open(&listener, &conf, why, sizeof why) ||
        !server_run(&conf.fcgi, &listener, &calls, why, sizeof why))
        _exit(NOT_STARTED);
    _exit(EXIT_SUCCESS);
}

/* ---- the test's process ---- */

static bool is_set(atomic_bool *flag)
{
    int64_t end = clock_ms() + PATIENCE_MS;
    while (!atomic_load(flag) && clock_ms() < end)
        poll(NULL, 0, 1);
    return atomic_load(flag);
}

static bool is_counted(atomic_int *count, int more)
{
    int wanted = atomic_load(count) + more;
    int64_t end = clock_ms() + PATIENCE_MS;
    while (atomic_load(count) < wanted && clock_ms() < end)
        poll(NULL, 0, 1);
    return atomic_load(count) >= wanted;
}

/* Listens, and sets what the server is configured with. */
static int setup(void **state)
{
    (void)state;
    log_setup(LOG_AUDIT_REFUSED, LOG_TEXT); /* silent */
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/server.sock", unit_folder);
    listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listening, 16), 0);
    fcgi = (struct conf_fcgi){.threads = 1,
                              .connections = 4,
                              .timeout_ms = PATIENCE_MS,
                              .queue_timeout_ms = 2 * PATIENCE_MS,
                              .read_timeout_ms = PATIENCE_MS,
                              .idle_timeout_ms = PATIENCE_MS,
                              .drain_timeout_ms = 2 * PATIENCE_MS};
    in.len = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        server = 0;
    }
    if (listening >= 0)
        close(listening);
    listening = -1;
    unlink(address.sun_path);
    munmap(shared, sizeof *shared);
    return 0;
}

/* Starts a server, and waits until it serves. */
static void start(void)
{
    server = fork();
    assert_true(server >= 0);
    if (server == 0)
        serve();
    assert_true(is_set(&shared->started));
}

/* The server alone has the socket from now on. */
static void give_socket_away(void)
{
    close(listening);
    listening = -1;
}

/* 0, or the errno of connecting: EAGAIN where many wait to be accepted. */
static int try_connect(int *client)
{
    *client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(*client >= 0);
    return connect(*client, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
}

/* Sends a request on a new connection. */
static int client_ask(void)
{
    const unsigned char responder[8] = {0, 1, 0};
    int client;
    assert_int_equal(try_connect(&client), 0);
    in.len = 0;
    put_record(BEGIN_REQUEST, responder, sizeof responder, 0);
    put_record(PARAMS, "\x09\x02PATH_INFO/a", 13, 3);
    put_record(PARAMS, "", 0, 0);
    put_record(STDIN, "", 0, 0);
    assert_int_equal(send(client, in.bytes, in.len, MSG_NOSIGNAL), in.len);
    return client;
}

/* True where an answer comes. */
static bool is_answered(int client)
{
    char bytes[512];
    struct pollfd fd = {.fd = client, .events = POLLIN};
    return poll(&fd, 1, PATIENCE_MS) == 1 && recv(client, bytes, sizeof bytes, 0) > 0;
}

/* Waits for the server's end. Returns whether it has exited with success in time. */
static bool ends(void)
{
    int status = -1;
    int64_t end = clock_ms() + PATIENCE_MS;
    pid_t ended = 0;
    while (ended == 0 && clock_ms() < end) {
        ended = waitpid(server, &status, WNOHANG);
        poll(NULL, 0, 1);
    }
    if (ended == server)
        server = 0;
    return ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

/* ---- signals ---- */

/* A peer that goes away is no signal. */
static void test_signals(void **state)
{
    (void)state;
    start();
    assert_true(atomic_load(&shared->sigpipe_is_ignored));
    atomic_store(&shared->may_answer, true);
    int client = client_ask();
    assert_true(is_answered(client));
    kill(server, SIGTERM);
    assert_true(ends());
    assert_int_equal(atomic_load(&shared->stopping), 1);
    close(client);
}

/* ---- the timer ---- */

/* A worker that is at one request for longer than that may take makes no progress: a supervisor
 * takes that for a server that hangs. */
static void test_progress(void **state)
{
    (void)state;
    fcgi.timeout_ms = 1;
    fcgi.read_timeout_ms = 1;
    start();
    assert_true(is_counted(&shared->going, 1));
    assert_int_equal(atomic_load(&shared->stuck), 0);
    int client = client_ask();
    assert_true(is_counted(&shared->stuck, 1));
    atomic_store(&shared->may_answer, true);
    assert_true(is_counted(&shared->going, 2));
    close(client);
    kill(server, SIGTERM);
    assert_true(ends());
}

/* Another process on the inherited socket: waits for a connection, and dies before it accepts it.
 */
static void wait_and_die(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    bool good = epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event) == 0;
    atomic_store(&shared->started, true);
    _exit(good && epoll_wait(epoll, &event, 1, PATIENCE_MS) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* True where the process sleeps, which it does in epoll_wait(2) alone. */
static bool sleeps(pid_t process)
{
    char path[64];
    int64_t end = clock_ms() + PATIENCE_MS;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    while (clock_ms() < end) {
        char text[256];
        FILE *file = fopen(path, "re");
        const char *line = file ? fgets(text, sizeof text, file) : NULL;
        if (file)
            fclose(file);
        if (line && strstr(line, ") S "))
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

/* Its connection, whose only event it was given, is taken over. */
static void test_neighbour_dies(void **state)
{
    int status;
    (void)state;
    pid_t neighbour = fork();
    assert_true(neighbour >= 0);
    if (neighbour == 0)
        wait_and_die();
    assert_true(is_set(&shared->started));
    assert_true(sleeps(neighbour));
    atomic_store(&shared->started, false);
    atomic_store(&shared->may_answer, true);
    start();
    int client = client_ask();
    assert_int_equal(waitpid(neighbour, &status, 0), neighbour);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_SUCCESS);
    assert_true(is_answered(client));
    close(client);
    kill(server, SIGTERM);
    assert_true(ends());
}

/* ---- stop ---- */

/* New connections are refused at once, while a request in progress is answered. */
static void test_stop(void **state)
{
    int refused;
    int error = 0;
    (void)state;
    start();
    give_socket_away();
    int client = client_ask();
    assert_true(is_set(&shared->answering));
    kill(server, SIGTERM);
    for (int64_t end = clock_ms() + PATIENCE_MS; error != ECONNREFUSED && clock_ms() < end;) {
        error = try_connect(&refused);
        close(refused);
        poll(NULL, 0, 1);
    }
    assert_int_equal(error, ECONNREFUSED);
    atomic_store(&shared->may_answer, true);
    assert_true(is_answered(client));
    assert_true(ends());
    close(client);
}

/* A request that is not answered does not keep the process. */
static void test_stop_does_not_wait_forever(void **state)
{
    (void)state;
    fcgi.drain_timeout_ms = 50;
    start();
    int client = client_ask();
    assert_true(is_set(&shared->answering));
    kill(server, SIGTERM);
    assert_true(ends());
    close(client);
}

#define SERVER_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_signals),
        SERVER_TEST(test_progress),
        SERVER_TEST(test_neighbour_dies),
        SERVER_TEST(test_stop),
        SERVER_TEST(test_stop_does_not_wait_forever),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
