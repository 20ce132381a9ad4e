/* SPDX-License-Identifier: MIT
 *
 * actions: what the tests of the actions share: rows of a pass, and what is asked for.
 */
#ifndef BBM_UNIT_ACTIONS_H
#define BBM_UNIT_ACTIONS_H

#include "fake_db.h"
#include "fake_time.h"

#include "store/history.h"
#include "store/store_private.h"
#include "store/worker_state.h"

#include <json-c/json.h>

static struct store store;
static struct error error;
static struct changes changes;
static const int64_t seven = 7;
static const int64_t three = 3;

static inline int begin(void **state)
{
    fake_db_elapse = fake_time_pass;
    return fake_db_begin(state);
}

static inline int end(void **state)
{
    changes_free(&changes);
    error_free(&error);
    return fake_db_end(state);
}

#define action_test(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* ---- what the database answers ---- */

enum outcome {
    LEFT,
    CHANGED,
    HELD,
    OVERTAKEN,
};

static inline PGresult *pass_rows(void)
{
    return fake_result("id name previous_status changed held action_id at later error_code "
                       "overtaken");
}

/* What a pass did to a migration. */
static inline void add(PGresult *result, int64_t id, enum outcome outcome, int64_t status)
{
    FAKE_ROW(result, INTEGER(id), TEXT("name"), SMALL(status), BOOLEAN(outcome == CHANGED),
             BOOLEAN(outcome == HELD || outcome == OVERTAKEN),
             outcome == CHANGED ? INTEGER(42) : NOTHING, MOMENT(5000000), NOTHING, NOTHING,
             BOOLEAN(outcome == OVERTAKEN));
}

/* The next statement is this one, with nothing to do; with what it did to one migration. */
static inline struct fake_answer *expect_none(const struct sql *sql)
{
    return fake_changes(sql, pass_rows());
}

static inline struct fake_answer *expect_pass(const struct sql *sql, int64_t id,
                                              enum outcome outcome, int64_t status)
{
    PGresult *result = pass_rows();
    add(result, id, outcome, status);
    return fake_changes(sql, result);
}

static inline void expect_history(int exists)
{
    PGresult *result = fake_result("has_history");
    FAKE_ROW(result, BOOLEAN(exists));
    fake_reads(&SQL_HAS_HISTORY, result);
}

static inline struct fake_answer *expect_worker(const struct worker_state *worker)
{
    PGresult *result = fake_result(
        "in_run has_chosen past_choosing has_marked one_is_running xids has_error_code");
    FAKE_ROW(result, BOOLEAN(worker->in_run), BOOLEAN(worker->has_chosen),
             BOOLEAN(worker->past_choosing), BOOLEAN(worker->has_marked),
             BOOLEAN(worker->one_is_running), worker->xids ? TEXT(worker->xids) : NOTHING,
             BOOLEAN(worker->has_error_code));
    return fake_reads(&SQL_WORKER, result);
}

static const struct worker_state idle = {.has_error_code = true};
/* It may set a migration running that has been paused since. */
static const struct worker_state choosing = {.in_run = true, .has_chosen = true};
static const struct worker_state working = {
    .in_run = true, .has_chosen = true, .past_choosing = true};

static inline void expect_repeated(PGresult *result)
{
    fake_reads(&SQL_REPEATED, result);
}

static inline PGresult *repeated_rows(void)
{
    return fake_result("id name previous_status action_id at seen");
}

/* There is none, and the newest action under the correlation id is this one. */
static inline PGresult *no_repeated(int64_t seen)
{
    PGresult *result = repeated_rows();
    FAKE_ROW(result, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, INTEGER(seen));
    return result;
}

static const struct sql *const plain[] = {
    [ACTION_PAUSE] = &SQL_PAUSE, [ACTION_RESUME] = &SQL_RESUME, [ACTION_RESTART] = &SQL_RESTART};

/* An action on the migration 7, without a history, up to the result of its first pass. */
static inline void expect_one(enum action_kind kind, enum outcome outcome, int64_t status)
{
    expect_history(0);
    expect_worker(&idle);
    expect_pass(plain[kind], 7, outcome, status);
}

/* ---- what is asked for ---- */

static inline struct action_request request_of(enum action_kind kind, const int64_t *id)
{
    return (struct action_request){
        .kind = kind, .id = id, .deadline = clock_ms() + 10000, .correlation_id = "key"};
}

static inline bool act(const struct action_request *request)
{
    return store_act(&store, request, &changes, &error);
}

static inline void assert_list(const struct change_list *list, size_t count, const int64_t *ids)
{
    assert_int_equal(list->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(list->rows[i].id, ids[i]);
}

static inline void assert_fails(const struct action_request *request, int status, const char *code,
                                const char *detail)
{
    assert_false(act(request));
    assert_int_equal(error.status, status);
    if (code)
        assert_string_equal(error.code, code);
    if (detail && !strstr(json_object_get_string(error.detail), detail))
        fail_msg("the detail is %s", json_object_get_string(error.detail));
}

#endif
