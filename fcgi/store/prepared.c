/* SPDX-License-Identifier: MIT
 * Prepared statements, and how they end. */
#include "store/prepared.h"

#include "base/log.h"

#include <stddef.h>
#include <string.h>

/* A statement that is gone twice within so many runs was not discarded by a person: a DISCARD ALL
 * takes each once. */
#define LOST_RUNS 100

/* A statement whose columns change that often in a row is stale in what stands before the
 * server: PgBouncer keeps one of its own for the same text. */
#define CHANGED_MAX 2

static void stop_preparing(struct prepared *prepared)
{
    if (!atomic_exchange(prepared->unusable, true))
        log_message(LOG_WARN,
                    "prepared statements get lost on the way to the database, as behind PgBouncer "
                    "before 1.21 in transaction pooling; no statement is prepared from now on "
                    "(database.preparedstatements)");
}

bool prepared_wanted(const struct prepared *prepared, const struct sql *sql)
{
    return sql->name && prepared->statements[sql->number].changed < CHANGED_MAX &&
           !atomic_load_explicit(prepared->unusable, memory_order_relaxed);
}

bool prepared_missing(const struct prepared *prepared, const struct sql *sql)
{
    return !prepared->statements[sql->number].there;
}

void prepared_add(struct prepared *prepared, const struct sql *sql)
{
    prepared->statements[sql->number].there = true;
}

void prepared_ran(struct prepared *prepared, const struct sql *sql)
{
    prepared->runs++;
    prepared->statements[sql->number].changed = 0;
}

void prepared_clear(struct prepared *prepared)
{
    for (size_t i = 0; i < SQL_STATEMENTS; i++)
        prepared->statements[i].there = false;
}

/* Others may be gone with it. But not all: some may have been prepared since. */
static enum prepared_verdict lose(struct prepared *prepared, const struct sql *sql)
{
    unsigned now = prepared->runs + 1;
    unsigned last = prepared->statements[sql->number].lost;
    if (last > 0 && now - last < LOST_RUNS)
        stop_preparing(prepared);
    prepared->statements[sql->number].lost = now;
    prepared->statements[sql->number].there = false;
    return PREPARED_RETRY;
}

enum prepared_verdict prepared_refused(struct prepared *prepared, const struct sql *sql,
                                       const char *sqlstate)
{
    if (strcmp(sqlstate, "26000") == 0) /* invalid_sql_statement_name: it is not there */
        return lose(prepared, sql);
    if (strcmp(sqlstate, "42P05") == 0) { /* duplicate_prepared_statement: another client's */
        stop_preparing(prepared);
        return PREPARED_RETRY;
    }
    if (strcmp(sqlstate, "0A000") == 0) { /* "cached plan must not change result type" */
        prepared->statements[sql->number].changed++;
        return PREPARED_RECONNECT;
    }
    return PREPARED_NOT_CONCERNED;
}
