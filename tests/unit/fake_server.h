/* SPDX-License-Identifier: MIT
 *
 * fake_server: a PostgreSQL made for the tests of the connection, behind a Unix socket.
 *
 * It speaks as much of the protocol (version 3.0) as libpq needs, answers every statement with one
 * row, and notes which statements have run. A test says at which message, or after which byte of
 * its answers, something else happens. One thread serves all connections.
 */
#ifndef BBM_UNIT_FAKE_SERVER_H
#define BBM_UNIT_FAKE_SERVER_H

#include "fake_protocol.h"

#include "base/conf.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- the server ---- */

static inline void fake_accept(struct fake_server *server)
{
    int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; fd >= 0 && i < FAKE_CONNECTIONS_MAX; i++) {
        if (server->connections[i].fd < 0) {
            server->connections[i].fd = fd;
            return;
        }
    }
    if (fd >= 0)
        abort();
}

static inline void *fake_serve(void *argument)
{
    struct fake_server *server = argument;
    while (!atomic_load(&server->stop)) {
        struct pollfd fds[1 + FAKE_CONNECTIONS_MAX] = {{.fd = server->listener, .events = POLLIN}};
        pthread_mutex_lock(&server->lock);
        for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
            fds[1 + i] = (struct pollfd){.fd = server->connections[i].fd, .events = POLLIN};
        pthread_mutex_unlock(&server->lock);
        if (__real_poll(fds, COUNT(fds), 20) <= 0)
            continue;
        pthread_mutex_lock(&server->lock);
        for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
            struct fake_connection *c = &server->connections[i];
            if (c->fd < 0 || c->fd != fds[1 + i].fd || !fds[1 + i].revents)
                continue;
            if (server->deaf && c->started)
                fake_time_pass(1000);
            else
                fake_read(server, c);
        }
        if (fds[0].revents)
            fake_accept(server);
        bool deaf = server->deaf;
        pthread_mutex_unlock(&server->lock);
        if (deaf)
            __real_poll(NULL, 0, 1);
    }
    return NULL;
}

static inline void fake_socket_path(const struct fake_server *server, char *path, size_t size)
{
    snprintf(path, size, "%s/.s.PGSQL.%d", server->folder, FAKE_PORT);
}

/* A folder for a socket, and nobody who listens. */
static inline void fake_server_init(struct fake_server *server)
{
    const char *parent = getenv("TMPDIR");
    *server = (struct fake_server){
        .listener = -1, .cut_after = -1, .server_encoding = "UTF8", .standby = "off"};
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        server->connections[i].fd = -1;
    pthread_mutex_init(&server->lock, NULL);
    snprintf(server->folder, sizeof server->folder, "%s/bbm-pg-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(server->folder));
}

static inline void fake_server_start(struct fake_server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    fake_server_init(server);
    fake_socket_path(server, address.sun_path, sizeof address.sun_path);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 64), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, fake_serve, server), 0);
}

static inline void fake_server_stop(struct fake_server *server)
{
    char path[256];
    fake_socket_path(server, path, sizeof path);
    if (server->listener >= 0) {
        atomic_store(&server->stop, true);
        shutdown(server->listener, SHUT_RDWR); /* ends the thread's poll */
        pthread_join(server->thread, NULL);
        close(server->listener);
        unlink(path);
    }
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        fake_close(&server->connections[i]);
    pthread_mutex_destroy(&server->lock);
    rmdir(server->folder);
}

/* ---- for the tests ---- */

/* How often a statement of this text has run, on all connections or on one. */
static inline int fake_runs(struct fake_server *server, const char *text, int connection)
{
    int count = 0;
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < server->run_count; i++)
        count += strcmp(server->runs[i].text, text) == 0 &&
                 (connection == 0 || connection == server->runs[i].connection);
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* True where the statement number `at` of all that have run is this one. */
static inline bool fake_ran(struct fake_server *server, int at, const char *text)
{
    pthread_mutex_lock(&server->lock);
    bool same = at < server->run_count && strcmp(server->runs[at].text, text) == 0;
    pthread_mutex_unlock(&server->lock);
    return same;
}

/* True where the last connection asked for this encoding. */
static inline bool fake_asked_for(struct fake_server *server, const char *encoding)
{
    pthread_mutex_lock(&server->lock);
    bool same = strcmp(server->client_encoding, encoding) == 0;
    pthread_mutex_unlock(&server->lock);
    return same;
}

/* Makes the server a standby ("on") or none. */
static inline void fake_set_standby(struct fake_server *server, const char *standby)
{
    pthread_mutex_lock(&server->lock);
    server->standby = standby;
    pthread_mutex_unlock(&server->lock);
}

static inline void fake_set_encoding(struct fake_server *server, const char *encoding)
{
    pthread_mutex_lock(&server->lock);
    server->server_encoding = encoding;
    pthread_mutex_unlock(&server->lock);
}

/* Reads a number that the server's thread writes. */
static inline int fake_number(struct fake_server *server, const int *number)
{
    pthread_mutex_lock(&server->lock);
    int value = *number;
    pthread_mutex_unlock(&server->lock);
    return value;
}

static inline void fake_add_rule(struct fake_server *server, struct fake_rule rule)
{
    pthread_mutex_lock(&server->lock);
    assert_true(server->rule_count < COUNT(server->rules));
    server->rules[server->rule_count++] = rule;
    pthread_mutex_unlock(&server->lock);
}

#define FAKE_RULE(server, ...) fake_add_rule((server), (struct fake_rule){__VA_ARGS__})

/* Ends the connections with that number (0: all) after so many bytes of answers to statements. */
static inline void fake_cut(struct fake_server *server, int connection, int64_t after)
{
    pthread_mutex_lock(&server->lock);
    server->cut_connection = connection;
    server->cut_after = after;
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        server->connections[i].sent = 0;
    pthread_mutex_unlock(&server->lock);
}

/* Connections that are open, as far as the server knows. */
static inline int fake_open(struct fake_server *server)
{
    int count = 0;
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        count += server->connections[i].fd >= 0;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* Closes all connections, as a server that starts again does. */
static inline void fake_hang_up(struct fake_server *server)
{
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        fake_close(&server->connections[i]);
    pthread_mutex_unlock(&server->lock);
}

/* What leads to the servers in these folders; `hosts` outlives it. */
static inline struct conf_database fake_conf(const char *hosts)
{
    return (struct conf_database){.host = (char *)(uintptr_t)hosts,
                                  .port = FAKE_PORT,
                                  .user = (char *)"user",
                                  .password = (char *)"password",
                                  .dbname = (char *)"registry",
                                  .sslmode = (char *)"disable",
                                  .timeout_ms = 10000};
}

#endif
