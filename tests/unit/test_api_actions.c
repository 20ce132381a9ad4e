/* SPDX-License-Identifier: MIT
 * Pause, resume and restart (api/actions.c): what is asked of the store, the registry's messages,
 * and what an action says that was not done to its end. */
#include "handlers.h"

#include "api/actions.h"
#include "store/actions.h"

/* What the store was asked for, and what it answers. */
static struct {
    enum action_kind kind;
    int64_t id;     /* 0: all */
    int64_t undoes; /* 0: it undoes nothing */
    bool dry_run;
    bool may_be_repeat;
    int64_t deadline;
    char actor[32]; /* "NULL" where it is, as the next ones */
    char token_id[32];
    char remote_addr[32];
    char correlation_id[32];
    char reason[32];
    struct changes changes;
    int status; /* of the error; 0: it is done */
    bool unanswered;
    bool outcome_unknown;
} store;

static struct change rows[2];
static struct change held[1];
static struct change left[5];

static int setup(void **state)
{
    static char one[] = "one";
    static char two[] = "two\xFF";
    memset(&store, 0, sizeof store);
    rows[0] = (struct change){.id = 1, .name = one, .name_len = 3, .status = GIVEN(1)};
    rows[1] = (struct change){.id = 2, .name = two, .name_len = 4, .status = GIVEN(4)};
    held[0] = rows[1];
    store.changes.done = (struct change_list){rows, 1};
    handlers_setup(state);
    call.caller = (struct call_caller){"alice", "jti", "::1", "abc", true};
    return 0;
}

static void note(char *out, const char *text)
{
    snprintf(out, 32, "%s", text ? text : "NULL");
}

bool __wrap_store_act(struct store *of, const struct action_request *request,
                      struct changes *changes, struct error *error);
void __wrap_changes_free(struct changes *changes);

bool __wrap_store_act(struct store *of, const struct action_request *request,
                      struct changes *changes, struct error *error)
{
    assert_ptr_equal(of, STORE);
    store.kind = request->kind;
    store.id = request->id ? *request->id : 0;
    store.undoes = request->undoes ? *request->undoes : 0;
    store.dry_run = request->dry_run;
    store.may_be_repeat = request->may_be_repeat;
    store.deadline = request->deadline;
    note(store.actor, request->actor);
    note(store.token_id, request->token_id);
    note(store.remote_addr, request->remote_addr);
    note(store.correlation_id, request->correlation_id);
    note(store.reason, request->reason);
    *changes = store.changes;
    if (store.status == 503)
        error_unavailable(error, "no time left");
    else if (store.status == 409)
        error_state_conflict(error, 1, "finished", "paused");
    error->retry_after = store.status && !store.unanswered ? 5 : 0;
    if (store.outcome_unknown)
        error_outcome_unknown(error);
    return !store.status;
}

/* The lists are the test's own. */
void __wrap_changes_free(struct changes *changes)
{
    *changes = (struct changes){0};
}

static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    return json_object_object_get_ex(object, key, &value) ? json_object_get_string(value) : NULL;
}

static void assert_message(const char *expected)
{
    assert_string_equal(text_of(call.body, "message"), expected);
}

/* ---- what is asked ---- */

static void test_request(void **state)
{
    static char reason[] = "disk is full";
    (void)state;
    call.id = 7;
    call.params.reason = reason;
    assert_true(actions_pause(&call));
    assert_int_equal(store.kind, ACTION_PAUSE);
    assert_int_equal(store.id, 7);
    assert_int_equal(store.undoes, 0);
    assert_false(store.dry_run);
    assert_true(store.may_be_repeat);
    assert_int_equal(store.deadline, DEADLINE);
    assert_string_equal(store.actor, "alice");
    assert_string_equal(store.token_id, "jti");
    assert_string_equal(store.remote_addr, "::1");
    assert_string_equal(store.correlation_id, "abc");
    assert_string_equal(store.reason, "disk is full");
}

static void test_undo_is_asked(void **state)
{
    (void)state;
    call.params.action_id = GIVEN(42);
    call.params.dry_run = true;
    assert_true(actions_resume(&call));
    assert_int_equal(store.kind, ACTION_RESUME);
    assert_int_equal(store.id, 0);
    assert_int_equal(store.undoes, 42);
    assert_true(store.dry_run);
}

/* The database takes UTF-8 alone, and a token or a web server may hold anything. What is not known
 * is NULL and not "". */
static void test_hostile_caller(void **state)
{
    (void)state;
    call.caller = (struct call_caller){"al\xFFice", "", "", "abc", false};
    assert_true(actions_restart(&call));
    assert_int_equal(store.kind, ACTION_RESTART);
    assert_string_equal(store.actor, "al\xEF\xBF\xBDice");
    assert_string_equal(store.token_id, "NULL");
    assert_string_equal(store.remote_addr, "NULL");
    assert_string_equal(store.reason, "NULL");
    assert_false(store.may_be_repeat);
}

/* ---- messages ---- */

static void assert_message_of(handler *action, int64_t id, bool dry_run, const char *expected)
{
    handlers_clear();
    call.id = id;
    call.params.dry_run = dry_run;
    assert_true(action(&call));
    assert_message(expected);
}

static void test_messages(void **state)
{
    (void)state;
    assert_message_of(actions_pause, 0, false,
                      "All eligible background migrations have been paused");
    assert_message_of(actions_pause, 0, true, "All eligible background migrations would be paused");
    assert_message_of(actions_resume, 0, false,
                      "All eligible background migrations have been resumed");
    assert_message_of(actions_resume, 7, false, "Background migration 7 has been resumed");
    assert_message_of(actions_resume, 7, true, "Background migration 7 would be resumed");
    assert_message_of(actions_restart, INT64_MAX, false,
                      "Background migration 9223372036854775807 has been restarted");
    call.params.action_id = GIVEN(INT64_MAX);
    assert_message_of(actions_resume, 0, false,
                      "The migrations that action 9223372036854775807 had paused have been "
                      "resumed");
    assert_message_of(actions_resume, 0, true,
                      "The migrations that action 9223372036854775807 had paused would be "
                      "resumed");
}

static void test_messages_where_nothing_changes(void **state)
{
    (void)state;
    store.changes.done.count = 0;
    store.changes.untouched = GIVEN(MIGRATION_PAUSED);
    assert_message_of(actions_pause, 7, false,
                      "Background migration 7 is paused already; nothing had to be changed");
    assert_message_of(actions_pause, 7, true,
                      "Background migration 7 is paused already; nothing would have to be "
                      "changed");
    /* One that somebody else holds is not left unchanged. */
    store.changes.held = (struct change_list){held, 1};
    assert_message_of(actions_pause, 7, true, "Background migration 7 would be paused");
}

/* ---- what was done ---- */

static void test_body(void **state)
{
    (void)state;
    store.changes.done.count = 2;
    store.changes.job_in_flight = true;
    store.changes.action_id = GIVEN(42);
    assert_true(actions_pause(&call));
    assert_body("{\"success\":true,"
                "\"message\":\"All eligible background migrations have been paused\","
                "\"migrations\":[{\"id\":1,\"name\":\"one\",\"previous_status\":\"active\","
                "\"status\":\"paused\"},{\"id\":2,\"name\":\"two\xEF\xBF\xBD\","
                "\"previous_status\":\"running\",\"status\":\"paused\"}],"
                "\"job_in_flight\":true,\"action_id\":42}");
    assert_int_equal(call.action_id.value, 42);
    assert_false(call.repeated);
    /* The log has the same list. */
    assert_int_equal(json_object_array_length(call.changed), 2);
}

static void test_body_of_a_repeat(void **state)
{
    (void)state;
    store.changes.repeated = true;
    assert_true(actions_resume(&call));
    assert_body("{\"success\":true,"
                "\"message\":\"All eligible background migrations have been resumed\","
                "\"migrations\":[{\"id\":1,\"name\":\"one\",\"previous_status\":\"active\","
                "\"status\":\"active\"}],\"job_in_flight\":false,\"repeated\":true}");
    assert_true(call.repeated);
}

/* A dry run names what another transaction holds, and the log has no change. */
static void test_body_of_a_dry_run(void **state)
{
    (void)state;
    store.changes.held = (struct change_list){held, 1};
    call.params.dry_run = true;
    assert_true(actions_pause(&call));
    assert_body("{\"success\":true,"
                "\"message\":\"All eligible background migrations would be paused\","
                "\"migrations\":[{\"id\":1,\"name\":\"one\",\"previous_status\":\"active\","
                "\"status\":\"paused\"}],\"job_in_flight\":false,"
                "\"held\":[{\"id\":2,\"name\":\"two\xEF\xBF\xBD\"}],\"dry_run\":true}");
    assert_null(call.changed);
}

/* What somebody else is changing again was not done for good. */
static void test_held_is_not_done(void **state)
{
    (void)state;
    store.changes.done.count = 2;
    store.changes.held = (struct change_list){held, 1};
    assert_true(actions_pause(&call));
    assert_int_equal(json_object_array_length(call.changed), 1);
    assert_int_equal(json_object_array_length(json_object_object_get(call.body, "migrations")), 1);
}

static void test_undo_says_why_it_left_some(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(left); i++) {
        left[i] = rows[0];
        left[i].id = (int64_t)i;
        left[i].status = GIVEN(MIGRATION_PAUSED);
    }
    left[0].status.given = false;
    left[1].later = GIVEN(77);
    left[2].status = GIVEN(MIGRATION_FINISHED);
    left[3].status = GIVEN(99);
    store.changes.left = (struct change_list){left, COUNT(left)};
    call.params.action_id = GIVEN(42);
    assert_true(actions_resume(&call));
    assert_json(
        json_object_object_get(call.body, "left"),
        "[{\"id\":0,\"name\":\"one\",\"why\":\"it is gone\"},"
        "{\"id\":1,\"name\":\"one\",\"status\":\"paused\","
        "\"why\":\"action 77 has changed it since\"},"
        "{\"id\":2,\"name\":\"one\",\"status\":\"finished\",\"why\":\"it is finished now\"},"
        "{\"id\":3,\"name\":\"one\",\"status\":\"unknown\",\"why\":\"it is unknown now\"},"
        "{\"id\":4,\"name\":\"one\",\"status\":\"paused\","
        "\"why\":\"it was changed since, without a record\"}]");
}

/* ---- warnings ---- */

static void assert_warning(int64_t code, const char *expected)
{
    handlers_clear();
    store.changes.error_code = GIVEN(code);
    assert_true(actions_restart(&call));
    const char *warning = text_of(call.body, "warning");
    if (!expected)
        assert_null(warning);
    else if (!warning || !strstr(warning, expected))
        fail_msg("%s", warning ? warning : "no warning");
}

/* max_job_retry and null are causes within the jobs, which a restart takes away. */
static void test_warning_of_a_cause_that_stays(void **state)
{
    (void)state;
    call.id = 1;
    assert_warning(0, NULL);
    assert_warning(1, "invalid_bbm_table");
    assert_warning(2, "invalid_bbm_column");
    assert_warning(3, "invalid_job_signature");
    assert_warning(4, NULL);
    assert_warning(5, "invalid_batching_strategy");
    assert_warning(6, NULL);
    assert_warning(-1, NULL);
    /* Only where it was restarted, and of no other action. */
    store.changes.done.count = 0;
    assert_warning(1, NULL);
    store.changes.done.count = 1;
    handlers_clear();
    assert_true(actions_resume(&call));
    assert_null(text_of(call.body, "warning"));
}

/* ---- what was not done ---- */

static void assert_detail(const char *expected)
{
    assert_null(call.body);
    assert_true(call.error.has_detail);
    assert_json(call.error.detail, expected);
}

static void test_unfinished_pause(void **state)
{
    (void)state;
    store.status = 503;
    store.changes.done.count = 2;
    store.changes.held = (struct change_list){held, 1};
    store.changes.action_id = GIVEN(42);
    assert_false(actions_pause(&call));
    assert_detail("{\"reason\":\"some migrations are held by another transaction, such as a "
                  "worker's run\",\"migrations\":[{\"id\":1,\"name\":\"one\","
                  "\"previous_status\":\"active\",\"status\":\"paused\"}],"
                  "\"not_paused\":[{\"id\":2,\"name\":\"two\xEF\xBF\xBD\"}],"
                  "\"job_in_flight\":false,\"action_id\":42}");
    /* The log has what was done. */
    assert_int_equal(json_object_array_length(call.changed), 1);
    assert_int_equal(call.action_id.value, 42);
}

static void test_reasons_of_an_unfinished_action(void **state)
{
    (void)state;
    store.status = 503;
    store.changes.unsettled = true;
    store.changes.done.count = 0;
    assert_false(actions_pause(&call));
    assert_string_equal(text_of(call.error.detail, "reason"),
                        "a worker that chose its migration before the pause may still set it "
                        "running");
    handlers_clear();
    store.changes.done.count = 1;
    store.unanswered = true;
    assert_false(actions_resume(&call));
    assert_string_equal(text_of(call.error.detail, "reason"), "the database did not answer");
    assert_non_null(json_object_object_get(call.error.detail, "not_resumed"));
    handlers_clear();
    assert_false(actions_restart(&call));
    assert_non_null(json_object_object_get(call.error.detail, "not_restarted"));
}

/* That nobody knows whether the last step was done is not lost. */
static void test_unknown_outcome_is_the_reason(void **state)
{
    (void)state;
    store.status = 503;
    store.outcome_unknown = true;
    assert_false(actions_pause(&call));
    assert_true(call.error.outcome_unknown);
    const char *reason = text_of(call.error.detail, "reason");
    assert_non_null(reason);
    assert_null(strstr(reason, "held by"));
    assert_non_null(strstr(reason, "not known"));
}

/* Where nothing had been done there is nothing to say. */
static void test_nothing_done(void **state)
{
    (void)state;
    store.status = 503;
    store.changes.done.count = 0;
    assert_false(actions_pause(&call));
    assert_false(call.error.has_detail);
    assert_int_equal(json_object_array_length(call.changed), 0);
}

/* A refusal has its own detail. */
static void test_conflict(void **state)
{
    (void)state;
    store.status = 409;
    assert_false(actions_pause(&call));
    assert_int_equal(call.error.status, 409);
    assert_null(call.error.detail ? json_object_object_get(call.error.detail, "not_paused") : NULL);
    assert_null(call.body);
}

#define ACTION_TEST(function) cmocka_unit_test_setup_teardown(function, setup, handlers_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACTION_TEST(test_request),
        ACTION_TEST(test_undo_is_asked),
        ACTION_TEST(test_hostile_caller),
        ACTION_TEST(test_messages),
        ACTION_TEST(test_messages_where_nothing_changes),
        ACTION_TEST(test_body),
        ACTION_TEST(test_body_of_a_repeat),
        ACTION_TEST(test_body_of_a_dry_run),
        ACTION_TEST(test_held_is_not_done),
        ACTION_TEST(test_undo_says_why_it_left_some),
        ACTION_TEST(test_warning_of_a_cause_that_stays),
        ACTION_TEST(test_unfinished_pause),
        ACTION_TEST(test_reasons_of_an_unfinished_action),
        ACTION_TEST(test_unknown_outcome_is_the_reason),
        ACTION_TEST(test_nothing_done),
        ACTION_TEST(test_conflict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
