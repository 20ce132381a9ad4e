/* SPDX-License-Identifier: MIT
 * actions: their record in the history, requests that are repeated, and undo. */
#include "actions.h"
#include "fake_db.h"
#include "fake_time.h"

/* ---- the history ---- */

/* All passes of one action are one record. */
static void test_one_record_for_all_passes(void **state)
{
    const struct action_request request = request_of(ACTION_PAUSE, NULL);
    (void)state;
    expect_history(1);
    expect_worker(&idle);
    const struct fake_answer *one = expect_pass(&SQL_PAUSE_RECORDED, 1, CHANGED, MIGRATION_ACTIVE);
    expect_worker(&idle);
    const struct fake_answer *two = expect_none(&SQL_PAUSE_RECORDED);
    assert_true(act(&request));
    assert_int_equal(changes.action_id.value, 42);
    assert_false(changes.repeated);
    assert_null(fake_param(one, SQL_PAUSE_RECORDED_ACTION_ID));
    assert_string_equal(fake_param(two, SQL_PAUSE_RECORDED_ACTION_ID), "42");
}

static PGresult *earlier_pause(void)
{
    PGresult *result = repeated_rows();
    FAKE_ROW(result, INTEGER(7), TEXT("name"), SMALL(1), INTEGER(30), MOMENT(3000000), INTEGER(30));
    return result;
}

/* A request that is sent again: what the first one did is done, and is not done twice. */
static void test_a_repeated_request(void **state)
{
    struct action_request request = request_of(ACTION_PAUSE, &seven);
    (void)state;
    request.may_be_repeat = true;
    expect_history(1);
    expect_repeated(earlier_pause());
    expect_worker(&idle);
    const struct fake_answer *one = expect_pass(&SQL_PAUSE_RECORDED, 7, LEFT, MIGRATION_PAUSED);
    expect_worker(&idle);
    expect_pass(&SQL_PAUSE_RECORDED, 7, LEFT, MIGRATION_PAUSED);
    expect_repeated(earlier_pause());
    assert_true(act(&request));
    assert_true(changes.repeated);
    assert_null(one->lock);
    assert_null(fake_param(one, SQL_PAUSE_RECORDED_SEEN));
    assert_int_equal(changes.action_id.value, 30);
    assert_list(&changes.done, 1, &seven);
    assert_string_equal(fake_param(one, SQL_PAUSE_RECORDED_REPEAT_OF), "30");
    assert_string_equal(fake_param(one, SQL_PAUSE_RECORDED_AT), "1970-01-01T00:00:03Z");
}

/* The first one was under way in another process as this one looked, and is found afterwards. */
static void test_a_request_repeated_at_once(void **state)
{
    struct action_request request = request_of(ACTION_RESUME, &seven);
    (void)state;
    request.may_be_repeat = true;
    expect_history(1);
    expect_repeated(no_repeated(0));
    expect_worker(&idle);
    expect_pass(&SQL_RESUME_RECORDED, 7, LEFT, MIGRATION_ACTIVE);
    expect_repeated(earlier_pause());
    assert_true(act(&request));
    assert_true(changes.repeated);
    assert_list(&changes.done, 1, &seven);
}

/* The first one was done between this one's look and its pass: it changes nothing until it has
 * looked again, and goes on with what the first one left. */
static void test_a_request_that_is_overtaken(void **state)
{
    static const int64_t both[] = {7, 8};
    struct action_request request = request_of(ACTION_RESUME, NULL);
    PGresult *all = earlier_pause();
    (void)state;
    request.may_be_repeat = true;
    expect_history(1);
    expect_repeated(no_repeated(29));
    expect_worker(&idle);
    const struct fake_answer *one =
        expect_pass(&SQL_RESUME_RECORDED, 8, OVERTAKEN, MIGRATION_PAUSED);
    expect_repeated(earlier_pause());
    const struct fake_answer *two = expect_pass(&SQL_RESUME_RECORDED, 8, CHANGED, MIGRATION_PAUSED);
    FAKE_ROW(all, INTEGER(8), TEXT("name"), SMALL(0), INTEGER(30), MOMENT(3000000), INTEGER(30));
    expect_repeated(all);
    assert_true(act(&request));
    assert_true(changes.repeated);
    assert_int_equal(changes.action_id.value, 30);
    assert_list(&changes.done, 2, both);
    assert_ptr_equal(one->lock, &SQL_LOCK_REQUEST);
    assert_string_equal(one->lock_param, "key");
    assert_string_equal(fake_param(one, SQL_RESUME_RECORDED_SEEN), "29");
    assert_null(two->lock);
    assert_string_equal(fake_param(two, SQL_RESUME_RECORDED_REPEAT_OF), "30");
}

/* By another request under the same id: it goes on, with what it sees now. */
static void test_overtaken_by_another_request(void **state)
{
    struct action_request request = request_of(ACTION_RESUME, &seven);
    (void)state;
    request.may_be_repeat = true;
    expect_history(1);
    expect_repeated(no_repeated(0));
    expect_worker(&idle);
    expect_pass(&SQL_RESUME_RECORDED, 7, OVERTAKEN, MIGRATION_PAUSED);
    expect_repeated(no_repeated(31));
    const struct fake_answer *two = expect_pass(&SQL_RESUME_RECORDED, 7, CHANGED, MIGRATION_PAUSED);
    expect_repeated(no_repeated(42));
    assert_true(act(&request));
    assert_false(changes.repeated);
    assert_ptr_equal(two->lock, &SQL_LOCK_REQUEST);
    assert_string_equal(fake_param(two, SQL_RESUME_RECORDED_SEEN), "31");
}

/* While this one waits for a row, an equal request may change it, as a part of this one's action.
 */
static void test_what_an_equal_request_has_done(void **state)
{
    static const int64_t both[] = {7, 8};
    struct action_request request = request_of(ACTION_RESUME, NULL);
    PGresult *first = pass_rows();
    PGresult *all = repeated_rows();
    (void)state;
    request.may_be_repeat = true;
    expect_history(1);
    expect_repeated(no_repeated(0));
    expect_worker(&idle);
    add(first, 7, CHANGED, MIGRATION_PAUSED);
    add(first, 8, HELD, MIGRATION_PAUSED);
    fake_changes(&SQL_RESUME_RECORDED, first);
    expect_worker(&idle);
    const struct fake_answer *two = expect_none(&SQL_RESUME_RECORDED);
    FAKE_ROW(all, INTEGER(7), TEXT("name"), SMALL(0), INTEGER(42), MOMENT(5000000), INTEGER(42));
    FAKE_ROW(all, INTEGER(8), TEXT("name"), SMALL(0), INTEGER(42), MOMENT(5000000), INTEGER(42));
    expect_repeated(all);
    assert_true(act(&request));
    assert_false(changes.repeated);
    assert_list(&changes.done, 2, both);
    assert_null(two->lock);
}

/* What has changed something is no repeat; and nothing is looked for without a history. */
static void test_no_repeat(void **state)
{
    struct action_request request = request_of(ACTION_RESUME, &seven);
    request.may_be_repeat = true;
    expect_history(1);
    expect_repeated(no_repeated(0));
    expect_worker(&idle);
    expect_pass(&SQL_RESUME_RECORDED, 7, CHANGED, MIGRATION_PAUSED);
    assert_true(act(&request));
    assert_false(changes.repeated);
    end(state);
    begin(state);
    expect_one(ACTION_RESUME, LEFT, MIGRATION_ACTIVE);
    assert_true(act(&request));
}

/* The history goes between a look and the statement: the action is done without a record. */
static void test_the_history_has_gone(void **state)
{
    const struct action_request request = request_of(ACTION_RESUME, &seven);
    (void)state;
    expect_history(1);
    expect_worker(&idle);
    fake_fails(&SQL_RESUME_RECORDED, true)->error.is_setup = true;
    expect_history(0);
    expect_pass(&SQL_RESUME, 7, CHANGED, MIGRATION_PAUSED);
    assert_true(act(&request));
    assert_int_equal(error.status, 0);
    assert_list(&changes.done, 1, &seven);
}

/* It is there: so something else is missing, and the first error says what. */
static void test_something_else_has_gone(void **state)
{
    const struct action_request request = request_of(ACTION_RESUME, &seven);
    (void)state;
    expect_history(1);
    expect_worker(&idle);
    struct fake_answer *refused = fake_fails(&SQL_RESUME_RECORDED, true);
    error_free(&refused->error);
    error_unavailable(&refused->error, "a right is missing");
    refused->error.is_setup = true;
    expect_history(1);
    assert_fails(&request, 503, NULL, NULL);
    assert_string_equal(error.reason, "a right is missing");
    assert_true(error.is_setup);
}

static void test_the_history_cannot_be_looked_for(void **state)
{
    const struct action_request request = request_of(ACTION_RESUME, &seven);
    fake_fails(&SQL_HAS_HISTORY, false);
    assert_fails(&request, 503, NULL, NULL);
    end(state);
    begin(state);
    expect_history(1);
    expect_worker(&idle);
    fake_fails(&SQL_RESUME_RECORDED, true)->error.is_setup = true;
    fake_fails(&SQL_HAS_HISTORY, false);
    assert_fails(&request, 503, NULL, NULL);
    assert_false(error.is_setup);
}

/* Only a table or a right that is missing makes it look again; nothing else is sent twice. */
static void test_a_recorded_action_that_fails(void **state)
{
    const struct action_request request = request_of(ACTION_RESUME, &seven);
    (void)state;
    expect_history(1);
    expect_worker(&idle);
    error_outcome_unknown(&fake_fails(&SQL_RESUME_RECORDED, true)->error);
    assert_fails(&request, 503, NULL, NULL);
    assert_true(error.outcome_unknown);
}

/* ---- undo ---- */

static struct action_request undo(void)
{
    struct action_request request = request_of(ACTION_RESUME, NULL);
    request.undoes = &three;
    return request;
}

static void test_an_undo(void **state)
{
    static const int64_t done[] = {1};
    static const int64_t left[] = {2, 3, 4};
    const struct action_request request = undo();
    PGresult *result = pass_rows();
    (void)state;
    expect_history(1);
    expect_worker(&idle);
    add(result, 1, CHANGED, MIGRATION_PAUSED);
    FAKE_ROW(result, INTEGER(2), TEXT("two"), SMALL(1), BOOLEAN(0), BOOLEAN(0), NOTHING, NOTHING,
             INTEGER(99), NOTHING, BOOLEAN(0));
    FAKE_ROW(result, INTEGER(3), TEXT("gone"), NOTHING, BOOLEAN(0), BOOLEAN(0), NOTHING, NOTHING,
             NOTHING, NOTHING, BOOLEAN(0));
    add(result, 4, LEFT, MIGRATION_FINISHED);
    fake_changes(&SQL_UNDO, result);
    assert_true(act(&request));
    assert_list(&changes.done, 1, done);
    assert_list(&changes.left, 3, left);
    assert_int_equal(changes.left.rows[0].later.value, 99);
    assert_false(changes.left.rows[1].status.given);
    assert_false(changes.left.rows[1].later.given);
    assert_int_equal(changes.left.rows[2].status.value, MIGRATION_FINISHED);
}

/* What the first pass took back is no longer as the pause left it: it is not reported as left. What
 * is left is reported with the status that it has now. */
static void test_an_undo_of_two_passes(void **state)
{
    static const int64_t done[] = {1, 2};
    const struct action_request request = undo();
    PGresult *one = pass_rows();
    PGresult *two = pass_rows();
    (void)state;
    expect_history(1);
    expect_worker(&idle);
    add(one, 1, CHANGED, MIGRATION_PAUSED);
    add(one, 2, HELD, MIGRATION_PAUSED);
    add(one, 3, LEFT, MIGRATION_ACTIVE);
    fake_changes(&SQL_UNDO, one);
    expect_worker(&idle);
    add(two, 1, LEFT, MIGRATION_ACTIVE);
    add(two, 2, CHANGED, MIGRATION_PAUSED);
    add(two, 3, LEFT, MIGRATION_FINISHED);
    fake_changes(&SQL_UNDO, two);
    assert_true(act(&request));
    assert_list(&changes.done, 2, done);
    assert_list(&changes.left, 1, &three);
    assert_int_equal(changes.left.rows[0].status.value, MIGRATION_FINISHED);
    assert_int_equal(changes.held.count, 0);
}

static void test_an_undo_of_nothing(void **state)
{
    struct action_request request = undo();
    expect_history(0);
    assert_fails(&request, 404, "HISTORY_NOT_ENABLED", NULL);
    end(state);
    begin(state);
    expect_history(1);
    expect_worker(&idle);
    expect_none(&SQL_UNDO);
    assert_fails(&request, 400, "INVALID_QUERY_PARAMETER_VALUE", "the 'action_id' query parameter");
    end(state);
    begin(state);
    request.undoes_in_body = true;
    expect_history(1);
    expect_worker(&idle);
    expect_none(&SQL_UNDO);
    assert_fails(&request, 400, "INVALID_BODY", "the member 'action_id'");
    end(state);
    begin(state);
    expect_history(1);
    expect_worker(&idle);
    fake_fails(&SQL_UNDO, true)->error.is_setup = true;
    expect_history(0);
    assert_fails(&request, 404, "HISTORY_NOT_ENABLED", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        action_test(test_one_record_for_all_passes),
        action_test(test_a_repeated_request),
        action_test(test_a_request_repeated_at_once),
        action_test(test_a_request_that_is_overtaken),
        action_test(test_overtaken_by_another_request),
        action_test(test_what_an_equal_request_has_done),
        action_test(test_no_repeat),
        action_test(test_the_history_has_gone),
        action_test(test_something_else_has_gone),
        action_test(test_the_history_cannot_be_looked_for),
        action_test(test_a_recorded_action_that_fails),
        action_test(test_an_undo),
        action_test(test_an_undo_of_two_passes),
        action_test(test_an_undo_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
