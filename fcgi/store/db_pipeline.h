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

struct db_answer {
    PGresult *result; /* the caller's; NULL unless answered */
    int failed;       /* the number of the step whose error `result` is; -1: none failed */
};

/* Sends the steps and gives the result of the one numbered `wanted`, or of the first that
 * failed. */
enum db_pipeline_end db_pipeline_run(PGconn *conn, const struct db_step *steps, int count,
                                     int wanted, int64_t deadline, struct db_answer *answer);

#endif
