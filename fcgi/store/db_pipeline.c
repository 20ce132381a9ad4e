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

static bool enqueue(PGconn *conn, const struct db_batch *batch)
{
    if (batch->count > 1 && !PQenterPipelineMode(conn))
        return false;
    for (int i = 0; i < batch->count; i++) {
        if (!enqueue_step(conn, &batch->steps[i]))
            return false;
    }
    return batch->count == 1 || PQpipelineSync(conn) == 1;
}

/* Sends what libpq still holds. Reads meanwhile, so that the two sides do not wait for each other.
 */
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

/* Takes over the result of a step, which is kept or cleared. */
static void take_result(const struct db_batch *batch, int step, PGresult *result,
                        struct db_answer *answer)
{
    PGresult **place = NULL;
    bool is_first_error = answer->done == step && !is_good(result);
    if (answer->done == step && is_good(result))
        answer->done++;
    if (is_first_error && step < batch->own) {
        answer->failed = step;
        place = &answer->result;
    } else if (step == batch->wanted && answer->failed < 0) {
        place = &answer->result;
    } else if (step == batch->count - 1 && answer->done == batch->count) {
        place = &answer->along;
    }
    if (!place) {
        PQclear(result);
        return;
    }
    PQclear(*place);
    *place = result;
}

/* Reads all results, and keeps those that count. */
static enum db_pipeline_end receive(PGconn *conn, const struct db_batch *batch, int64_t deadline,
                                    struct db_answer *answer)
{
    for (int i = 0; i < batch->count; i++) {
        PGresult *result;
        enum db_pipeline_end end = receive_step(conn, deadline, &result);
        if (end == DB_PIPELINE_ANSWERED && is_libpqs(result) && batch->count > 1) {
            PQclear(result);
            end = DB_PIPELINE_LOST;
        }
        if (end != DB_PIPELINE_ANSWERED) {
            if (i < batch->own) {
                PQclear(answer->result);
                answer->result = NULL;
            }
            return end;
        }
        take_result(batch, i, result, answer);
    }
    return DB_PIPELINE_ANSWERED;
}

static enum db_pipeline_end leave_pipeline(PGconn *conn, bool all_good, int64_t deadline)
{
    enum db_pipeline_end end = await(conn, all_good, deadline);
    if (end != DB_PIPELINE_ANSWERED)
        return end;
    PGresult *sync = PQgetResult(conn);
    bool good = PQresultStatus(sync) == PGRES_PIPELINE_SYNC && PQexitPipelineMode(conn);
    PQclear(sync);
    return good ? DB_PIPELINE_ANSWERED : DB_PIPELINE_LOST;
}

enum db_pipeline_end db_pipeline_run(PGconn *conn, const struct db_batch *batch, int64_t deadline,
                                     struct db_answer *answer)
{
    *answer = (struct db_answer){.failed = -1};
    if (!enqueue(conn, batch))
        return DB_PIPELINE_LOST;
    enum db_pipeline_end end = flush(conn, deadline);
    if (end == DB_PIPELINE_ANSWERED)
        end = receive(conn, batch, deadline, answer);
    if (end == DB_PIPELINE_ANSWERED && batch->count > 1)
        end = leave_pipeline(conn, answer->done == batch->count, deadline);
    if (end == DB_PIPELINE_ANSWERED)
        return end;
    PQclear(answer->along);
    answer->along = NULL;
    if (answer->failed >= 0 || batch->own == batch->count) {
        PQclear(answer->result);
        answer->result = NULL;
    }
    return end;
}
