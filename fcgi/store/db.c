/* SPDX-License-Identifier: MIT
 * Statements on one connection. There is no general query function above it: the files of this
 * room name every statement that is sent. */
#include "store/db.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "store/db_cancel.h"
#include "store/db_connect.h"
#include "store/db_pipeline.h"
#include "store/db_thread.h"
#include "store/prepared.h"
#include "store/sql.h"
#include "store/sqlstate.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A connection that was not used for this long is tried before a statement is sent on it. */
#define IDLE_MS 1000

/* How often a statement is sent again because a prepared one was refused. */
#define REFUSED_MAX 3

/* A transaction depends on no default that the session, the role or the database may have:
 * a pooled session has those that another client left. */
static const struct sql begin_change = {.text = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"};
static const struct sql commit = {.text = "COMMIT"};
static const struct sql nothing = {.text = "SELECT"};

/* Shared by all threads: what is prepared gets lost on the way. */
static atomic_bool gets_lost;

/* Where the configuration says that nothing is to be prepared. */
static atomic_bool is_off = true;

struct db {
    struct db_servers servers;
    struct prepared prepared;
    PGconn *conn;    /* NULL: none */
    bool had_one;    /* a connection made now takes the place of another */
    int64_t used;    /* clock_ms() of the last answer */
    bool unanswered; /* the last statement may have reached the server, which said nothing */
    bool refused;    /* the last statement has not run, because a prepared one was gone */
    const struct sql *along;      /* to be sent along with the next statement; NULL: none */
    const struct sql *along_sent; /* was sent along with the last statement */
    PGresult *along_result;       /* its result; NULL: none */
};

/* ---- the end of a connection ---- */

static void forget_along(struct db *db)
{
    PQclear(db->along_result);
    db->along_result = NULL;
}

/* Whatever becomes of the connection, it is no longer this object's. */
static PGconn *detach(struct db *db)
{
    PGconn *conn = db->conn;
    if (conn)
        metrics_database_closed();
    forget_along(db);
    db->conn = NULL;
    prepared_clear(&db->prepared);
    return conn;
}

static void disconnect(struct db *db)
{
    PQfinish(detach(db));
}

static void fail_lost(struct db *db, struct error *error)
{
    metrics_database_error(METRICS_DATABASE_LOST);
    error_unavailable(error, "connection to the database lost: %s", PQerrorMessage(db->conn));
    disconnect(db);
}

/* The statement is cancelled on the server, by a thread that nobody waits for. */
static void fail_deadline(struct db *db, const char *what, struct error *error)
{
    metrics_database_error(METRICS_DATABASE_TIMEOUT);
    error_unavailable(error, "%s the database: not in time", what);
    db_cancel(detach(db));
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

/* True where this connection cannot be used again. An open transaction ends with its connection:
 * that is simpler than a rollback, which may fail, too. */
static bool is_unusable(const struct db *db, enum sqlstate_class class)
{
    return class == SQLSTATE_SESSION || class == SQLSTATE_ENCODING ||
           PQtransactionStatus(db->conn) != PQTRANS_IDLE;
}

/* A prepared statement may be gone, or stale: then nothing has run. */
static bool is_refused(struct db *db, const struct db_step *step, const char *sqlstate)
{
    if (step->kind == DB_PLAIN)
        return false;
    enum prepared_verdict verdict = prepared_refused(&db->prepared, step->sql, sqlstate);
    if (verdict == PREPARED_RECONNECT)
        disconnect(db);
    return verdict != PREPARED_NOT_CONCERNED;
}

/* A standby refuses a transaction that may write, with a code that means something else
 * elsewhere. */
static bool is_standby(const struct db_step *step, const char *sqlstate)
{
    return step->sql == &begin_change && strcmp(sqlstate, "0A000") == 0;
}

/* The server refused a step. */
static void fail_step(struct db *db, const struct db_step *step, const PGresult *result,
                      struct error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    /* An error without an SQLSTATE is libpq's own, as where it had no memory for the rows:
     * the server may have done what it was asked. */
    db->unanswered =
        !sqlstate || PQstatus(db->conn) == CONNECTION_BAD || sqlstate_outcome_unknown(sqlstate);
    if (!sqlstate || PQstatus(db->conn) == CONNECTION_BAD) {
        fail_lost(db, error);
        return;
    }
    if (is_standby(step, sqlstate))
        sqlstate = "25006"; /* read-only transaction */
    enum sqlstate_class class = sqlstate_class(sqlstate);
    metrics_database_error(class == SQLSTATE_FATAL ? METRICS_DATABASE_REFUSED
                                                   : METRICS_DATABASE_PASSING);
    describe(sqlstate, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), error);
    if (class == SQLSTATE_ENCODING)
        db->servers.untranslatable = true;
    db->refused = is_refused(db, step, sqlstate);
    if (db->conn && is_unusable(db, class))
        disconnect(db);
}

/* ---- sending ---- */

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

static void add_step(struct db_batch *batch, enum db_step_kind kind, const struct sql *sql,
                     const char *const *params)
{
    batch->steps[batch->count++] = (struct db_step){kind, sql, params};
}

/* Adds a statement; what is not prepared yet is prepared before. */
static void add_statement(const struct db *db, struct db_batch *batch, const struct sql *sql,
                          const char *const *params)
{
    bool prepared = prepared_wanted(&db->prepared, sql);
    if (prepared && prepared_missing(&db->prepared, sql))
        add_step(batch, DB_PREPARE, sql, NULL);
    add_step(batch, prepared ? DB_EXECUTE : DB_PLAIN, sql, params);
}

/* Of the first `done` steps, which have run. */
static void note_prepared(struct db *db, const struct db_batch *batch, int done)
{
    for (int i = 0; i < done; i++) {
        if (batch->steps[i].kind == DB_PREPARE)
            prepared_add(&db->prepared, batch->steps[i].sql);
        if (batch->steps[i].kind == DB_EXECUTE)
            prepared_ran(&db->prepared, batch->steps[i].sql);
    }
}

/* A statement of the caller's, and where it stands. */
struct statement {
    const struct sql *sql;
    const char *const *params;
    bool changes;               /* it is in a transaction of its own that may write */
    const struct db_lock *lock; /* NULL: none */
    const struct sql *along;    /* sent behind it; NULL: none */
};

static struct db_batch batch_of(const struct db *db, const struct statement *statement)
{
    struct db_batch batch = {.count = 0};
    if (statement->changes)
        add_step(&batch, DB_PLAIN, &begin_change, NULL);
    if (statement->lock)
        add_step(&batch, DB_PLAIN, statement->lock->sql, statement->lock->params);
    add_statement(db, &batch, statement->sql, statement->params);
    batch.wanted = batch.count - 1;
    if (statement->changes)
        add_step(&batch, DB_PLAIN, &commit, NULL);
    batch.own = batch.count;
    if (statement->along)
        add_statement(db, &batch, statement->along, NULL);
    return batch;
}

/* There is no answer, for the reason that `end` names. */
static void fail_end(struct db *db, enum db_pipeline_end end, struct error *error)
{
    if (end == DB_PIPELINE_LOST)
        fail_lost(db, error);
    else
        fail_deadline(db, end == DB_PIPELINE_LATE ? "waiting for" : "sending to", error);
}

/* Gives up the connection, and what was sent along with the statement that is answered. */
static void lose_along(struct db *db, enum db_pipeline_end end)
{
    struct error ignored = {0};
    fail_end(db, end, &ignored);
    error_free(&ignored);
}

static PGresult *send_once(struct db *db, const struct statement *statement, int64_t deadline,
                           struct error *error)
{
    struct db_answer answer;
    int64_t started = clock_us();
    const struct db_batch batch = batch_of(db, statement);
    forget_along(db);
    db->unanswered = true;
    enum db_pipeline_end end = db_pipeline_run(db->conn, &batch, deadline, &answer);
    db->used = clock_ms();
    metrics_database_time(clock_us() - started);
    if (end != DB_PIPELINE_ANSWERED && !answer.result) {
        fail_end(db, end, error);
        return NULL;
    }
    note_prepared(db, &batch, answer.done);
    if (end != DB_PIPELINE_ANSWERED)
        lose_along(db, end);
    db->along_sent = statement->along;
    db->along_result = answer.along;
    if (answer.failed < 0)
        return answer.result;
    fail_step(db, &batch.steps[answer.failed], answer.result, error);
    PQclear(answer.result);
    return NULL;
}

/* Sends a statement, and again where it was refused before it ran: because what was prepared is
 * gone, or because the database holds bytes that have no equivalent in UTF-8. */
static PGresult *attempt(struct db *db, const struct statement *statement, int64_t deadline,
                         struct error *error)
{
    for (int i = 0;; i++) {
        bool was_untranslatable = db->servers.untranslatable;
        db->unanswered = false;
        db->refused = false;
        if (!have_connection(db, deadline, error))
            return NULL;
        PGresult *result = send_once(db, statement, deadline, error);
        bool again = db->refused || (db->servers.untranslatable && !was_untranslatable);
        if (result || !again || i >= REFUSED_MAX)
            return result;
        error_free(error);
    }
}

/* ---- reading ---- */

/* Tries whether an idle connection still works: a firewall may have dropped it, or its host may be
 * gone, and nothing has said so. That takes a quarter of the time at most, so that the rest is left
 * for a new connection. */
static void probe(struct db *db, int64_t deadline)
{
    const struct statement statement = {.sql = &nothing};
    struct error error = {0};
    int64_t now = clock_ms();
    if (!db->conn || now - db->used < IDLE_MS)
        return;
    PQclear(attempt(db, &statement, now + (deadline - now) / 4, &error));
    error_free(&error);
}

/* True where the last answer says that the server is no primary any more: it takes no change, and
 * its rows may be old. */
static bool is_read_only(const struct db *db)
{
    const char *standby = PQparameterStatus(db->conn, "in_hot_standby");
    const char *read_only = PQparameterStatus(db->conn, "default_transaction_read_only");
    return (standby && strcmp(standby, "on") == 0) || (read_only && strcmp(read_only, "on") == 0);
}

/* ---- what is sent along ---- */

void db_send_along(struct db *db, const struct sql *sql)
{
    forget_along(db);
    db->along = sql;
}

/* The statement, with what is to be sent along. */
static struct statement statement_of(struct db *db, const struct sql *sql,
                                     const char *const *params)
{
    const struct statement statement = {.sql = sql, .params = params, .along = db->along};
    db->along = NULL;
    return statement;
}

/* The result of this statement, where it was sent along with the last one; NULL: it was not. */
static PGresult *take_along(struct db *db, const struct sql *sql)
{
    PGresult *result = db->along_sent == sql ? db->along_result : NULL;
    if (result)
        db->along_result = NULL;
    return result;
}

/* ---- reading and changing ---- */

/* A connection that was idle may be dead, or lead to a server that is no primary any more. */
struct pg_result *db_read(struct db *db, const struct sql *sql, const char *const *params,
                          int64_t deadline, struct error *error)
{
    PGresult *there = take_along(db, sql);
    if (there)
        return there;
    const struct statement statement = statement_of(db, sql, params);
    probe(db, deadline);
    bool fresh = !db->conn;
    PGresult *result = attempt(db, &statement, deadline, error);
    if (fresh || (result && !is_read_only(db)) || (!result && db->conn) || clock_ms() >= deadline)
        return result;
    PQclear(result);
    disconnect(db);
    error_free(error);
    return attempt(db, &statement, deadline, error);
}

struct pg_result *db_change(struct db *db, const struct db_lock *lock, const struct sql *sql,
                            const char *const *params, int64_t deadline, struct error *error)
{
    struct statement statement = statement_of(db, sql, params);
    statement.changes = true;
    statement.lock = lock;
    PGresult *result = attempt(db, &statement, deadline, error);
    if (!result && db->unanswered)
        error_outcome_unknown(error);
    return result;
}

/* ---- an object's life ---- */

struct db *db_new(const struct conf_database *conf)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return NULL;
    db->servers.conf = conf;
    db->prepared.unusable = conf->prepared_statements ? &gets_lost : &is_off;
    return db;
}

void db_free(struct db *db)
{
    if (!db)
        return;
    disconnect(db);
    free(db);
}
