/* SPDX-License-Identifier: MIT
 *
 * fake_db: answers made by hand in place of a database, for the tests of the files that send
 * statements and read their rows.
 *
 * A test says which statement it expects next, and what becomes of it. db_read and db_change come
 * here (the Makefile links what starts with __wrap_ in the other's place).
 */
#ifndef BBM_UNIT_FAKE_DB_H
#define BBM_UNIT_FAKE_DB_H

#include "unit.h"

#include "store/db.h"
#include "store/sql.h"

#include <libpq-fe.h>
#include <limits.h>

#define FAKE_ANSWERS_MAX 64
#define FAKE_PARAMS_MAX  16

/* ---- results ---- */

/* What a column of a row holds. */
struct cell {
    enum {
        CELL_NULL,
        CELL_INTEGER,
        CELL_TEXT,
    } kind;
    int64_t value;
    const char *text;
    int len;
};

#define NOTHING        ((struct cell){CELL_NULL, 0, NULL, -1})
#define INTEGER(value) ((struct cell){CELL_INTEGER, (value), NULL, 8})
#define BOOLEAN(value) ((struct cell){CELL_INTEGER, (value), NULL, 1})
#define SMALL(value)   ((struct cell){CELL_INTEGER, (value), NULL, 2})
/* A moment, in microseconds since the Unix epoch. */
#define MOMENT(value)      INTEGER((value)-INT64_C(946684800) * 1000000)
#define TEXT(value)        ((struct cell){CELL_TEXT, 0, (value), (int)strlen(value)})
#define BYTES(value, size) ((struct cell){CELL_TEXT, 0, (value), (size)})

/* An empty result; `names` are the columns', with one blank between two. */
static inline PGresult *fake_result(const char *names)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[32] = {0};
    char *copy = strdup(names);
    char *rest = copy;
    int count = 0;
    assert_non_null(result);
    assert_non_null(copy);
    while (rest && count < (int)COUNT(columns))
        columns[count++] = (PGresAttDesc){.name = strsep(&rest, " "), .format = 1};
    assert_null(rest);
    assert_true(PQsetResultAttrs(result, count, columns));
    free(copy);
    return result;
}

/* Adds a row with a cell for each column. */
static inline void fake_row(PGresult *result, const struct cell *cells, size_t count)
{
    int row = PQntuples(result);
    assert_int_equal(count, PQnfields(result));
    for (int column = 0; column < PQnfields(result); column++) {
        const struct cell *cell = &cells[column];
        char *bytes = malloc((size_t)(cell->len > 0 ? cell->len : 0) + 1);
        assert_non_null(bytes);
        if (cell->kind == CELL_TEXT)
            memcpy(bytes, cell->text, (size_t)cell->len);
        for (int i = 0; cell->kind == CELL_INTEGER && i < cell->len; i++)
            bytes[i] = (char)((uint64_t)cell->value >> 8 * (cell->len - 1 - i));
        assert_true(PQsetvalue(result, row, column, cell->kind == CELL_NULL ? NULL : bytes,
                               cell->kind == CELL_NULL ? -1 : cell->len));
        free(bytes);
    }
}

#define FAKE_ROW(result, ...)                                                                      \
    fake_row((result), (const struct cell[]){__VA_ARGS__},                                         \
             COUNT(((const struct cell[]){__VA_ARGS__})))

/* ---- the script ---- */

/* A statement that is expected, and what becomes of it. */
struct fake_answer {
    const struct sql *sql;
    bool changes;       /* it is sent by db_change */
    int times;          /* how often it is expected in a row; INT_MAX: as often as it comes */
    PGresult *result;   /* NULL: the error; owned */
    struct error error; /* owned */
    int64_t takes;      /* milliseconds of the test's time, where that is faked too */
    int sent;           /* how often it has come */
    int64_t deadline;   /* as it was last sent with, as are the parameters; owned */
    char *params[FAKE_PARAMS_MAX];
    const struct sql *along; /* was asked to be sent along with it; NULL: none */
    const struct sql *lock;  /* of a change; NULL: none. With its first parameter */
    char lock_param[32];
};

static struct fake_answer fake_answers[FAKE_ANSWERS_MAX];
static size_t fake_count;
static size_t fake_next;
static const struct sql *fake_along; /* to be sent along with the next statement */

/* Given the milliseconds that a statement takes. NULL: time is not faked. */
static void (*fake_db_elapse)(int64_t ms);

static inline struct fake_answer *fake_add(const struct sql *sql, bool changes, PGresult *result)
{
    struct fake_answer *answer = &fake_answers[fake_count++];
    assert_true(fake_count <= FAKE_ANSWERS_MAX);
    *answer = (struct fake_answer){.sql = sql, .changes = changes, .times = 1, .result = result};
    return answer;
}

/* The next statement is to be this one, a read or a change; it gets the result, which the script
 * takes over. */
static inline struct fake_answer *fake_reads(const struct sql *sql, PGresult *result)
{
    return fake_add(sql, false, result);
}

static inline struct fake_answer *fake_changes(const struct sql *sql, PGresult *result)
{
    return fake_add(sql, true, result);
}

/* The next statement is to be this one; it fails as where the database cannot be reached. */
static inline struct fake_answer *fake_fails(const struct sql *sql, bool changes)
{
    struct fake_answer *answer = fake_add(sql, changes, NULL);
    error_unavailable(&answer->error, "no database in this test");
    return answer;
}

/* The value of a parameter of the statement, as it was sent last; NULL is SQL's NULL. */
static inline const char *fake_param(const struct fake_answer *answer, int number)
{
    assert_true(answer->sent > 0 && number >= 0 && number < answer->sql->params);
    return answer->params[number];
}

static inline void fake_forget_params(struct fake_answer *answer)
{
    for (int i = 0; i < FAKE_PARAMS_MAX; i++) {
        free(answer->params[i]);
        answer->params[i] = NULL;
    }
}

/* cmocka's setup and teardown of each test. */
static inline int fake_db_begin(void **state)
{
    (void)state;
    fake_count = fake_next = 0;
    fake_along = NULL;
    return 0;
}

/* Fails where a statement was expected that has not come. */
static inline int fake_db_end(void **state)
{
    (void)state;
    bool all_came = fake_next == fake_count;
    for (size_t i = 0; i < fake_count; i++) {
        all_came = all_came || (i + 1 == fake_count && fake_answers[i].sent > 0 &&
                                fake_answers[i].times == INT_MAX);
        PQclear(fake_answers[i].result);
        error_free(&fake_answers[i].error);
        fake_forget_params(&fake_answers[i]);
    }
    if (!all_came)
        print_error("the statement number %zu has not come\n", fake_next);
    return all_came ? 0 : -1;
}

#define fake_db_test(test) cmocka_unit_test_setup_teardown(test, fake_db_begin, fake_db_end)

/* ---- in place of store/db.c ---- */

static inline const char *fake_name(const struct sql *sql)
{
    return sql->name ? sql->name : sql->text;
}

static inline struct pg_result *fake_send(const struct sql *sql, bool changes,
                                          const char *const *params, int64_t deadline,
                                          struct error *error)
{
    if (fake_next == fake_count)
        fail_msg("a statement that is not expected: %s", fake_name(sql));
    struct fake_answer *answer = &fake_answers[fake_next];
    if (answer->sql != sql || answer->changes != changes)
        fail_msg("statement number %zu: %s comes, and %s is expected", fake_next, fake_name(sql),
                 fake_name(answer->sql));
    assert_int_equal(error->status, 0); /* an error in use would be lost */
    fake_forget_params(answer);
    for (int i = 0; i < sql->params; i++)
        answer->params[i] = params[i] ? strdup(params[i]) : NULL;
    answer->deadline = deadline;
    answer->along = fake_along;
    fake_along = NULL;
    if (++answer->sent == answer->times)
        fake_next++;
    if (fake_db_elapse)
        fake_db_elapse(answer->takes);
    if (answer->result)
        return PQcopyResult(answer->result, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
    *error = answer->error;
    if (answer->sent == answer->times)
        answer->error = (struct error){0};
    return NULL;
}

struct pg_result *__wrap_db_read(struct db *db, const struct sql *sql, const char *const *params,
                                 int64_t deadline, struct error *error);
struct pg_result *__wrap_db_change(struct db *db, const struct db_lock *lock, const struct sql *sql,
                                   const char *const *params, int64_t deadline,
                                   struct error *error);

struct pg_result *__wrap_db_read(struct db *db, const struct sql *sql, const char *const *params,
                                 int64_t deadline, struct error *error)
{
    (void)db;
    return fake_send(sql, false, params, deadline, error);
}

struct pg_result *__wrap_db_change(struct db *db, const struct db_lock *lock, const struct sql *sql,
                                   const char *const *params, int64_t deadline, struct error *error)
{
    struct fake_answer *answer = &fake_answers[fake_next];
    (void)db;
    answer->lock = lock ? lock->sql : NULL;
    snprintf(answer->lock_param, sizeof answer->lock_param, "%s", lock ? lock->params[0] : "");
    return fake_send(sql, true, params, deadline, error);
}

void __wrap_db_send_along(struct db *db, const struct sql *sql);

void __wrap_db_send_along(struct db *db, const struct sql *sql)
{
    (void)db;
    fake_along = sql;
}

#endif
