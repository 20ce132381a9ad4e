/* SPDX-License-Identifier: MIT
 * One PostgreSQL connection. There is no general query function above it: store.c
 * names every statement that is sent. */
#include "db.h"

#include "clock.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct db {
    const struct conf_database *conf;
    PGconn *conn; /* NULL: none */
    /* The database has no encoding (SQL_ASCII), so the server can make no UTF-8 of its
     * bytes, and would refuse to send those that are none. We take them as they are. */
    bool raw;
    bool in_transaction;
};

/* ---- errors ---- */

/* SQLSTATEs, or their classes, for which waiting or another try may help. Anything
 * else is a fault of ours or of the installation, and answers 500. */
static const char *const passing[] = {
    "08",    /* connection exception */
    "25006", /* read-only transaction: a primary that was demoted */
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

static void disconnect(struct db *db)
{
    PQfinish(db->conn);
    db->conn = NULL;
    db->in_transaction = false;
}

/* The connection is of no more use: drops it and says so. */
static bool fail_connection(struct db *db, struct error *error, const char *what)
{
    error_unavailable(error, "%s: %.160s", what, PQerrorMessage(db->conn));
    disconnect(db);
    return false;
}

static bool fail_deadline(struct db *db, struct error *error, const char *what)
{
    error_unavailable(error, "%s: not in time", what);
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
    if (is_passing(sqlstate))
        error_unavailable(error, "database: %s %s", sqlstate, message ? message : "");
    else
        error_unknown(error, "database: %s %s", sqlstate, message ? message : "");
    if (db->in_transaction || strcmp(sqlstate, "25006") == 0)
        disconnect(db);
}

/* ---- waiting ---- */

/* Waits for the socket; false when the deadline passes first. */
static bool await(struct db *db, short events, int64_t deadline)
{
    struct pollfd fd = {.fd = PQsocket(db->conn), .events = events};
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

static PGconn *start(const struct conf_database *conf, bool raw)
{
    char port[16];
    snprintf(port, sizeof port, "%d", (int)conf->port);
    const char *const names[] = {"host",
                                 "port",
                                 "user",
                                 "password",
                                 "dbname",
                                 "sslmode",
                                 "sslcert",
                                 "sslkey",
                                 "sslrootcert",
                                 "application_name",
                                 "client_encoding",
                                 "target_session_attrs",
                                 "tcp_user_timeout",
                                 "keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 NULL};
    const char *const values[] = {conf->primary ? conf->primary : conf->host,
                                  port,
                                  conf->user,
                                  conf->password,
                                  conf->dbname,
                                  conf->sslmode,
                                  conf->sslcert,
                                  conf->sslkey,
                                  conf->sslrootcert,
                                  "bbm-fcgi",
                                  raw ? "SQL_ASCII" : "UTF8",
                                  "read-write",
                                  "10000",
                                  "30",
                                  "10",
                                  "3",
                                  NULL};
    return PQconnectStartParams(names, values, 0);
}

/* Makes one connection, in the encoding that `db->raw` asks for. */
static bool connect_once(struct db *db, int64_t deadline, struct error *error)
{
    db->conn = start(db->conf, db->raw);
    if (!db->conn)
        return error_unavailable(error, "out of memory");
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
    return true;
}

/* Connects if there is no connection yet. */
static bool connect_by(struct db *db, int64_t deadline, struct error *error)
{
    if (db->conn)
        return true;
    int64_t own = clock_ms() + db->conf->connect_timeout_ms;
    if (db->conf->connect_timeout_ms > 0 && own < deadline)
        deadline = own;
    if (!connect_once(db, deadline, error))
        return false;

    const char *encoding = PQparameterStatus(db->conn, "server_encoding");
    bool raw = encoding && strcmp(encoding, "SQL_ASCII") == 0;
    if (raw == db->raw)
        return true;
    /* Set as the connection starts, and not by a statement: behind a pooler that would
     * be lost or, worse, found by another client. */
    db->raw = raw;
    disconnect(db);
    return connect_once(db, deadline, error);
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
    if (!connect_by(db, deadline, error))
        return NULL;
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
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    fail_statement(db, result, error);
    PQclear(result);
    return NULL;
}

struct pg_result *db_run(struct db *db, const char *sql, const char *const *params, int count,
                         enum db_retry retry, int64_t deadline, struct error *error)
{
    bool fresh = !db->conn || db->in_transaction;
    PGresult *result = attempt(db, sql, params, count, deadline, error);
    /* A connection that was idle may have been dead for long: only then is it worth
     * another try, and only while there is time for it. (A transaction died with it.) */
    if (!result && !db->conn && !fresh && retry == DB_RETRY && clock_ms() < deadline) {
        error_free(error);
        result = attempt(db, sql, params, count, deadline, error);
    }
    /* Sent, perhaps, and not answered. Inside a transaction that means: not done. */
    if (!result && !db->conn && retry == DB_ONCE && !fresh)
        error->detail = json_object_new_string(
            "the connection was lost on the way: whether the change took effect is not known");
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
    PQclear(db_run(db, "BEGIN", NULL, 0, DB_RETRY, deadline, error));
    if (error->status)
        return false;
    db->in_transaction = true;

    /* Ends a wait for a lock on the server a little before ours ends here, so that the
     * answer can say what it waited for. Local to the transaction, as poolers want it. */
    char ms[24];
    int64_t left = deadline - clock_ms();
    snprintf(ms, sizeof ms, "%d", left > 200 ? (int)(left - 100) : 100);
    const char *const params[] = {ms};
    PQclear(db_run(db, "SELECT set_config('lock_timeout', $1, true)", params, 1, DB_ONCE, deadline,
                   error));
    return !error->status;
}

bool db_commit(struct db *db, int64_t deadline, struct error *error)
{
    PGresult *result = db_run(db, "COMMIT", NULL, 0, DB_ONCE, deadline, error);
    db->in_transaction = false;
    PQclear(result);
    if (error->status == 503)
        error->detail = json_object_new_string("the connection was lost while committing: whether "
                                               "the change took effect is not known");
    return !error->status;
}

void db_abandon(struct db *db)
{
    if (db->in_transaction)
        disconnect(db);
}
