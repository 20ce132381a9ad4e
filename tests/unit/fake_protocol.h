/* SPDX-License-Identifier: MIT
 *
 * fake_protocol: how the fake server (fake_server.h) answers each message of a connection. All of
 * it runs on the server's thread, under its lock.
 */
#ifndef BBM_UNIT_FAKE_PROTOCOL_H
#define BBM_UNIT_FAKE_PROTOCOL_H

#include "fake_message.h"
#include "fake_time.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

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
        case FAKE_FLOOD:
            fake_put_flood(c);
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

#endif
