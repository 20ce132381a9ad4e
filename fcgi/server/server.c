/* SPDX-License-Identifier: MIT
 * Start, signals, timer and stop: what the main thread does. */
#include "server/server_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* How often the timer runs. */
#define TIMER_MS 500

/* After this time without a request, on_idle is called. */
#define IDLE_MS 500

/* How often a stop checks whether all requests are answered. */
#define DRAIN_MS 10

bool event_signal(int event)
{
    const uint64_t one = 1;
    ssize_t wrote;
    while ((wrote = write(event, &one, sizeof one)) < 0 && errno == EINTR)
        continue;
    return wrote >= 0;
}

bool server_fail(struct server *server, const char *what, int error, const char *remedy)
{
    snprintf(server->why, sizeof server->why, "%s: %s%s", what, strerror(error), remedy);
    return false;
}

/* ---- signals ---- */

/* Those that the main thread waits for. */
static void signals_of_server(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGQUIT);
    sigaddset(signals, SIGUSR1);
    sigaddset(signals, SIGHUP);
}

void server_block_signals(void)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t signals;
    signals_of_server(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* libfcgi's own handlers, if they ever ran, would end all its reading for good. */
static void init_libfcgi(void)
{
    server_block_signals();
    FCGX_Init(); /* sets handlers, SIGPIPE's among them */
    server_block_signals();
}

/* Waits for a signal or `ms`; returns the signal, or 0. */
static int wait_signal(const sigset_t *signals, long ms)
{
    const struct timespec patience = {ms / 1000, ms % 1000 * 1000000};
    int signal = sigtimedwait(signals, NULL, &patience);
    return signal < 0 ? 0 : signal;
}

/* ---- the timer ---- */

/* When the last connection was released. */
static int64_t last_request(struct server *server)
{
    int64_t last = 0;
    int64_t used = atomic_load(&server->used);
    for (int64_t i = 0; i < used; i++) {
        int64_t last_used = atomic_load(&server->connections[i].last_used);
        last = last_used > last ? last_used : last;
    }
    return last;
}

/* True where a worker is free, or is at a request for no longer than that may take. */
static bool makes_progress(const struct server *server, int64_t now)
{
    int64_t most = server->conf->timeout_ms + 2 * server->conf->read_timeout_ms;
    return !are_workers_busy_since(server, now - most - 1);
}

/* Another process on the same socket may have died with the one event that a new connection
 * causes (EPOLLEXCLUSIVE). Added again, the listener is reported again. */
static void renew_listening(struct server *server)
{
    if (server->listener->inherited)
        listen_pause(server);
    pthread_mutex_lock(&server->table_lock);
    listen_locked(server);
    pthread_mutex_unlock(&server->table_lock);
}

/* Runs until a signal to stop comes. */
static void serve(struct server *server, const sigset_t *signals)
{
    const struct server_calls *calls = server->calls;
    int64_t idle = clock_ms(); /* when on_idle was called last */
    int64_t next = clock_ms() + TIMER_MS;
    for (;;) {
        int64_t left = next - clock_ms();
        int signal = left > 0 ? wait_signal(signals, left) : 0;
        if (signal == SIGHUP)
            calls->on_reload(calls->shared);
        else if (signal != 0)
            return;
        int64_t now = clock_ms();
        if (now < next)
            continue;
        next = now + TIMER_MS;
        int64_t last = last_request(server);
        deadlines_enforce(server);
        renew_listening(server);
        calls->on_timer(calls->shared, makes_progress(server, now));
        if (last > idle && now >= last + IDLE_MS) {
            calls->on_idle(calls->shared);
            idle = now;
        }
    }
}

/* ---- stop ---- */

/* Accepts the connections that wait, and then no more. On a socket of our own no other process
 * would answer them, and on an inherited one perhaps none. Then the sockets are closed while
 * requests are still in progress, so that new connections go to another process, or are refused,
 * and do not wait for a process that ends. */
static void stop_listening(struct server *server)
{
    struct connection *c;
    listen_pause(server);
    listener_unlink(server->listener);
    while ((c = connection_accept(server)))
        connection_hand_over(server, c);
    listener_replace(server->listener);
}

/* Waits for the requests in progress. False where fcgi.draintimeout was not enough. */
static bool drain(struct server *server, const sigset_t *signals)
{
    int64_t end = clock_ms() + server->conf->drain_timeout_ms;
    while (connections_open(server) > 0) {
        if (clock_ms() >= end)
            return false;
        wait_signal(signals, DRAIN_MS);
        deadlines_enforce(server);
    }
    return true;
}

static void stop(struct server *server, const sigset_t *signals)
{
    log_message(LOG_INFO, "stopping: no new connections, finishing requests in progress");
    server->calls->on_stopping(server->calls->shared);
    atomic_store(&server->stopping, true);
    stop_listening(server);
    if (drain(server, signals))
        return;
    /* Nobody waits for threads that still wait for the database: they end with the process. */
    log_message(LOG_WARN, "stopped with %u connections still open", connections_open(server));
    log_stop(SERVER_LOG_STOP_MS);
    _exit(EXIT_SUCCESS);
}

static void stop_threads(struct server *server, int64_t count)
{
    leader_pool_end(server->leader_pool);
    event_signal(server->quit_event);
    for (int64_t i = 0; i < count; i++)
        worker_join(&server->workers[i]);
}

/* ---- start ---- */

static void server_destroy(struct server *server)
{
    const int descriptors[] = {server->epoll, server->quit_event, server->wake_event,
                               server->probe_event, server->overload_event};
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++) {
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    }
    free(server->workers);
    free(server->connections);
    leader_pool_free(server->leader_pool);
    pthread_mutex_destroy(&server->table_lock);
}

/* Makes an eventfd, and adds it to the epoll set where `events` are given. */
static bool open_event(struct server *server, int *event, uint32_t events, uint64_t data)
{
    *event = eventfd(0, EFD_CLOEXEC);
    return (*event >= 0 && (events == 0 || epoll_add(server->epoll, *event, events, data))) ||
           server_fail(server, "cannot make an eventfd", errno, "");
}

static bool server_init(struct server *server)
{
    const struct conf_fcgi *conf = server->conf;
    size_t threads = (size_t)conf->threads + 1; /* the overload thread is the last */
    pthread_mutex_init(&server->table_lock, NULL);
    server->quit_event = server->wake_event = -1;
    server->probe_event = server->overload_event = -1;
    server->free = NO_SLOT;
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        return server_fail(server, "cannot make an epoll set", errno, "");
    server->connections = calloc((size_t)conf->connections, sizeof *server->connections);
    server->leader_pool = leader_pool_new(threads);
    server->workers = calloc(threads, sizeof *server->workers);
    if (!server->connections || !server->leader_pool || !server->workers)
        return server_fail(server, "cannot start", ENOMEM, "");
    return open_event(server, &server->quit_event, EPOLLIN, EVENT_QUIT) &&
           open_event(server, &server->probe_event, EPOLLIN | EPOLLET, EVENT_PROBE) &&
           open_event(server, &server->wake_event, EPOLLIN | EPOLLET, EVENT_WAKE) &&
           open_event(server, &server->overload_event, 0, 0);
}

/* Starts the threads; returns how many run. */
static int64_t start_threads(struct server *server)
{
    int64_t started = 0;
    for (; started <= server->conf->threads; started++) {
        struct worker *worker = &server->workers[started];
        worker->server = server;
        if (!worker_start(worker, started == server->conf->threads))
            break;
    }
    return started;
}

static bool start_listening(struct server *server)
{
    pthread_mutex_lock(&server->table_lock);
    listen_locked(server);
    bool listening = server->listening;
    int error = errno;
    pthread_mutex_unlock(&server->table_lock);
    return listening || server_fail(server, "cannot wait for connections", error, "");
}

static bool run(struct server *server, const sigset_t *signals)
{
    int64_t started = start_threads(server);
    bool good = started == server->conf->threads + 1 && start_listening(server);
    if (good) {
        server->calls->on_started(server->calls->shared);
        serve(server, signals);
        stop(server, signals);
    }
    stop_threads(server, started);
    return good;
}

bool server_run(const struct conf_fcgi *conf, struct listener *listener,
                const struct server_calls *calls, char *why, size_t why_size)
{
    struct server server = {.conf = conf, .calls = calls, .listener = listener};
    sigset_t signals;
    signals_of_server(&signals);
    init_libfcgi();
    bool good = server_init(&server) && run(&server, &signals);
    if (!good)
        snprintf(why, why_size, "%s", server.why);
    server_destroy(&server);
    return good;
}
