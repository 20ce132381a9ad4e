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

#include "unit.h"

#include "fake_time.h"

#include "base/conf.h"

#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define FAKE_PORT            5432
#define FAKE_CONNECTIONS_MAX 64
#define FAKE_RUNS_MAX        512
#define FAKE_PREPARED_MAX    8
#define FAKE_STARTUP         '!' /* in place of a message's type: the first message, which has none */

/* What happens in place of the usual answer. */
enum fake_event {
    FAKE_ERROR,   /* an error with the SQLSTATE `text` */
    FAKE_CLOSE,   /* the connection is closed; this message is not carried out */
    FAKE_SILENCE, /* no more answers on this connection */
    FAKE_STATUS,  /* the usual answer, and the parameter status `text`, as "name=value" */
    FAKE_NOTICE,  /* the usual answer, and a warning with the SQLSTATE `text` */
};

struct fake_rule {
    char type;             /* of the message: FAKE_STARTUP or one of the protocol's */
    const char *statement; /* which it is about; NULL: any */
    enum fake_event event;
    const char *text;
    int times;       /* how often it happens; then all is as usual */
    int64_t elapses; /* milliseconds of the test's time that pass then, when the client has read all
                      * that came before */
};

struct fake_connection {
    int fd; /* -1: closed */
    int number;
    bool started;
    bool silent;
    bool skipping; /* after an error, until a Sync */
    char state;    /* as in ReadyForQuery */
    char *in;
    size_t in_len;
    char *out;
    size_t out_len;
    size_t sent;   /* bytes of answers to statements */
    char *current; /* the statement that was bound last */
    struct {
        char *name;
        char *text;
    } prepared[FAKE_PREPARED_MAX];
};

struct fake_server {
    char folder[80];
    int listener;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* for all below */
    struct fake_rule rules[8];
    size_t rule_count;
    int cut_connection; /* 0: each */
    int64_t
        cut_after; /* bytes of answers to statements, before the connection is closed; -1: all */
    bool deaf;     /* it reads nothing; a second of the test's time passes at each try */
    const char *server_encoding;
    const char *standby; /* "on": it is one */
    struct fake_connection connections[FAKE_CONNECTIONS_MAX];
    int accepted; /* connections that sent a startup message */
    int cancels;
    int cancels_while_open;   /* of a connection that was open still */
    int cancelled;            /* the number of the connection whose statement was cancelled last */
    char client_encoding[32]; /* which was asked for last */
    int64_t last_startup;     /* a moment of clock_ms() */
    int parsed;               /* statements prepared or sent as text */
    struct {
        char text[128];
        int connection;
    } runs[FAKE_RUNS_MAX];
    int run_count;
};

/* ---- messages out ---- */

static inline void fake_put(struct fake_connection *c, const void *bytes, size_t len)
{
    c->out = realloc(c->out, c->out_len + len);
    if (!c->out)
        abort();
    memcpy(c->out + c->out_len, bytes, len);
    c->out_len += len;
}

static inline void fake_put_int(struct fake_connection *c, uint64_t value, int size)
{
    for (int i = size - 1; i >= 0; i--)
        fake_put(c, &(char){(char)(value >> 8 * i)}, 1);
}

static inline void fake_put_text(struct fake_connection *c, const char *text)
{
    fake_put(c, text, strlen(text) + 1);
}

/* A message whose content is these bytes. */
static inline void fake_message(struct fake_connection *c, char type, const void *bytes, size_t len)
{
    fake_put(c, &type, 1);
    fake_put_int(c, len + 4, 4);
    fake_put(c, bytes, len);
}

/* An ErrorResponse ('E') or a NoticeResponse ('N'). */
static inline void fake_put_report(struct fake_connection *c, char type, const char *severity,
                                   const char *sqlstate)
{
    char text[128];
    int len = snprintf(text, sizeof text, "S%s%cV%s%cC%s%cMas the test says%c", severity, 0,
                       severity, 0, sqlstate, 0, 0);
    fake_message(c, type, text, (size_t)len + 1);
}

static inline void fake_put_status(struct fake_connection *c, const char *name, const char *value)
{
    char text[128];
    int len = snprintf(text, sizeof text, "%s%c%s", name, 0, value);
    fake_message(c, 'S', text, (size_t)len + 1);
}

static inline void fake_put_ready(struct fake_connection *c)
{
    fake_message(c, 'Z', &c->state, 1);
}

/* ---- a connection ---- */

static inline void fake_close(struct fake_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    free(c->out);
    free(c->current);
    for (int i = 0; i < FAKE_PREPARED_MAX; i++) {
        free(c->prepared[i].name);
        free(c->prepared[i].text);
    }
    *c = (struct fake_connection){.fd = -1};
}

/* The text of a prepared statement; NULL: there is none of that name. */
static inline char **fake_prepared(struct fake_connection *c, const char *name)
{
    for (int i = 0; i < FAKE_PREPARED_MAX; i++) {
        if (c->prepared[i].name && strcmp(c->prepared[i].name, name) == 0)
            return &c->prepared[i].text;
    }
    return NULL;
}

/* Sends what there is, up to the byte at which the connection is to end. */
static inline void fake_flush(struct fake_server *server, struct fake_connection *c,
                              bool is_startup)
{
    bool is_cut = !is_startup && server->cut_after >= 0 &&
                  (server->cut_connection == 0 || server->cut_connection == c->number);
    size_t len = c->out_len;
    if (is_cut && len > (size_t)server->cut_after - c->sent)
        len = (size_t)server->cut_after - c->sent;
    for (size_t at = 0; at < len;) {
        ssize_t sent = send(c->fd, c->out + at, len - at, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        at += (size_t)sent;
    }
    bool ends = is_cut && len < c->out_len;
    if (!is_startup)
        c->sent += len;
    c->out_len = 0;
    if (ends)
        fake_close(c);
}

/* Sends what there is, and waits until the client has read it. */
static inline void fake_deliver(struct fake_server *server, struct fake_connection *c)
{
    int unread = 0;
    fake_flush(server, c, !c->started);
    while (c->fd >= 0 && ioctl(c->fd, SIOCOUTQ, &unread) == 0 && unread > 0)
        __real_poll(NULL, 0, 1);
}

/* Does what a rule says about this message. True where that takes the place of the usual. */
static inline bool fake_follow_rules(struct fake_server *server, struct fake_connection *c,
                                     char type, const char *statement)
{
    for (size_t i = 0; i < server->rule_count; i++) {
        struct fake_rule *rule = &server->rules[i];
        if (rule->times == 0 || rule->type != type ||
            (rule->statement && (!statement || strcmp(rule->statement, statement) != 0)))
            continue;
        rule->times--;
        if (rule->elapses > 0) {
            fake_deliver(server, c);
            fake_time_pass(rule->elapses);
        }
        switch (rule->event) {
        case FAKE_ERROR:
            fake_put_report(c, 'E', "ERROR", rule->text);
            c->skipping = true;
            c->state = c->state == 'I' ? 'I' : 'E';
            return true;
        case FAKE_CLOSE:
            fake_close(c);
            return true;
        case FAKE_SILENCE:
            c->silent = true;
            return true;
        case FAKE_STATUS: {
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(rule->text, "="), rule->text);
            fake_put_status(c, name, rule->text + strlen(name) + 1);
            break;
        }
        case FAKE_NOTICE:
            fake_put_report(c, 'N', "WARNING", rule->text);
            break;
        }
    }
    return false;
}

static inline void fake_startup(struct fake_server *server, struct fake_connection *c,
                                const char *body, size_t len)
{
    const char *encoding = "UTF8";
    for (const char *at = body + 4; at < body + len && *at; at += strlen(at) + 1) {
        const char *name = at;
        at += strlen(at) + 1;
        if (strcmp(name, "client_encoding") == 0)
            encoding = at;
    }
    c->started = true;
    c->number = ++server->accepted;
    c->state = 'I';
    server->last_startup = clock_ms();
    snprintf(server->client_encoding, sizeof server->client_encoding, "%s", encoding);
    if (fake_follow_rules(server, c, FAKE_STARTUP, NULL))
        return;
    fake_message(c, 'R', "\0\0\0", 4);
    fake_put_status(c, "server_version", "16.1");
    fake_put_status(c, "server_encoding", server->server_encoding);
    fake_put_status(c, "client_encoding", encoding);
    fake_put_status(c, "integer_datetimes", "on");
    fake_put_status(c, "standard_conforming_strings", "on");
    fake_put_status(c, "in_hot_standby", server->standby);
    fake_put_status(c, "default_transaction_read_only", "off");
    fake_put(c, "K\0\0\0\x0C", 5);
    fake_put_int(c, (uint64_t)c->number, 4);
    fake_put_int(c, 77, 4);
    fake_put_ready(c);
}

/* Prepares a statement, with a name or without. */
static inline void fake_parse(struct fake_server *server, struct fake_connection *c,
                              const char *name, const char *text)
{
    char **old = fake_prepared(c, name);
    if (fake_follow_rules(server, c, 'P', text))
        return;
    server->parsed++;
    for (int i = 0; !old && i < FAKE_PREPARED_MAX; i++) {
        if (!c->prepared[i].name) {
            c->prepared[i].name = strdup(name);
            old = &c->prepared[i].text;
        }
    }
    if (!old)
        abort();
    free(*old);
    *old = strdup(text);
    fake_message(c, '1', "", 0);
}

static inline void fake_bind(struct fake_server *server, struct fake_connection *c,
                             const char *name)
{
    char **text = fake_prepared(c, name);
    if (!text) {
        fake_put_report(c, 'E', "ERROR", "26000");
        c->skipping = true;
        c->state = c->state == 'I' ? 'I' : 'E';
        return;
    }
    free(c->current);
    c->current = strdup(*text);
    if (!fake_follow_rules(server, c, 'B', c->current))
        fake_message(c, '2', "", 0);
}

static inline bool fake_is_command(const char *text)
{
    return strncmp(text, "BEGIN", 5) == 0 || strcmp(text, "COMMIT") == 0;
}

/* One column "n", a bigint in binary. */
static inline void fake_describe(struct fake_connection *c)
{
    if (fake_is_command(c->current))
        fake_message(c, 'n', "", 0);
    else
        fake_message(c, 'T', "\0\1n\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xFF\xFF\xFF\xFF\0\1", 22);
}

/* Runs the statement. Its row holds the connection's number. */
static inline void fake_execute(struct fake_server *server, struct fake_connection *c)
{
    const char *text = c->current;
    if (fake_follow_rules(server, c, 'E', text))
        return;
    if (server->run_count == FAKE_RUNS_MAX)
        abort();
    server->runs[server->run_count].connection = c->number;
    snprintf(server->runs[server->run_count++].text, sizeof server->runs[0].text, "%s", text);
    if (strncmp(text, "BEGIN", 5) == 0)
        c->state = 'T';
    if (strcmp(text, "COMMIT") == 0)
        c->state = 'I';
    if (fake_is_command(text)) {
        fake_message(c, 'C', strcmp(text, "COMMIT") == 0 ? "COMMIT" : "BEGIN\0",
                     strcmp(text, "COMMIT") == 0 ? 7 : 6);
        return;
    }
    fake_put(c, "D\0\0\0\x12\0\1\0\0\0\x08", 11);
    fake_put_int(c, (uint64_t)c->number, 8);
    fake_message(c, 'C', "SELECT 1", 9);
}

/* One message after the startup; `body` ends with a zero that is no part of it. */
static inline void fake_receive(struct fake_server *server, struct fake_connection *c, char type,
                                const char *body)
{
    if (type == 'X') {
        fake_close(c);
    } else if (c->silent || (c->skipping && type != 'S')) {
        return;
    } else if (type == 'P') {
        fake_parse(server, c, body, body + strlen(body) + 1);
    } else if (type == 'B') {
        fake_bind(server, c, body + strlen(body) + 1);
    } else if (type == 'D') {
        fake_describe(c);
    } else if (type == 'E') {
        fake_execute(server, c);
    } else if (type == 'S') {
        c->skipping = false;
        if (!fake_follow_rules(server, c, 'S', NULL))
            fake_put_ready(c);
    }
}

static inline size_t fake_length(const char *at)
{
    const unsigned char *p = (const unsigned char *)at;
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* Takes one whole message from the input. False where there is none. */
static inline bool fake_take(struct fake_server *server, struct fake_connection *c)
{
    size_t head = c->started ? 1 : 0;
    if (c->fd < 0 || c->in_len < head + 4)
        return false;
    size_t len = head + fake_length(c->in + head);
    if (c->in_len < len)
        return false;
    char *body = calloc(1, len - head - 4 + 1);
    if (!body)
        abort();
    char type = c->started ? c->in[0] : FAKE_STARTUP;
    memcpy(body, c->in + head + 4, len - head - 4);
    memmove(c->in, c->in + len, c->in_len - len);
    c->in_len -= len;
    if (c->started) {
        fake_receive(server, c, type, body);
    } else if (fake_length(body) == 80877102) { /* a cancel request */
        server->cancels++;
        server->cancelled = (int)fake_length(body + 4);
        for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
            server->cancels_while_open += server->connections[i].fd >= 0 &&
                                          server->connections[i].number == server->cancelled;
        fake_close(c);
    } else {
        fake_startup(server, c, body, len - 4);
    }
    free(body);
    return true;
}

static inline void fake_read(struct fake_server *server, struct fake_connection *c)
{
    c->in = realloc(c->in, c->in_len + 65536);
    if (!c->in)
        abort();
    ssize_t got = recv(c->fd, c->in + c->in_len, 65536, 0);
    if (got <= 0) {
        fake_close(c);
        return;
    }
    c->in_len += (size_t)got;
    bool is_startup = !c->started;
    while (fake_take(server, c))
        ;
    if (c->fd >= 0)
        fake_flush(server, c, is_startup);
}

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
