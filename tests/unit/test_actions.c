/* SPDX-License-Identifier: MIT
 * actions: what a pause, a resume and a restart become, pass by pass, by the rows that each pass
 * returns. test_actions_history.c has those that read or write the history. */
#include "actions.h"
#include "fake_db.h"
#include "fake_time.h"

/* ---- one migration: what its state allows ---- */

static void test_states_that_need_no_change(void **state)
{
    static const struct {
        enum action_kind kind;
        int64_t status;
    } cases[] = {
        {ACTION_PAUSE, MIGRATION_PAUSED},   {ACTION_RESUME, MIGRATION_PAUSED},
        {ACTION_RESUME, MIGRATION_ACTIVE},  {ACTION_RESUME, MIGRATION_RUNNING},
        {ACTION_RESTART, MIGRATION_ACTIVE}, {ACTION_RESTART, MIGRATION_RUNNING},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct action_request request = request_of(cases[i].kind, &seven);
        expect_one(cases[i].kind, LEFT, cases[i].status);
        if (cases[i].kind == ACTION_PAUSE) {
            expect_worker(&idle);
            expect_pass(&SQL_PAUSE, 7, LEFT, cases[i].status);
        }
        assert_true(act(&request));
        assert_true(changes.untouched.given);
        assert_int_equal(changes.untouched.value, cases[i].status);
        assert_int_equal(changes.done.count, 0);
        end(state);
        begin(state);
    }
}

static void test_states_that_forbid_it(void **state)
{
    static const struct {
        enum action_kind kind;
        int64_t status;
        const char *detail;
    } cases[] = {
        {ACTION_PAUSE, MIGRATION_FINISHED, "7 is finished; no action is possible"},
        {ACTION_PAUSE, MIGRATION_FAILED, "7 is failed; it can only be restarted"},
        {ACTION_PAUSE, 99, "7 is unknown; no action is possible"},
        {ACTION_RESUME, MIGRATION_FINISHED, "7 is finished; no action is possible"},
        {ACTION_RESUME, MIGRATION_FAILED, "7 is failed; it can only be restarted"},
        {ACTION_RESTART, MIGRATION_PAUSED, "7 is paused; it can only be resumed"},
        {ACTION_RESTART, MIGRATION_FINISHED, "7 is finished; no action is possible"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct action_request request = request_of(cases[i].kind, &seven);
        expect_one(cases[i].kind, LEFT, cases[i].status);
        assert_fails(&request, 409, "BBM_STATE_CONFLICT", cases[i].detail);
        assert_false(changes.untouched.given);
        end(state);
        begin(state);
    }
}

static void test_an_unknown_migration(void **state)
{
    static const char *const details[] = {[ACTION_PAUSE] = "not found",
                                          [ACTION_RESUME] = "not found",
                                          [ACTION_RESTART] = "does not exist"};
    for (enum action_kind kind = ACTION_PAUSE; kind <= ACTION_RESTART; kind++) {
        const struct action_request request = request_of(kind, &seven);
        expect_history(0);
        expect_worker(&idle);
        expect_none(plain[kind]);
        assert_fails(&request, 404, "BBM_ID_NOT_FOUND", details[kind]);
        end(state);
        begin(state);
    }
}

static void test_a_restart(void **state)
{
    const struct action_request request = request_of(ACTION_RESTART, &seven);
    PGresult *result = pass_rows();
    (void)state;
    expect_history(0);
    expect_worker(&idle);
    FAKE_ROW(result, INTEGER(7), TEXT("name"), SMALL(3), BOOLEAN(1), BOOLEAN(0), NOTHING, MOMENT(5),
             NOTHING, SMALL(2), BOOLEAN(0));
    fake_changes(&SQL_RESTART, result);
    assert_true(act(&request));
    assert_list(&changes.done, 1, &seven);
    assert_int_equal(changes.done.rows[0].status.value, MIGRATION_FAILED);
    assert_int_equal(changes.error_code.value, 2);
    assert_false(changes.untouched.given);
    assert_false(changes.action_id.given && changes.repeated);
}

/* A run that was at its end finishes a migration that this pause has paused: that is no conflict.
 */
static void test_finished_after_it_was_paused(void **state)
{
    const struct action_request request = request_of(ACTION_PAUSE, &seven);
    (void)state;
    expect_one(ACTION_PAUSE, CHANGED, MIGRATION_RUNNING);
    expect_worker(&working);
    expect_pass(&SQL_PAUSE, 7, LEFT, MIGRATION_FINISHED);
    assert_true(act(&request));
    assert_list(&changes.done, 1, &seven);
    assert_int_equal(changes.done.rows[0].status.value, MIGRATION_RUNNING);
    assert_int_equal(changes.untouched.value, MIGRATION_FINISHED);
    assert_true(changes.job_in_flight);
}

/* ---- a pause is done when no worker can undo it ---- */

static void test_a_pause_of_all(void **state)
{
    static const int64_t ids[] = {1, 4};
    const struct action_request request = request_of(ACTION_PAUSE, NULL);
    PGresult *first = pass_rows();
    (void)state;
    expect_history(0);
    expect_worker(&idle);
    add(first, 1, CHANGED, MIGRATION_ACTIVE);
    add(first, 4, CHANGED, MIGRATION_RUNNING);
    const struct fake_answer *one = fake_changes(&SQL_PAUSE, first);
    expect_worker(&(struct worker_state){.in_run = true, .xids = (char *)(uintptr_t) "{12}"});
    const struct fake_answer *two = expect_none(&SQL_PAUSE);
    assert_true(act(&request));
    assert_list(&changes.done, 2, ids);
    assert_int_equal(changes.done.rows[1].status.value, MIGRATION_RUNNING);
    assert_true(changes.job_in_flight);
    assert_false(changes.unsettled);
    /* The look behind the first pass takes no round trip of its own. */
    assert_ptr_equal(one->along, &SQL_WORKER);
    assert_null(two->along);
    /* All changes bear the first one's moment. */
    assert_null(fake_param(one, SQL_PAUSE_AT));
    assert_string_equal(fake_param(two, SQL_PAUSE_AT), "1970-01-01T00:00:05Z");
    assert_null(fake_param(one, SQL_PAUSE_WORKER));
    assert_string_equal(fake_param(two, SQL_PAUSE_WORKER), "{12}");
}

/* What the worker was seen to do before the first pass does not count. */
static void test_a_pause_looks_after_its_first_pass(void **state)
{
    const struct action_request request = request_of(ACTION_PAUSE, NULL);
    (void)state;
    expect_history(0);
    expect_worker(&idle);
    expect_none(&SQL_PAUSE);
    expect_worker(&idle);
    expect_none(&SQL_PAUSE);
    assert_true(act(&request));
    assert_int_equal(changes.done.count, 0);
}

/* It waits while a worker may undo it, and then pauses what that worker has set running. */
static void test_a_pause_waits_for_the_worker(void **state)
{
    static const int64_t ids[] = {1, 2};
    const struct action_request request = request_of(ACTION_PAUSE, NULL);
    PGresult *second = pass_rows();
    (void)state;
    expect_history(0);
    expect_worker(&choosing);
    expect_pass(&SQL_PAUSE, 1, CHANGED, MIGRATION_ACTIVE);
    expect_worker(&choosing)->times = 5;
    expect_worker(&working);
    FAKE_ROW(second, INTEGER(2), TEXT("name"), SMALL(MIGRATION_RUNNING), BOOLEAN(1), BOOLEAN(0),
             NOTHING, MOMENT(9000000), NOTHING, NOTHING, BOOLEAN(0));
    fake_changes(&SQL_PAUSE, second);
    expect_worker(&working);
    const struct fake_answer *last = expect_none(&SQL_PAUSE);
    assert_true(act(&request));
    assert_list(&changes.done, 2, ids);
    assert_false(changes.unsettled);
    assert_string_equal(fake_param(last, SQL_PAUSE_AT), "1970-01-01T00:00:05Z");
}

/* The one that it has set running is the one that was paused: it sets none running again. */
static void test_a_running_migration_was_the_workers(void **state)
{
    const struct action_request request = request_of(ACTION_PAUSE, NULL);
    (void)state;
    expect_history(0);
    expect_worker(&choosing);
    expect_pass(&SQL_PAUSE, 1, CHANGED, MIGRATION_RUNNING);
    expect_worker(&choosing);
    expect_none(&SQL_PAUSE);
    assert_true(act(&request));
    assert_false(changes.unsettled);
}

/* The time is over: the report names what is done, and says that a worker may undo it. */
static void test_a_pause_that_is_not_settled_in_time(void **state)
{
    static const int64_t ids[] = {1};
    const struct action_request request = request_of(ACTION_PAUSE, NULL);
    (void)state;
    expect_history(0);
    expect_worker(&choosing);
    expect_pass(&SQL_PAUSE, 1, CHANGED, MIGRATION_ACTIVE);
    expect_worker(&choosing)->times = INT_MAX;
    assert_fails(&request, 503, "BBM_HELD", NULL);
    assert_true(error.retry_after > 0);
    assert_false(error.outcome_unknown);
    assert_list(&changes.done, 1, ids);
    assert_true(changes.unsettled);
    assert_in_range(clock_ms(), request.deadline - 200, request.deadline);
}

/* Only a pause can be undone by a worker. */
static void test_a_resume_does_not_look_again(void **state)
{
    const struct action_request request = request_of(ACTION_RESUME, NULL);
    (void)state;
    expect_history(0);
    expect_worker(&choosing);
    expect_pass(&SQL_RESUME, 1, CHANGED, MIGRATION_PAUSED);
    assert_true(act(&request));
    assert_int_equal(changes.done.count, 1);
    assert_true(changes.job_in_flight);
}

/* ---- held by another transaction ---- */

static void test_what_is_held_is_tried_again(void **state)
{
    static const int64_t ids[] = {1, 2};
    const struct action_request request = request_of(ACTION_RESUME, NULL);
    PGresult *result = pass_rows();
    (void)state;
    expect_history(0);
    expect_worker(&idle);
    add(result, 1, CHANGED, MIGRATION_PAUSED);
    add(result, 2, HELD, MIGRATION_PAUSED);
    fake_changes(&SQL_RESUME, result);
    expect_worker(&choosing); /* a resume does not wait for that */
    expect_pass(&SQL_RESUME, 2, HELD, MIGRATION_PAUSED);
    expect_worker(&idle);
    expect_pass(&SQL_RESUME, 2, CHANGED, MIGRATION_PAUSED);
    assert_true(act(&request));
    assert_list(&changes.done, 2, ids);
    assert_int_equal(changes.held.count, 0);
}

static void test_what_is_held_for_too_long(void **state)
{
    static const int64_t one = 1;
    static const int64_t two = 2;
    const struct action_request request = request_of(ACTION_RESUME, NULL);
    PGresult *result = pass_rows();
    (void)state;
    expect_history(0);
    expect_worker(&idle);
    add(result, 1, CHANGED, MIGRATION_PAUSED);
    add(result, 2, HELD, MIGRATION_PAUSED);
    fake_changes(&SQL_RESUME, result)->takes = 9000;
    expect_worker(&working);
    expect_pass(&SQL_RESUME, 2, HELD, MIGRATION_PAUSED)->takes = 2000;
    assert_fails(&request, 503, "BBM_HELD", NULL);
    assert_list(&changes.done, 1, &one);
    assert_list(&changes.held, 1, &two);
    assert_int_equal(changes.held.rows[0].status.value, MIGRATION_PAUSED);
}

/* ---- dry runs ---- */

static struct action_request dry(enum action_kind kind, const int64_t *id)
{
    struct action_request request = request_of(kind, id);
    request.dry_run = true;
    request.may_be_repeat = true;
    return request;
}

/* What it would change is in `done`; it neither waits for a worker nor looks for a repeat. */
static void test_a_dry_run(void **state)
{
    const struct action_request request = dry(ACTION_PAUSE, &seven);
    (void)state;
    expect_history(1);
    expect_worker(&choosing);
    const struct fake_answer *pass = expect_pass(&SQL_PAUSE, 7, CHANGED, MIGRATION_ACTIVE);
    assert_true(act(&request));
    assert_list(&changes.done, 1, &seven);
    assert_true(changes.job_in_flight);
    assert_string_equal(fake_param(pass, SQL_PAUSE_DRY_RUN), "true");
}

/* Each pass replaces what the one before reported; what is held for long is reported as held. */
static void test_a_dry_run_of_what_is_held(void **state)
{
    static const int64_t two = 2;
    const struct action_request request = dry(ACTION_PAUSE, NULL);
    PGresult *first = pass_rows();
    expect_history(0);
    expect_worker(&idle);
    add(first, 1, CHANGED, MIGRATION_ACTIVE);
    add(first, 2, HELD, MIGRATION_ACTIVE);
    fake_changes(&SQL_PAUSE, first);
    expect_pass(&SQL_PAUSE, 2, CHANGED, MIGRATION_ACTIVE);
    assert_true(act(&request));
    assert_list(&changes.done, 1, &two);
    assert_int_equal(changes.held.count, 0);
    end(state);
    begin(state);
    expect_history(0);
    expect_worker(&idle);
    struct fake_answer *held = expect_pass(&SQL_PAUSE, 2, HELD, MIGRATION_ACTIVE);
    held->times = INT_MAX;
    assert_true(act(&request));
    assert_list(&changes.held, 1, &two);
    assert_int_equal(changes.done.count, 0);
    assert_in_range(held->sent, 2, 20);
}

/* It has changed nothing, so its outcome is known. */
static void test_a_dry_run_that_is_lost(void **state)
{
    const struct action_request request = dry(ACTION_PAUSE, &seven);
    (void)state;
    expect_history(0);
    expect_worker(&idle);
    error_outcome_unknown(&fake_fails(&SQL_PAUSE, true)->error);
    assert_fails(&request, 503, NULL, NULL);
    assert_false(error.outcome_unknown);
    assert_string_equal(error.reason, "no database in this test");
}

/* ---- failures ---- */

/* At each statement of a pause: what was done by then is reported. */
static void test_a_failure_at_each_statement(void **state)
{
    for (int at = 0; at < 5; at++) {
        const struct action_request request = request_of(ACTION_PAUSE, &seven);
        if (at == 0)
            fake_fails(&SQL_HAS_HISTORY, false);
        else
            expect_history(0);
        if (at == 1)
            fake_fails(&SQL_WORKER, false);
        else if (at > 1)
            expect_worker(&idle);
        if (at == 2)
            error_outcome_unknown(&fake_fails(&SQL_PAUSE, true)->error);
        else if (at > 2)
            expect_pass(&SQL_PAUSE, 7, CHANGED, MIGRATION_ACTIVE);
        if (at == 3)
            fake_fails(&SQL_WORKER, false);
        else if (at > 3)
            expect_worker(&idle);
        if (at == 4)
            fake_fails(&SQL_PAUSE, true);
        assert_fails(&request, 503, NULL, NULL);
        assert_int_equal(error.outcome_unknown, at == 2);
        assert_list(&changes.done, at > 2, &seven);
        end(state);
        begin(state);
    }
}

/* Rows that no statement of ours gives. */
static void test_hostile_answers(void **state)
{
    const struct action_request request = request_of(ACTION_RESUME, NULL);
    const struct action_request one = request_of(ACTION_RESUME, &seven);
    PGresult *result = fake_result("a b");
    expect_history(0);
    expect_worker(&idle);
    FAKE_ROW(result, TEXT("\xFF"), NOTHING);
    fake_changes(&SQL_RESUME, result);
    assert_true(act(&request));
    assert_int_equal(changes.done.count, 0);
    end(state);
    begin(state);
    expect_history(0);
    expect_worker(&idle);
    result = pass_rows();
    FAKE_ROW(result, NOTHING, BYTES("\xFF\0x", 3), NOTHING, BOOLEAN(1), NOTHING, NOTHING, NOTHING,
             NOTHING, NOTHING, NOTHING);
    FAKE_ROW(result, NOTHING, NOTHING, TEXT("a status?"), BOOLEAN(1), NOTHING, NOTHING, NOTHING,
             NOTHING, NOTHING, NOTHING);
    fake_changes(&SQL_RESUME, result);
    assert_true(act(&request));
    assert_int_equal(changes.done.count, 1);
    assert_int_equal(changes.done.rows[0].name_len, 3);
    assert_false(changes.done.rows[0].status.given);
    assert_false(changes.action_id.given);
    end(state);
    begin(state);
    expect_history(0);
    expect_worker(&idle);
    result = pass_rows();
    FAKE_ROW(result, INTEGER(7), NOTHING, TEXT("a status?"), NOTHING, NOTHING, NOTHING, NOTHING,
             NOTHING, NOTHING, NOTHING);
    fake_changes(&SQL_RESUME, result);
    assert_fails(&one, 409, "BBM_STATE_CONFLICT", "unknown");
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(store_action_name(ACTION_PAUSE), "pause");
    assert_string_equal(store_action_name(ACTION_RESUME), "resume");
    assert_string_equal(store_action_name(ACTION_RESTART), "restart");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        action_test(test_states_that_need_no_change),
        action_test(test_states_that_forbid_it),
        action_test(test_an_unknown_migration),
        action_test(test_a_restart),
        action_test(test_finished_after_it_was_paused),
        action_test(test_a_pause_of_all),
        action_test(test_a_pause_looks_after_its_first_pass),
        action_test(test_a_pause_waits_for_the_worker),
        action_test(test_a_running_migration_was_the_workers),
        action_test(test_a_pause_that_is_not_settled_in_time),
        action_test(test_a_resume_does_not_look_again),
        action_test(test_what_is_held_is_tried_again),
        action_test(test_what_is_held_for_too_long),
        action_test(test_a_dry_run),
        action_test(test_a_dry_run_of_what_is_held),
        action_test(test_a_dry_run_that_is_lost),
        action_test(test_a_failure_at_each_statement),
        action_test(test_hostile_answers),
        action_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
