/* SPDX-License-Identifier: MIT
 *
 * fake_message: what the fake server keeps (fake_server.h), and the messages that it sends.
 */
#ifndef BBM_UNIT_FAKE_MESSAGE_H
#define BBM_UNIT_FAKE_MESSAGE_H

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

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
    FAKE_FLOOD,   /* the usual answer, behind so much that no socket takes it at once */
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

/* Parameter statuses of four megabytes. */
static inline void fake_put_flood(struct fake_connection *c)
{
    char value[20000];
    memset(value, 'x', sizeof value);
    memcpy(value, "flood", sizeof "flood");
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 200; i++)
        fake_message(c, 'S', value, sizeof value);
}

static inline void fake_put_ready(struct fake_connection *c)
{
    fake_message(c, 'Z', &c->state, 1);
}

#endif
