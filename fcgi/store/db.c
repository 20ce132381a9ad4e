/* SPDX-License-Identifier: MIT
 * Statements on one connection. There is no general query function above
 * it: store.c names every statement that is sent. */
#include "store/db.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "store/db_cancel.h"
#include "store/db_connect.h"
#include "store/db_thread.h"
#include "store/sql.h"
#include "store/sqlstate.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A connection unused for this long is looked at before it is relied on. */
#define IDLE_MS 1000

/* A transaction depends on no default that the session, the role or the database may have:
 * a pooled session has those that another client left. */
#define BEGIN_CHANGE "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

struct db {
    struct db_servers servers;
    PGconn *conn;    /* NULL: none */
    bool had_one;    /* a connection made now takes the place of another */
    int64_t used;    /* clock_ms() of the last answer */
    bool unanswered; /* the last statement may have reached the server, which said nothing */
};

static const struct sql begin_change = {.text = BEGIN_CHANGE};
static const struct sql commit = {.text = "COMMIT"};
static const struct sql nothing = {.text = "SELECT"};

/* One statement of those that are sent together. */
struct step {
    const struct sql *sql;
    const char *const *params;
};

/* More are never sent together. */
#define STEPS_MOST 3

/* ---- the end of a connection ---- */

/* Whatever becomes of the connection, it is no longer this object's. */
static PGconn *detach(struct db *db)
{
    PGconn *conn = db->conn;
    if (conn)
        metrics_database_closed();
    db->conn = NULL;
    return conn;
}

static void disconnect(struct db *db)
{
    PQfinish(detach(db));
}

static bool fail_lost(struct db *db, struct error *error)
{
    metrics_database_error(METRICS_DATABASE_LOST);
    error_unavailable(error, "connection to the database lost: %s", PQerrorMessage(db->conn));
    disconnect(db);
    return false;
}

/* The statement is cancelled on the server, by a thread that nobody waits for. */
static bool fail_deadline(struct db *db, struct error *error, const char *what)
{
    metrics_database_error(METRICS_DATABASE_TIMEOUT);
    error_unavailable(error, "%s: not in time", what);
    db_cancel(detach(db));
    return false;
}

bool db_settle(int64_t deadline)
{
    return db_thread_settle(deadline);
}

/* ---- what the server refuses ---- */

static void describe(const char *sqlstate, const char *message, struct error *error)
{
    const char *remedy = sqlstate_remedy(sqlstate);
    if (sqlstate_class(sqlstate) == SQLSTATE_FATAL)
        error_unknown(error, "database: %s %s", sqlstate, message ? message : "");
    else
        error_unavailable(error, "database: %s %s", sqlstate, message ? message : "");
    error->is_setup = sqlstate_class(sqlstate) == SQLSTATE_SETUP;
    if (remedy)
        error_remedy(error, remedy);
}

/* True where this connection cannot be used again. A transaction is given up with its
 * connection: closing costs less thought than a rollback that may fail in turn. */
static bool is_spoilt(const struct db *db, enum sqlstate_class class)
{
    return class == SQLSTATE_SESSION || class == SQLSTATE_ENCODING ||
           PQtransactionStatus(db->conn) != PQTRANS_IDLE;
}

/* The server refused a statement. */
static void fail_statement(struct db *db, const PGresult *result, struct error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    /* An error without an SQLSTATE is libpq's own, as where it had no memory for the rows:
     * the server may have done what it was asked. */
    db->unanswered =
        !sqlstate || PQstatus(db->conn) == CONNECTION_BAD || sqlstate_outcome_unknown(sqlstate);
    if (!sqlstate || PQstatus(db->conn) == CONNECTION_BAD) {
        fail_lost(db, error);
        return;
    }
    enum sqlstate_class class = sqlstate_class(sqlstate);
    metrics_database_error(class == SQLSTATE_FATAL ? METRICS_DATABASE_REFUSED
                                                   : METRICS_DATABASE_PASSING);
    describe(sqlstate, message, error);
    if (class == SQLSTATE_ENCODING)
        db->servers.untranslatable = true;
    if (is_spoilt(db, class))
        disconnect(db);
}

/* A standby refuses a transaction that may write, with a code that means something else
 * elsewhere. */
static bool is_standby(const struct step *step, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return step->sql == &begin_change && sqlstate && strcmp(sqlstate, "0A000") == 0;
}

static void fail_standby(struct db *db, struct error *error)
{
    db->unanswered = false;
    metrics_database_error(METRICS_DATABASE_PASSING);
    error_unavailable(error, "database: it is a standby and takes no changes");
    disconnect(db);
}

/* ---- sending and receiving ---- */

static bool have_connection(struct db *db, int64_t deadline, struct error *error)
{
    if (db->conn)
        return true;
    db->conn = db_connect(&db->servers, deadline, error);
    if (!db->conn)
        return false;
    metrics_database_connected(db->had_one);
    db->had_one = true;
    return true;
}

/* Hands the steps to libpq: more than one as a pipeline, with one answer to wait for. */
static bool enqueue(struct db *db, const struct step *steps, int step_count)
{
    if (step_count > 1 && !PQenterPipelineMode(db->conn))
        return false;
    for (int i = 0; i < step_count; i++) {
        if (!PQsendQueryParams(db->conn, steps[i].sql->text, steps[i].sql->params, NULL,
                               steps[i].params, NULL, NULL, 1))
            return false;
    }
    return step_count == 1 || PQpipelineSync(db->conn);
}

/* Sends what libpq still holds, reading meanwhile lest both sides wait for each other. */
static bool flush_by(struct db *db, int64_t deadline, struct error *error)
{
    int left;
    while ((left = PQflush(db->conn)) > 0) {
        if (!db_wait(db->conn, POLLIN | POLLOUT, deadline))
            return fail_deadline(db, error, "sending to the database");
        if (!PQconsumeInput(db->conn))
            return fail_lost(db, error);
    }
    return left == 0 || fail_lost(db, error);
}

/* Waits until PQgetResult will not block. */
static bool await_result(struct db *db, int64_t deadline, struct error *error)
{
    while (PQisBusy(db->conn)) {
        if (!db_wait(db->conn, POLLIN, deadline))
            return fail_deadline(db, error, "waiting for the database");
        if (!PQconsumeInput(db->conn))
            return fail_lost(db, error);
    }
    return true;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

/* Reads one step's result, and the NULL that follows it. */
static PGresult *receive_step(struct db *db, int64_t deadline, struct error *error)
{
    PGresult *result = NULL;
    for (;;) {
        PGresult *next = NULL;
        bool came = await_result(db, deadline, error);
        if (came)
            next = PQgetResult(db->conn);
        if (came && next) {
            PQclear(result);
            result = next;
            continue;
        }
        if (came && result)
            return result;
        if (came)
            fail_lost(db, error);
        PQclear(result);
        return NULL;
    }
}

/* Reads the pipeline's end, and leaves it. */
static bool end_pipeline(struct db *db, int64_t deadline, struct error *error)
{
    if (!await_result(db, deadline, error))
        return false;
    PGresult *sync = PQgetResult(db->conn);
    bool good = PQresultStatus(sync) == PGRES_PIPELINE_SYNC && PQexitPipelineMode(db->conn);
    PQclear(sync);
    return good || fail_lost(db, error);
}

/* Reads all results. `*kept` is that of the step with this number, or of the first one that
 * failed, in which case `*failed` is its number; else that is -1. */
static bool receive(struct db *db, int step_count, int number, int64_t deadline, PGresult **kept,
                    int *failed, struct error *error)
{
    *kept = NULL;
    *failed = -1;
    for (int i = 0; i < step_count; i++) {
        PGresult *result = receive_step(db, deadline, error);
        if (!result)
            return false;
        if (*failed < 0 && !is_good(result))
            *failed = i;
        if (*failed == i || (*failed < 0 && i == number)) {
            PQclear(*kept);
            *kept = result;
        } else {
            PQclear(result);
        }
    }
    return step_count == 1 || end_pipeline(db, deadline, error);
}

static bool send_and_receive(struct db *db, const struct step *steps, int step_count, int number,
                             int64_t deadline, PGresult **result, int *failed, struct error *error)
{
    *result = NULL;
    if (!enqueue(db, steps, step_count))
        return fail_lost(db, error);
    return flush_by(db, deadline, error) &&
           receive(db, step_count, number, deadline, result, failed, error);
}

/* Sends the steps and returns the result of the one with this number. */
static PGresult *attempt(struct db *db, const struct step *steps, int step_count, int number,
                         int64_t deadline, struct error *error)
{
    PGresult *result;
    int failed = -1;
    db->unanswered = false;
    if (!have_connection(db, deadline, error))
        return NULL;
    int64_t started = clock_us();
    db->unanswered = true;
    bool received =
        send_and_receive(db, steps, step_count, number, deadline, &result, &failed, error);
    db->used = clock_ms();
    metrics_database_time(clock_us() - started);
    if (received && failed < 0)
        return result;
    if (received && is_standby(&steps[failed], result))
        fail_standby(db, error);
    else if (received)
        fail_statement(db, result, error);
    PQclear(result);
    return NULL;
}

/* ---- reading ---- */

/* Looks whether an idle connection still leads anywhere: a firewall may have forgotten it,
 * or its host be gone, without a word to us. A part of the time is spent on that, so that
 * the rest is left for a new one. */
static void probe(struct db *db, int64_t deadline)
{
    const struct step step = {&nothing, NULL};
    struct error error = {0};
    int64_t now = clock_ms();
    if (!db->conn || now - db->used < IDLE_MS)
        return;
    PQclear(attempt(db, &step, 1, 0, now + (deadline - now) / 4, &error));
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

/* What changes nothing may be sent twice: a connection
 * that was idle may have been dead for long, or lead to what is a primary no more. */
static PGresult *attempt_twice(struct db *db, const struct step *step, int64_t deadline,
                               struct error *error)
{
    probe(db, deadline);
    bool fresh = !db->conn;
    PGresult *result = attempt(db, step, 1, 0, deadline, error);
    if (fresh || (result && !is_read_only(db)) || (!result && db->conn) || clock_ms() >= deadline)
        return result;
    PQclear(result);
    disconnect(db);
    error_free(error);
    return attempt(db, step, 1, 0, deadline, error);
}

/* ---- changing ---- */

/* A change alone is a transaction of its own, in one round trip. It is never sent twice:
 * nobody knows what came of the first one. */
static PGresult *attempt_change(struct db *db, const struct step *step, int64_t deadline,
                                struct error *error)
{
    const struct step steps[STEPS_MOST] = {{&begin_change, NULL}, *step, {&commit, NULL}};
    PGresult *result = attempt(db, steps, STEPS_MOST, 1, deadline, error);
    if (!result && db->unanswered)
        error_outcome_unknown(error);
    return result;
}

/* ---- both ---- */

typedef PGresult *attempt_fn(struct db *db, const struct step *step, int64_t deadline,
                             struct error *error);

static PGresult *run(struct db *db, const struct step *step, attempt_fn *attempt_by,
                     int64_t deadline, struct error *error)
{
    bool was_untranslatable = db->servers.untranslatable;
    PGresult *result = attempt_by(db, step, deadline, error);
    /* Refused while its rows were sent, so it has done nothing. */
    if (!result && !was_untranslatable && db->servers.untranslatable) {
        error_free(error);
        result = attempt_by(db, step, deadline, error);
    }
    return result;
}

struct pg_result *db_read(struct db *db, const struct sql *sql, const char *const *params,
                          int64_t deadline, struct error *error)
{
    const struct step step = {sql, params};
    return run(db, &step, attempt_twice, deadline, error);
}

struct pg_result *db_change(struct db *db, const struct sql *sql, const char *const *params,
                            int64_t deadline, struct error *error)
{
    const struct step step = {sql, params};
    return run(db, &step, attempt_change, deadline, error);
}

/* ---- an object's life ---- */

struct db *db_new(const struct conf_database *conf)
{
    struct db *db = calloc(1, sizeof *db);
    if (db)
        db->servers.conf = conf;
    return db;
}

void db_free(struct db *db)
{
    if (!db)
        return;
    disconnect(db);
    free(db);
}
