/* SPDX-License-Identifier: MIT
 *
 * db_pipeline: statements that are sent together, and their results, until a deadline.
 *
 * One statement is sent as it is; several make a pipeline of libpq's, with one round trip: where
 * one fails, those after it do not run. The connection is non-blocking and belongs to the caller.
 */
#ifndef BBM_DB_PIPELINE_H
#define BBM_DB_PIPELINE_H

#include "store/sql.h"

#include <libpq-fe.h>
#include <stdint.h>

/* BEGIN, a lock, a statement that is prepared first, COMMIT; and another one that is prepared
 * first. */
#define DB_STEPS_MAX 7

enum db_step_kind {
    DB_PLAIN,
    DB_PREPARE,
    DB_EXECUTE, /* what was prepared */
};

struct db_step {
    enum db_step_kind kind;
    const struct sql *sql;
    const char *const *params; /* text; NULL for SQL's NULL */
};

enum db_pipeline_end {
    DB_PIPELINE_ANSWERED,
    DB_PIPELINE_LOST,     /* the connection, or libpq's memory for an answer */
    DB_PIPELINE_NOT_SENT, /* in time; the server may have a part */
    DB_PIPELINE_LATE,     /* no answer in time */
};

/* The first `own` steps make the statement whose result counts; those after them are sent along. */
struct db_batch {
    struct db_step steps[DB_STEPS_MAX];
    int count;
    int own;
    int wanted; /* the number of the step whose result counts */
};

struct db_answer {
    PGresult *result; /* the caller's; NULL unless the own steps are answered */
    int failed;       /* the number of the own step whose error `result` is; -1: none failed */
    int done;         /* how many steps have run */
    PGresult *along;  /* the caller's: the last step's, where that was sent along and has run */
};

/* Sends the steps and gives the result of the one that is wanted, or of the first of the own steps
 * that failed. Where those are answered and the end is another, only what was sent along is
 * missing. */
enum db_pipeline_end db_pipeline_run(PGconn *conn, const struct db_batch *batch, int64_t deadline,
                                     struct db_answer *answer);

#endif
