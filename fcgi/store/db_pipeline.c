/* SPDX-License-Identifier: MIT
 * Sending and receiving on a non-blocking connection. */
#include "store/db_pipeline.h"

#include "store/db_connect.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* Results are in PostgreSQL's binary format. */
#define BINARY 1

static bool enqueue_step(PGconn *conn, const struct db_step *step)
{
    const struct sql *sql = step->sql;
    switch (step->kind) {
    case DB_PREPARE:
        return PQsendPrepare(conn, sql->name, sql->text, sql->params, NULL) == 1;
    case DB_EXECUTE:
        return PQsendQueryPrepared(conn, sql->name, sql->params, step->params, NULL, NULL,
                                   BINARY) == 1;
    default:
        return PQsendQueryParams(conn, sql->text, sql->params, NULL, step->params, NULL, NULL,
                                 BINARY) == 1;
    }
}

static bool enqueue(PGconn *conn, const struct db_step *steps, int count)
{
    if (count > 1 && !PQenterPipelineMode(conn))
        return false;
    for (int i = 0; i < count; i++) {
        if (!enqueue_step(conn, &steps[i]))
            return false;
    }
    return count == 1 || PQpipelineSync(conn) == 1;
}

/* Sends what libpq still holds, reading meanwhile lest both sides wait for each other. */
static enum db_pipeline_end flush(PGconn *conn, int64_t deadline)
{
    int left;
    while ((left = PQflush(conn)) > 0) {
        if (!db_wait(conn, POLLIN | POLLOUT, deadline))
            return DB_PIPELINE_NOT_SENT;
        if (!PQconsumeInput(conn))
            return DB_PIPELINE_LOST;
    }
    return left == 0 ? DB_PIPELINE_ANSWERED : DB_PIPELINE_LOST;
}

/* Waits until PQgetResult will not block. At the end of a pipeline in which no step has failed
 * there is an error message only where libpq has no memory to report that end: it would wait
 * forever. */
static enum db_pipeline_end await(PGconn *conn, bool all_good, int64_t deadline)
{
    while (PQisBusy(conn)) {
        if (all_good && *PQerrorMessage(conn))
            return DB_PIPELINE_LOST;
        if (!db_wait(conn, POLLIN, deadline))
            return DB_PIPELINE_LATE;
        if (!PQconsumeInput(conn))
            return DB_PIPELINE_LOST;
    }
    return DB_PIPELINE_ANSWERED;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

/* An error that is libpq's own, as where it has no memory. What follows in a pipeline may then
 * never be reported. */
static bool is_libpqs(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_FATAL_ERROR &&
           !PQresultErrorField(result, PG_DIAG_SQLSTATE);
}

/* Reads one step's result, and the NULL that follows it. */
static enum db_pipeline_end receive_step(PGconn *conn, int64_t deadline, PGresult **result)
{
    *result = NULL;
    for (;;) {
        enum db_pipeline_end end = await(conn, false, deadline);
        PGresult *next = end == DB_PIPELINE_ANSWERED ? PQgetResult(conn) : NULL;
        if (next) {
            PQclear(*result);
            *result = next;
            continue;
        }
        if (end == DB_PIPELINE_ANSWERED)
            return *result ? DB_PIPELINE_ANSWERED : DB_PIPELINE_LOST;
        PQclear(*result);
        return end;
    }
}

/* Reads all results, and keeps the one that counts. */
static enum db_pipeline_end receive(PGconn *conn, int count, int wanted, int64_t deadline,
                                    struct db_answer *answer)
{
    for (int i = 0; i < count; i++) {
        PGresult *result;
        enum db_pipeline_end end = receive_step(conn, deadline, &result);
        if (end != DB_PIPELINE_ANSWERED)
            return end;
        if (is_libpqs(result) && count > 1) {
            PQclear(result);
            return DB_PIPELINE_LOST;
        }
        bool fails_first = answer->failed < 0 && !is_good(result);
        if (fails_first || (answer->failed < 0 && i == wanted)) {
            PQclear(answer->result);
            answer->result = result;
        } else {
            PQclear(result);
        }
        if (fails_first)
            answer->failed = i;
    }
    return DB_PIPELINE_ANSWERED;
}

static enum db_pipeline_end leave_pipeline(PGconn *conn, const struct db_answer *answer,
                                           int64_t deadline)
{
    enum db_pipeline_end end = await(conn, answer->failed < 0, deadline);
    if (end != DB_PIPELINE_ANSWERED)
        return end;
    PGresult *sync = PQgetResult(conn);
    bool good = PQresultStatus(sync) == PGRES_PIPELINE_SYNC && PQexitPipelineMode(conn);
    PQclear(sync);
    return good ? DB_PIPELINE_ANSWERED : DB_PIPELINE_LOST;
}

enum db_pipeline_end db_pipeline_run(PGconn *conn, const struct db_step *steps, int count,
                                     int wanted, int64_t deadline, struct db_answer *answer)
{
    *answer = (struct db_answer){NULL, -1};
    if (!enqueue(conn, steps, count))
        return DB_PIPELINE_LOST;
    enum db_pipeline_end end = flush(conn, deadline);
    if (end == DB_PIPELINE_ANSWERED)
        end = receive(conn, count, wanted, deadline, answer);
    if (end == DB_PIPELINE_ANSWERED && count > 1)
        end = leave_pipeline(conn, answer, deadline);
    if (end != DB_PIPELINE_ANSWERED) {
        PQclear(answer->result);
        answer->result = NULL;
    }
    return end;
}
