/* SPDX-License-Identifier: MIT
 * action_statements: which statement a pass of an action sends, and with which values. */
#include "fake_db.h"

#include "store/action_private.h"
#include "store/store_private.h"

static struct store store;
static struct error error;
static const int64_t seven = 7;
static const int64_t three = 3;

/* Any answer is good enough: the code under test does not read it. */
static struct fake_answer *sent(const struct sql *sql, const struct action *action)
{
    struct fake_answer *answer = fake_changes(sql, fake_result("id"));
    PGresult *result = action_send(action, &error);
    assert_non_null(result);
    PQclear(result);
    return answer;
}

static void assert_param(const struct fake_answer *answer, int number, const char *expected)
{
    const char *value = fake_param(answer, number);
    if (!expected)
        assert_null(value);
    else
        assert_string_equal(value, expected);
}

/* What each kind sends: with a history and without, on this registry's first schema and later. */
static void test_which_statement(void **state)
{
    static const struct {
        enum action_kind kind;
        bool has_history, has_error_code, dry_run, undoes;
        const struct sql *sql;
    } cases[] = {
        {ACTION_PAUSE, false, true, false, false, &SQL_PAUSE},
        {ACTION_PAUSE, true, true, false, false, &SQL_PAUSE_RECORDED},
        {ACTION_PAUSE, true, true, true, false, &SQL_PAUSE},
        {ACTION_RESUME, false, true, false, false, &SQL_RESUME},
        {ACTION_RESUME, true, true, false, false, &SQL_RESUME_RECORDED},
        {ACTION_RESUME, true, true, true, false, &SQL_RESUME},
        {ACTION_RESUME, true, true, false, true, &SQL_UNDO},
        {ACTION_RESUME, true, true, true, true, &SQL_UNDO},
        {ACTION_RESTART, false, true, false, false, &SQL_RESTART},
        {ACTION_RESTART, false, false, false, false, &SQL_RESTART_FIRST},
        {ACTION_RESTART, true, true, false, false, &SQL_RESTART_RECORDED},
        {ACTION_RESTART, true, false, false, false, &SQL_RESTART_FIRST_RECORDED},
        {ACTION_RESTART, true, true, true, false, &SQL_RESTART},
        {ACTION_RESTART, true, false, true, false, &SQL_RESTART_FIRST},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct changes changes = {0};
        const struct action_request request = {.kind = cases[i].kind,
                                               .id = cases[i].undoes ? NULL : &seven,
                                               .undoes = cases[i].undoes ? &three : NULL,
                                               .dry_run = cases[i].dry_run,
                                               .deadline = 55,
                                               .correlation_id = "key"};
        const struct action action = {.request = &request,
                                      .store = &store,
                                      .changes = &changes,
                                      .has_history = cases[i].has_history,
                                      .worker = {.has_error_code = cases[i].has_error_code}};
        assert_int_equal(sent(cases[i].sql, &action)->deadline, 55);
        assert_null(fake_answers[i].lock);
    }
}

/* What may begin an action that an equal request may begin, too, waits for a lock first. */
static void test_which_lock(void **state)
{
    static const struct {
        bool has_history, dry_run, may_be_repeat, has_begun, locks;
    } cases[] = {
        {true, false, true, false, true}, {false, false, true, false, false},
        {true, true, true, false, false}, {true, false, false, false, false},
        {true, false, true, true, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct changes changes = {.action_id = {cases[i].has_begun, 42}};
        const struct action_request request = {.kind = ACTION_RESUME,
                                               .undoes = &three,
                                               .dry_run = cases[i].dry_run,
                                               .may_be_repeat = cases[i].may_be_repeat,
                                               .correlation_id = "key"};
        const struct action action = {.request = &request,
                                      .store = &store,
                                      .changes = &changes,
                                      .has_history = cases[i].has_history,
                                      .seen = 12};
        const struct fake_answer *answer =
            sent(cases[i].has_history ? &SQL_UNDO : &SQL_RESUME, &action);
        assert_ptr_equal(answer->lock, cases[i].locks ? &SQL_LOCK_REQUEST : NULL);
        assert_string_equal(answer->lock_param, cases[i].locks ? "key" : "");
        if (cases[i].has_history)
            assert_param(answer, SQL_UNDO_SEEN, cases[i].locks ? "12" : NULL);
    }
}

/* The first pass of a pause of all. What is not known is SQL's NULL. */
static void test_a_plain_pause(void **state)
{
    struct changes changes = {0};
    const struct action_request request = {.kind = ACTION_PAUSE};
    const struct action action = {.request = &request, .store = &store, .changes = &changes};
    (void)state;
    const struct fake_answer *answer = sent(&SQL_PAUSE, &action);
    assert_param(answer, SQL_PAUSE_ID, NULL);
    assert_param(answer, SQL_PAUSE_AT, NULL);
    assert_param(answer, SQL_PAUSE_WORKER, NULL);
    assert_param(answer, SQL_PAUSE_DRY_RUN, "false");
}

/* A later pass: it bears the first one's moment, and looks for the worker's transaction. */
static void test_a_later_pass(void **state)
{
    struct changes changes = {0};
    const struct action_request request = {.kind = ACTION_PAUSE, .id = &seven, .dry_run = true};
    const struct action action = {.request = &request,
                                  .store = &store,
                                  .changes = &changes,
                                  .worker = {.xids = (char *)(uintptr_t) "{12,13}"},
                                  .at = {true, 1700000000123456}};
    (void)state;
    const struct fake_answer *answer = sent(&SQL_PAUSE, &action);
    assert_param(answer, SQL_PAUSE_ID, "7");
    assert_param(answer, SQL_PAUSE_AT, "2023-11-14T22:13:20.123456Z");
    assert_param(answer, SQL_PAUSE_WORKER, "{12,13}");
    assert_param(answer, SQL_PAUSE_DRY_RUN, "true");
}

/* A moment that has no text is not sent. */
static void test_a_moment_beyond_all_calendars(void **state)
{
    struct changes changes = {0};
    const struct action_request request = {.kind = ACTION_RESUME};
    const struct action action = {
        .request = &request, .store = &store, .changes = &changes, .at = {true, INT64_MAX}};
    (void)state;
    assert_param(sent(&SQL_RESUME, &action), SQL_RESUME_AT, NULL);
}

static const struct action_request recorded_request = {.kind = ACTION_PAUSE,
                                                       .id = &seven,
                                                       .actor = "who",
                                                       .token_id = "token",
                                                       .remote_addr = "::1",
                                                       .correlation_id = "key",
                                                       .reason = "why"};

static void test_a_recorded_pause(void **state)
{
    struct changes changes = {0};
    const struct action action = {.request = &recorded_request,
                                  .store = &store,
                                  .changes = &changes,
                                  .has_history = true,
                                  .worker = {.xids = (char *)(uintptr_t) "{12}"}};
    (void)state;
    const struct fake_answer *answer = sent(&SQL_PAUSE_RECORDED, &action);
    assert_param(answer, SQL_PAUSE_RECORDED_ID, "7");
    assert_param(answer, SQL_PAUSE_RECORDED_WORKER, "{12}");
    assert_param(answer, SQL_PAUSE_RECORDED_DRY_RUN, "false");
    assert_param(answer, SQL_PAUSE_RECORDED_ACTION, "pause");
    assert_param(answer, SQL_PAUSE_RECORDED_ACTOR, "who");
    assert_param(answer, SQL_PAUSE_RECORDED_TOKEN_ID, "token");
    assert_param(answer, SQL_PAUSE_RECORDED_REMOTE_ADDR, "::1");
    assert_param(answer, SQL_PAUSE_RECORDED_CORRELATION_ID, "key");
    assert_param(answer, SQL_PAUSE_RECORDED_REASON, "why");
    assert_param(answer, SQL_PAUSE_RECORDED_ACTION_ID, NULL);
    assert_param(answer, SQL_PAUSE_RECORDED_REPEAT_OF, NULL);
}

/* A later pass adds to the record; one that repeats an earlier request says so, too. */
static void test_the_same_record(void **state)
{
    (void)state;
    for (int repeated = 0; repeated < 2; repeated++) {
        struct changes changes = {.action_id = {true, 42}, .repeated = repeated};
        struct action_request request = recorded_request;
        struct action action = {.request = &request,
                                .store = &store,
                                .changes = &changes,
                                .has_history = true,
                                .worker = {.has_error_code = true}};
        const char *repeat_of = repeated ? "42" : NULL;
        const struct fake_answer *answer = sent(&SQL_PAUSE_RECORDED, &action);
        assert_param(answer, SQL_PAUSE_RECORDED_ACTION_ID, "42");
        assert_param(answer, SQL_PAUSE_RECORDED_REPEAT_OF, repeat_of);
        request.kind = ACTION_RESUME;
        answer = sent(&SQL_RESUME_RECORDED, &action);
        assert_param(answer, SQL_RESUME_RECORDED_ACTION, "resume");
        assert_param(answer, SQL_RESUME_RECORDED_ACTION_ID, "42");
        assert_param(answer, SQL_RESUME_RECORDED_REPEAT_OF, repeat_of);
        request.kind = ACTION_RESTART;
        answer = sent(&SQL_RESTART_RECORDED, &action);
        assert_param(answer, SQL_RESTART_RECORDED_ACTION, "restart");
        assert_param(answer, SQL_RESTART_RECORDED_ACTION_ID, "42");
        assert_param(answer, SQL_RESTART_RECORDED_REPEAT_OF, repeat_of);
        action.worker.has_error_code = false;
        answer = sent(&SQL_RESTART_FIRST_RECORDED, &action);
        assert_param(answer, SQL_RESTART_FIRST_RECORDED_ACTION, "restart");
        assert_param(answer, SQL_RESTART_FIRST_RECORDED_REASON, "why");
        assert_param(answer, SQL_RESTART_FIRST_RECORDED_REPEAT_OF, repeat_of);
    }
}

static void test_an_undo(void **state)
{
    struct changes changes = {.action_id = {true, 42}};
    struct action_request request = recorded_request;
    const struct action action = {
        .request = &request, .store = &store, .changes = &changes, .has_history = true};
    (void)state;
    request.kind = ACTION_RESUME;
    request.id = NULL;
    request.undoes = &three;
    const struct fake_answer *answer = sent(&SQL_UNDO, &action);
    assert_param(answer, SQL_UNDO_UNDOES, "3");
    assert_param(answer, SQL_UNDO_DRY_RUN, "false");
    assert_param(answer, SQL_UNDO_ACTOR, "who");
    assert_param(answer, SQL_UNDO_ACTION_ID, "42");
    request.dry_run = true;
    assert_param(sent(&SQL_UNDO, &action), SQL_UNDO_DRY_RUN, "true");
}

static void test_no_answer(void **state)
{
    struct changes changes = {0};
    const struct action_request request = {.kind = ACTION_RESUME};
    const struct action action = {.request = &request, .store = &store, .changes = &changes};
    (void)state;
    fake_fails(&SQL_RESUME, true);
    assert_null(action_send(&action, &error));
    assert_int_equal(error.status, 503);
    error_free(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake_db_test(test_which_statement),
        fake_db_test(test_which_lock),
        fake_db_test(test_a_plain_pause),
        fake_db_test(test_a_later_pass),
        fake_db_test(test_a_moment_beyond_all_calendars),
        fake_db_test(test_a_recorded_pause),
        fake_db_test(test_the_same_record),
        fake_db_test(test_an_undo),
        fake_db_test(test_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
