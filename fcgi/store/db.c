/* SPDX-License-Identifier: MIT
 * One PostgreSQL connection. There is no general query function above it: store.c
 * names every statement that is sent. */
#include "store/db.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <errno.h>
#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A connection unused for this long is looked at before it is relied on. */
#define IDLE_MS 1000

/* Cancel requests under way at once, of all threads; see cancel_and_close. */
#define CANCELS_MOST 16

/* What cancelling needs: no name is resolved, no TLS spoken. */
#define CANCEL_STACK ((size_t)256 * 1024)

struct db {
    const struct conf_database *conf;
    PGconn *conn;  /* NULL: none */
    bool counted;  /* among the metrics' connections */
    bool had_one;  /* a connection made now takes the place of another */
    unsigned host; /* which of the hosts was a primary last */
    int64_t used;  /* clock_ms() of the last answer */
    /* The database has no encoding (SQL_ASCII), so the server can make no UTF-8 of its
     * bytes, and would refuse to send those that are none. We take them as they are. */
    bool raw;
    /* It has one, and yet holds a byte that is no character of it: as above, from then on.
     * Letters beyond ASCII then read as U+FFFD, and the rest of the answer is saved. */
    bool untranslatable;
    bool in_transaction;
    bool unanswered; /* the last statement may have reached the server, which said nothing */
};

/* ---- errors ---- */

/* SQLSTATEs, or their classes, for which waiting or another try may help: they answer
 * 503. Anything else is a fault of ours or of the installation, and answers 500. */
static const char *const passing[] = {
    "08",    /* connection exception; PgBouncer's own refusals */
    "25006", /* read-only transaction: a primary that was demoted */
    "25P03", /* idle in transaction for too long: we were held up, not the database */
    "28",    /* invalid authorization: a password being changed */
    "3D000", /* no such database: one being restored */
    "40",    /* transaction rollback: deadlock, serialization */
    "53",    /* insufficient resources: connections, memory, disk */
    "55P03", /* lock not available in time */
    "57",    /* operator intervention: shutdown, cancelled, starting up */
    "58",    /* system error: I/O */
};

static bool is_passing(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        if (strncmp(sqlstate, passing[i], strlen(passing[i])) == 0)
            return true;
    }
    return false;
}

/* Lets go of the connection, which somebody else may then close. */
static PGconn *detach(struct db *db)
{
    PGconn *conn = db->conn;
    if (db->counted)
        metrics_database_closed();
    db->counted = false;
    db->conn = NULL;
    db->in_transaction = false;
    return conn;
}

static void disconnect(struct db *db)
{
    PQfinish(detach(db));
}

/* The connection is of no more use: drops it and says so. */
static bool fail_connection(struct db *db, struct error *error, const char *what)
{
    metrics_database_error(db->counted ? METRICS_DATABASE_LOST : METRICS_DATABASE_CONNECT);
    error_unavailable(error, "%s: %.160s", what, PQerrorMessage(db->conn));
    disconnect(db);
    return false;
}

/* ---- giving up ---- */

/* All that the threads share: how many cancel requests are under way. */
static atomic_int cancels;

/* A cancel request is a connection of its own, and libpq (before version 17) waits for
 * its end as long as the network likes. So no thread that answers requests sends one. The
 * given-up connection is closed only afterwards: PgBouncer knows a cancel request by the
 * client that is still there. */
static void *cancel_and_close(void *argument)
{
    PGconn *conn = argument;
    char why[256];
    PGcancel *cancel = PQgetCancel(conn);
    if (cancel && PQcancel(cancel, why, sizeof why))
        metrics_database_cancelled();
    PQfreeCancel(cancel);
    PQfinish(conn);
    OPENSSL_thread_stop(); /* here, as the thread's end may come after db_settle() */
    atomic_fetch_sub(&cancels, 1);
    return NULL;
}

/* Has the statement cancelled that the connection still works on. With too many requests
 * under way nobody is answering them either, and the connection is just closed. */
static void give_up(struct db *db)
{
    pthread_t thread;
    pthread_attr_t attributes;
    PGconn *conn = detach(db);
    bool started = false;
    if (atomic_fetch_add(&cancels, 1) < CANCELS_MOST) {
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, CANCEL_STACK);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        started = pthread_create(&thread, &attributes, cancel_and_close, conn) == 0;
        pthread_attr_destroy(&attributes);
    }
    if (!started) {
        atomic_fetch_sub(&cancels, 1);
        PQfinish(conn);
    }
}

bool db_settle(int64_t deadline)
{
    while (atomic_load(&cancels) > 0) {
        if (clock_ms() >= deadline)
            return false;
        poll(NULL, 0, 10);
    }
    return true;
}

static bool fail_deadline(struct db *db, struct error *error, const char *what)
{
    metrics_database_error(METRICS_DATABASE_TIMEOUT);
    error_unavailable(error, "%s: not in time", what);
    if (db->counted)
        give_up(db);
    else
        disconnect(db);
    return false;
}

/* The server refused a statement. A transaction it stood in is given up with the
 * connection: closing costs less thought than a rollback that may fail in turn. */
static void fail_statement(struct db *db, const PGresult *result, struct error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!sqlstate || PQstatus(db->conn) == CONNECTION_BAD) {
        fail_connection(db, error, "connection to the database lost");
        return;
    }
    bool passes = is_passing(sqlstate);
    metrics_database_error(passes ? METRICS_DATABASE_PASSING : METRICS_DATABASE_REFUSED);
    if (passes)
        error_unavailable(error, "database: %s %s", sqlstate, message ? message : "");
    else
        error_unknown(error, "database: %s %s", sqlstate, message ? message : "");
    bool untranslatable = strcmp(sqlstate, "22P05") == 0;
    db->untranslatable = db->untranslatable || untranslatable;
    if (db->in_transaction || untranslatable || strcmp(sqlstate, "25006") == 0)
        disconnect(db);
}

/* ---- waiting ---- */

/* Waits for the socket; false when the deadline passes first. */
static bool await(struct db *db, short events, int64_t deadline)
{
    struct pollfd fd = {.fd = PQsocket(db->conn), .events = events};
    if (fd.fd < 0)
        return true; /* libpq has closed it, and says so when asked next */
    for (;;) {
        int64_t left = deadline - clock_ms();
        if (left <= 0)
            return false;
        int ready = poll(&fd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

/* ---- connecting ---- */

static const char *hosts_of(const struct conf_database *conf)
{
    return conf->primary ? conf->primary : conf->host;
}

static unsigned host_count(const char *hosts)
{
    unsigned count = 1;
    for (; *hosts; hosts++)
        count += *hosts == ',';
    return count;
}

/* The name at `index` of the comma-separated list, cut to fit. */
static void host_at(const char *hosts, unsigned index, char *out, size_t size)
{
    while (index-- > 0)
        hosts = strchr(hosts, ',') + 1;
    snprintf(out, size, "%.*s", (int)strcspn(hosts, ","), hosts);
}

static PGconn *start(const struct conf_database *conf, unsigned index, bool raw)
{
    char host[512];
    char port[16];
    char patience[24];
    host_at(hosts_of(conf), index, host, sizeof host);
    snprintf(port, sizeof port, "%d", (int)conf->port);
    /* What is sent and not even acknowledged for this long has no one to read it: found
     * out while there is time for another try. */
    snprintf(patience, sizeof patience, "%d",
             conf->timeout_ms > 3000 ? (int)(conf->timeout_ms / 3) : 1000);
    const struct {
        const char *name;
        const char *value;
    } options[] = {
        {"host", host},
        {"port", port},
        {"user", conf->user},
        {"password", conf->password},
        {"dbname", conf->dbname},
        {"sslmode", conf->sslmode},
        {"sslcert", conf->sslcert},
        {"sslkey", conf->sslkey},
        {"sslrootcert", conf->sslrootcert},
        /* The registry knows no GSS encryption; looking for it costs a megabyte. */
        {"gssencmode", "disable"},
        {"application_name", "bbm-fcgi"},
        {"client_encoding", raw ? "SQL_ASCII" : "UTF8"},
        {"target_session_attrs", "read-write"},
        {"tcp_user_timeout", patience},
        {"keepalives_idle", "30"},
        {"keepalives_interval", "10"},
        {"keepalives_count", "3"},
    };
    enum {
        COUNT = sizeof options / sizeof options[0]
    };
    const char *names[COUNT + 1] = {NULL};
    const char *values[COUNT + 1] = {NULL};
    for (int i = 0; i < COUNT; i++) {
        names[i] = options[i].name;
        values[i] = options[i].value;
    }
    return PQconnectStartParams(names, values, 0);
}

/* Makes one connection, in the encoding that `db->raw` asks for. */
static bool connect_once(struct db *db, unsigned host, int64_t deadline, struct error *error)
{
    db->conn = start(db->conf, host, db->raw);
    if (!db->conn)
        return error_unavailable(error, "out of memory");
    /* Else a message may quote the statement, which has no place in the log. */
    PQsetErrorVerbosity(db->conn, PQERRORS_TERSE);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (PQstatus(db->conn) != CONNECTION_BAD && next != PGRES_POLLING_OK) {
        if (!await(db, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
            return fail_deadline(db, error, "connecting to the database");
        next = PQconnectPoll(db->conn);
        if (next == PGRES_POLLING_FAILED)
            break;
    }
    if (PQstatus(db->conn) != CONNECTION_OK || PQsetnonblocking(db->conn, 1) != 0)
        return fail_connection(db, error, "cannot connect to the database");
    metrics_database_connected(db->had_one);
    db->counted = true;
    db->had_one = true;
    return true;
}

/* Connects to one host, in the encoding that its database needs. */
static bool connect_host(struct db *db, unsigned host, int64_t deadline, struct error *error)
{
    if (!connect_once(db, host, deadline, error))
        return false;

    const char *encoding = PQparameterStatus(db->conn, "server_encoding");
    bool raw = db->untranslatable || (encoding && strcmp(encoding, "SQL_ASCII") == 0);
    if (raw == db->raw)
        return true;
    /* Set as the connection starts, and not by a statement: behind a pooler that would
     * be lost or, worse, found by another client. */
    db->raw = raw;
    disconnect(db);
    return connect_once(db, host, deadline, error);
}

/* Connects if there is no connection yet: to the host that served last, or else to the
 * others in turn. libpq would go from one to the next itself, but only when the network
 * says no: one that says nothing would take the others' time. */
static bool connect_by(struct db *db, int64_t deadline, struct error *error)
{
    if (db->conn)
        return true;
    unsigned count = host_count(hosts_of(db->conf));
    for (unsigned tried = 0; tried < count; tried++) {
        unsigned host = (db->host + tried) % count;
        int64_t now = clock_ms();
        int64_t end = now + (deadline - now) / (count - tried);
        if (db->conf->connect_timeout_ms > 0 && now + db->conf->connect_timeout_ms < end)
            end = now + db->conf->connect_timeout_ms;
        error_free(error);
        if (connect_host(db, host, end, error)) {
            db->host = host;
            return true;
        }
    }
    return false;
}

/* ---- statements ---- */

/* Sends what libpq still holds, reading meanwhile lest both sides wait for each other. */
static bool flush_by(struct db *db, int64_t deadline, struct error *error)
{
    int left;
    while ((left = PQflush(db->conn)) > 0) {
        if (!await(db, POLLIN | POLLOUT, deadline))
            return fail_deadline(db, error, "sending to the database");
        if (!PQconsumeInput(db->conn))
            return fail_connection(db, error, "connection to the database lost");
    }
    return left == 0 || fail_connection(db, error, "connection to the database lost");
}

/* Reads the statement's one result, and the NULL that follows it. */
static PGresult *receive_by(struct db *db, int64_t deadline, struct error *error)
{
    PGresult *result = NULL;
    for (;;) {
        while (PQisBusy(db->conn)) {
            if (!await(db, POLLIN, deadline)) {
                PQclear(result);
                fail_deadline(db, error, "waiting for the database");
                return NULL;
            }
            if (!PQconsumeInput(db->conn)) {
                PQclear(result);
                fail_connection(db, error, "connection to the database lost");
                return NULL;
            }
        }
        PGresult *next = PQgetResult(db->conn);
        if (!next)
            return result;
        PQclear(result);
        result = next;
    }
}

static PGresult *attempt(struct db *db, const char *sql, const char *const *params, int count,
                         int64_t deadline, struct error *error)
{
    db->unanswered = false;
    if (!connect_by(db, deadline, error))
        return NULL;
    db->unanswered = true;
    if (!PQsendQueryParams(db->conn, sql, count, NULL, params, NULL, NULL, 1)) {
        fail_connection(db, error, "connection to the database lost");
        return NULL;
    }
    if (!flush_by(db, deadline, error))
        return NULL;
    PGresult *result = receive_by(db, deadline, error);
    if (!result) {
        if (!error->status)
            fail_connection(db, error, "connection to the database lost");
        return NULL;
    }
    db->used = clock_ms();
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    /* An error without an SQLSTATE is libpq's own, as where it had no memory for the rows: the
     * server may have done what it was asked. */
    db->unanswered =
        !PQresultErrorField(result, PG_DIAG_SQLSTATE) || PQstatus(db->conn) == CONNECTION_BAD;
    fail_statement(db, result, error);
    PQclear(result);
    return NULL;
}

/* Looks whether an idle connection still leads anywhere: a firewall may have forgotten it,
 * or its host be gone, without a word to us. A part of the time is spent on that, so that
 * the rest is left for a new one. */
static void probe(struct db *db, int64_t deadline)
{
    struct error error = {0};
    int64_t now = clock_ms();
    if (!db->conn || now - db->used < IDLE_MS)
        return;
    PQclear(attempt(db, "SELECT", NULL, 0, now + (deadline - now) / 4, &error));
    error_free(&error);
}

/* A server says so with any answer since it was demoted; what it knows grows old, and it
 * will take no change. */
static bool is_read_only(const struct db *db)
{
    const char *standby = PQparameterStatus(db->conn, "in_hot_standby");
    const char *read_only = PQparameterStatus(db->conn, "default_transaction_read_only");
    return (standby && strcmp(standby, "on") == 0) || (read_only && strcmp(read_only, "on") == 0);
}

/* The same for what may be sent twice: a connection that was idle may have been dead for
 * long, or lead to what is a primary no more, and then it is worth another try. */
static PGresult *attempt_twice(struct db *db, const char *sql, const char *const *params, int count,
                               int64_t deadline, struct error *error)
{
    probe(db, deadline);
    bool fresh = !db->conn;
    PGresult *result = attempt(db, sql, params, count, deadline, error);
    if (fresh || (result && !is_read_only(db)) || (!result && db->conn) || clock_ms() >= deadline)
        return result;
    PQclear(result);
    disconnect(db);
    error_free(error);
    return attempt(db, sql, params, count, deadline, error);
}

struct pg_result *db_run(struct db *db, const char *sql, const char *const *params, int count,
                         enum db_retry retry, int64_t deadline, struct error *error)
{
    int64_t started = clock_us();
    bool alone = !db->in_transaction;
    bool was_untranslatable = db->untranslatable;
    PGresult *result = retry == DB_RETRY ? attempt_twice(db, sql, params, count, deadline, error)
                                         : attempt(db, sql, params, count, deadline, error);
    /* Refused while its rows were sent, so it has done nothing. */
    if (!result && alone && !was_untranslatable && db->untranslatable) {
        error_free(error);
        result = attempt(db, sql, params, count, deadline, error);
    }
    metrics_database_time(clock_us() - started);
    /* Inside a transaction that was lost it is known: nothing was done. */
    if (!result && db->unanswered && retry == DB_ONCE && alone)
        error_outcome_unknown(error);
    return result;
}

struct db *db_new(const struct conf_database *conf)
{
    struct db *db = calloc(1, sizeof *db);
    if (db)
        db->conf = conf;
    return db;
}

void db_free(struct db *db)
{
    if (!db)
        return;
    disconnect(db);
    free(db);
}

bool db_begin(struct db *db, int64_t deadline, struct error *error)
{
    PQclear(db_run(db, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", NULL, 0, DB_RETRY,
                   deadline, error));
    if (error->status)
        return false;
    db->in_transaction = true;

    /* Ends a wait for a lock on the server a little before ours ends here, so that the
     * answer can say what it waited for. Local to the transaction, as poolers want it. */
    char ms[24];
    int64_t left = deadline - clock_ms();
    snprintf(ms, sizeof ms, "%d", left > 200 ? (int)(left - 100) : 100);
    const char *const params[] = {ms};
    PQclear(db_run(db, "SELECT pg_catalog.set_config('lock_timeout', $1, true)", params, 1, DB_ONCE,
                   deadline, error));
    return !error->status;
}

bool db_commit(struct db *db, int64_t deadline, struct error *error)
{
    /* Whatever comes of it, it ends the transaction; lost, it is like a change alone. */
    db->in_transaction = false;
    PQclear(db_run(db, "COMMIT", NULL, 0, DB_ONCE, deadline, error));
    return !error->status;
}

void db_abandon(struct db *db)
{
    if (db->in_transaction)
        disconnect(db);
}
