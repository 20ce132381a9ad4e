/* SPDX-License-Identifier: MIT
 * history: whether there is one, what a request repeats, who paused what, and its pages. */
#include "fake_db.h"

#include "store/history.h"
#include "store/store_private.h"

#define PAGE_COLUMNS                                                                               \
    "id at action actor token_id remote_addr correlation_id reason undoes migration_id "           \
    "migration_name previous_status status"

static struct store store;
static struct error error;

static void expect_history(int exists)
{
    PGresult *result = fake_result("has_history");
    FAKE_ROW(result, BOOLEAN(exists));
    fake_reads(&SQL_HAS_HISTORY, result);
}

static void assert_text(struct str_view view, const char *text)
{
    assert_non_null(view.at);
    assert_int_equal(view.len, strlen(text));
    assert_memory_equal(view.at, text, view.len);
}

static void assert_fails(int status)
{
    assert_int_equal(error.status, status);
    error_free(&error);
}

/* ---- whether there is one ---- */

static void test_exists(void **state)
{
    (void)state;
    for (int exists = 0; exists < 2; exists++) {
        bool found = !exists;
        expect_history(exists);
        assert_true(store_has_history(&store, 5, &found, &error));
        assert_int_equal(found, exists);
    }
    bool found = true;
    fake_reads(&SQL_HAS_HISTORY, fake_result("nothing"));
    assert_true(store_has_history(&store, 5, &found, &error));
    assert_false(found);
    found = true;
    fake_fails(&SQL_HAS_HISTORY, false);
    assert_false(store_has_history(&store, 5, &found, &error));
    assert_false(found);
    assert_fails(503);
}

/* ---- repeats ---- */

static const int64_t seven = 7;
static const int64_t three = 3;

static void test_a_repeated_request(void **state)
{
    const struct action_request request = {.kind = ACTION_RESUME,
                                           .id = &seven,
                                           .undoes = &three,
                                           .deadline = 5,
                                           .actor = "someone",
                                           .token_id = "t-1",
                                           .correlation_id = "key"};
    struct changes changes = {0};
    struct opt_int64 at = {0};
    int64_t seen = 0;
    PGresult *result = fake_result("id name previous_status action_id at seen");
    (void)state;
    FAKE_ROW(result, INTEGER(1), TEXT("one"), SMALL(0), INTEGER(42), MOMENT(1234567), INTEGER(43));
    FAKE_ROW(result, INTEGER(2), TEXT("two"), SMALL(0), INTEGER(42), MOMENT(1234567), INTEGER(43));
    const struct fake_answer *answer = fake_reads(&SQL_REPEATED, result);
    assert_true(history_find_repeated(&store, &request, &changes, &at, &seen, &error));
    assert_true(changes.repeated);
    assert_int_equal(seen, 43);
    assert_int_equal(changes.action_id.value, 42);
    assert_int_equal(changes.done.count, 2);
    assert_string_equal(changes.done.rows[1].name, "two");
    assert_true(at.given);
    assert_int_equal(at.value, 1234567);
    assert_string_equal(fake_param(answer, SQL_REPEATED_CORRELATION_ID), "key");
    assert_string_equal(fake_param(answer, SQL_REPEATED_ACTION), "resume");
    assert_string_equal(fake_param(answer, SQL_REPEATED_ACTOR), "someone");
    assert_string_equal(fake_param(answer, SQL_REPEATED_TOKEN_ID), "t-1");
    assert_string_equal(fake_param(answer, SQL_REPEATED_ID), "7");
    assert_string_equal(fake_param(answer, SQL_REPEATED_UNDOES), "3");
    changes_free(&changes);
}

/* Nothing is known of an earlier request: what is there stays as it is. */
static void test_no_repeated_request(void **state)
{
    const struct action_request request = {
        .kind = ACTION_PAUSE, .id = &seven, .correlation_id = "key"};
    struct changes changes = {.action_id = {true, 8}};
    struct opt_int64 at = {true, 9};
    int64_t seen = 5;
    PGresult *result = fake_result("id name previous_status action_id at seen");
    (void)state;
    FAKE_ROW(result, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, INTEGER(8));
    const struct fake_answer *answer = fake_reads(&SQL_REPEATED, result);
    assert_true(history_find_repeated(&store, &request, &changes, &at, &seen, &error));
    assert_false(changes.repeated);
    assert_int_equal(changes.action_id.value, 8);
    assert_int_equal(seen, 8);
    assert_int_equal(at.value, 9);
    assert_string_equal(fake_param(answer, SQL_REPEATED_ACTION), "pause");
    assert_null(fake_param(answer, SQL_REPEATED_ACTOR));
    assert_string_equal(fake_param(answer, SQL_REPEATED_ID), "7");
    assert_null(fake_param(answer, SQL_REPEATED_UNDOES));
    fake_fails(&SQL_REPEATED, false);
    assert_false(history_find_repeated(&store, &request, &changes, &at, &seen, &error));
    assert_false(changes.repeated);
    assert_fails(503);
}

/* Changes of an action that is known take no other's. */
static void test_another_action(void **state)
{
    const struct action_request request = {.kind = ACTION_PAUSE, .correlation_id = "key"};
    struct changes changes = {.action_id = {true, 8}};
    struct opt_int64 at = {true, 9};
    int64_t seen;
    PGresult *result = fake_result("id name previous_status action_id at seen");
    (void)state;
    FAKE_ROW(result, INTEGER(1), TEXT("one"), SMALL(0), INTEGER(42), MOMENT(1), INTEGER(42));
    fake_reads(&SQL_REPEATED, result);
    assert_true(history_find_repeated(&store, &request, &changes, &at, &seen, &error));
    assert_false(changes.repeated);
    assert_int_equal(changes.action_id.value, 8);
    assert_int_equal(changes.done.count, 0);
    assert_int_equal(at.value, 9);
}

/* ---- pauses ---- */

static struct migration rows[4];
static struct migrations migrations;

/* Migrations 1 to 4: paused at their id's microsecond, but for 3, which is active. */
static void set_migrations(void)
{
    for (int i = 0; i < 4; i++)
        rows[i] = (struct migration){.id = i + 1,
                                     .status = i == 2 ? MIGRATION_ACTIVE : MIGRATION_PAUSED,
                                     .updated_at = {true, i + 1}};
    migrations = (struct migrations){.rows = rows, .count = 4};
}

static void expect_pauses(PGresult *result)
{
    expect_history(1);
    fake_reads(&SQL_PAUSED_BY, result);
}

static PGresult *pause_rows(void)
{
    return fake_result("id at actor reason");
}

static void test_who_paused(void **state)
{
    PGresult *result = pause_rows();
    (void)state;
    set_migrations();
    FAKE_ROW(result, INTEGER(1), MOMENT(1), TEXT("one"), TEXT("because \xFF"));
    FAKE_ROW(result, INTEGER(4), MOMENT(4), NOTHING, NOTHING);
    expect_pauses(result);
    assert_true(history_add_pauses(&store, NULL, 5, &migrations, &error));
    assert_null(fake_param(&fake_answers[1], SQL_PAUSED_BY_ID));
    assert_int_equal(rows[0].paused_at.value, 1);
    assert_text(rows[0].paused_by, "one");
    assert_text(rows[0].pause_reason, "because \xFF");
    assert_false(rows[1].paused_at.given);
    assert_true(rows[3].paused_at.given);
    assert_null(rows[3].paused_by.at);
    PQclear(migrations.pauses);
}

/* The pause of a state that is over, of a migration that is not paused, or not in the list. */
static void test_pauses_of_others(void **state)
{
    PGresult *result = pause_rows();
    (void)state;
    set_migrations();
    rows[1].updated_at.value = INT64_C(946684800) * 1000000; /* as NULL reads, if at all */
    rows[3].updated_at.given = false;
    FAKE_ROW(result, INTEGER(0), MOMENT(1), TEXT("x"), NOTHING);
    FAKE_ROW(result, INTEGER(1), MOMENT(2), TEXT("x"), NOTHING);
    FAKE_ROW(result, INTEGER(2), NOTHING, TEXT("x"), NOTHING);
    FAKE_ROW(result, INTEGER(3), MOMENT(3), TEXT("x"), NOTHING);
    FAKE_ROW(result, INTEGER(4), MOMENT(4), TEXT("x"), NOTHING);
    FAKE_ROW(result, INTEGER(9), MOMENT(9), TEXT("x"), NOTHING);
    FAKE_ROW(result, INTEGER(1), MOMENT(1), TEXT("out of order"), NOTHING);
    expect_pauses(result);
    assert_true(history_add_pauses(&store, &seven, 5, &migrations, &error));
    assert_string_equal(fake_param(&fake_answers[1], SQL_PAUSED_BY_ID), "7");
    for (int i = 0; i < 4; i++)
        assert_false(rows[i].paused_at.given || rows[i].paused_by.at);
    PQclear(migrations.pauses);
}

/* None is sent where none is paused, nor where there is no history, which may go at any time. */
static void test_pauses_that_are_not_asked_for(void **state)
{
    (void)state;
    migrations = (struct migrations){.rows = rows, .count = 1};
    rows[0] = (struct migration){.id = 1, .status = MIGRATION_RUNNING};
    assert_true(history_add_pauses(&store, NULL, 5, &migrations, &error));
    set_migrations();
    expect_history(0);
    assert_true(history_add_pauses(&store, NULL, 5, &migrations, &error));
    expect_history(1);
    fake_fails(&SQL_PAUSED_BY, false)->error.is_setup = true;
    assert_true(history_add_pauses(&store, NULL, 5, &migrations, &error));
    assert_int_equal(error.status, 0);
    expect_history(1);
    fake_fails(&SQL_PAUSED_BY, false);
    assert_false(history_add_pauses(&store, NULL, 5, &migrations, &error));
    assert_fails(503);
    fake_fails(&SQL_HAS_HISTORY, false);
    assert_false(history_add_pauses(&store, NULL, 5, &migrations, &error));
    assert_fails(503);
    for (int i = 0; i < 4; i++)
        assert_false(rows[i].paused_at.given);
    assert_null(migrations.pauses);
}

/* ---- pages ---- */

static struct history_page page;

static PGresult *page_rows(void)
{
    return fake_result(PAGE_COLUMNS);
}

/* Adds what action `id` did to the migration `migration_id`; 0: it changed none. */
static void add_change(PGresult *result, int64_t id, int64_t migration_id)
{
    FAKE_ROW(result, INTEGER(id), MOMENT(id * 10), TEXT("pause"), NOTHING, NOTHING, NOTHING,
             TEXT("key"), NOTHING, NOTHING, migration_id ? INTEGER(migration_id) : NOTHING,
             TEXT("name"), SMALL(1), SMALL(0));
}

static void read_page(PGresult *result, int64_t n)
{
    expect_history(1);
    fake_reads(&SQL_HISTORY_PAGE, result);
    assert_true(history_read(&store, NULL, NULL, n, 5, &page, &error));
}

static void test_each_column_has_its_field(void **state)
{
    PGresult *result = page_rows();
    (void)state;
    FAKE_ROW(result, INTEGER(9), MOMENT(90), TEXT("resume"), TEXT("who"), TEXT("token"),
             TEXT("::1"), TEXT("key"), TEXT("why"), INTEGER(8), INTEGER(7), TEXT("name"), SMALL(0),
             SMALL(1));
    add_change(result, 8, 7);
    read_page(result, 10);
    assert_int_equal(page.count, 2);
    assert_false(page.more);
    const struct recorded_action *action = &page.actions[0];
    assert_int_equal(action->id, 9);
    assert_int_equal(action->at.value, 90);
    assert_text(action->action, "resume");
    assert_text(action->actor, "who");
    assert_text(action->token_id, "token");
    assert_text(action->remote_addr, "::1");
    assert_text(action->correlation_id, "key");
    assert_text(action->reason, "why");
    assert_int_equal(action->undoes.value, 8);
    assert_int_equal(action->change_count, 1);
    assert_int_equal(action->changes[0].migration_id, 7);
    assert_text(action->changes[0].name, "name");
    assert_int_equal(action->changes[0].previous_status, 0);
    assert_int_equal(action->changes[0].status, 1);
    action = &page.actions[1];
    assert_null(action->actor.at);
    assert_null(action->token_id.at);
    assert_null(action->remote_addr.at);
    assert_null(action->reason.at);
    assert_false(action->undoes.given);
    history_page_free(&page);
    assert_int_equal(page.count, 0);
}

static void test_rows_are_grouped_by_action(void **state)
{
    PGresult *result = page_rows();
    (void)state;
    for (int64_t migration = 1; migration <= 3; migration++)
        add_change(result, 9, migration);
    add_change(result, 8, 0);
    add_change(result, 7, 5);
    add_change(result, 7, 6);
    read_page(result, 3);
    assert_int_equal(page.count, 3);
    assert_false(page.more);
    assert_int_equal(page.actions[0].change_count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(page.actions[0].changes[i].migration_id, i + 1);
    assert_int_equal(page.actions[1].change_count, 0);
    assert_int_equal(page.actions[2].change_count, 2);
    assert_int_equal(page.actions[2].changes[1].migration_id, 6);
    history_page_free(&page);
}

static void test_where_a_page_ends(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 4; n++) {
        PGresult *result = page_rows();
        for (int64_t id = 3; id > 0; id--)
            add_change(result, id, 1);
        read_page(result, n);
        assert_int_equal(page.count, n < 3 ? n : 3);
        assert_int_equal(page.more, n < 3);
        assert_int_equal(page.actions[page.count - 1].id, n < 3 ? 4 - n : 1);
        history_page_free(&page);
    }
}

/* Of as many rows as the statement may give, the last action may lack some: it is left to the next
 * page. A single action is whole. */
static void test_a_page_with_very_many_changes(void **state)
{
    (void)state;
    expect_history(1);
    const struct fake_answer *answer = fake_reads(&SQL_HISTORY_PAGE, page_rows());
    assert_true(history_read(&store, NULL, NULL, 5, 5, &page, &error));
    int64_t most = strtoll(fake_param(answer, SQL_HISTORY_PAGE_MOST), NULL, 10);
    assert_in_range(most, 1000, 1000000);
    history_page_free(&page);
    for (int64_t cut = 0; cut < 2; cut++) {
        PGresult *result = page_rows();
        for (int64_t i = 0; i < most; i++)
            add_change(result, cut && i >= most / 2 ? 8 : 9, i + 1);
        read_page(result, 5);
        assert_int_equal(page.count, 1);
        assert_true(page.more);
        assert_int_equal(page.actions[0].change_count, cut ? most / 2 : most);
        history_page_free(&page);
    }
}

static void test_parameters(void **state)
{
    PGresult *result = page_rows();
    (void)state;
    add_change(result, 2, 7);
    expect_history(1);
    const struct fake_answer *answer = fake_reads(&SQL_HISTORY_PAGE, result);
    assert_true(history_read(&store, &seven, &three, 20, 5, &page, &error));
    assert_string_equal(fake_param(answer, SQL_HISTORY_PAGE_ID), "7");
    assert_string_equal(fake_param(answer, SQL_HISTORY_PAGE_LAST), "3");
    assert_string_equal(fake_param(answer, SQL_HISTORY_PAGE_N), "20");
    assert_int_equal(answer->deadline, 5);
    history_page_free(&page);
    read_page(page_rows(), 20);
    assert_null(fake_param(&fake_answers[3], SQL_HISTORY_PAGE_ID));
    assert_null(fake_param(&fake_answers[3], SQL_HISTORY_PAGE_LAST));
    history_page_free(&page);
}

/* Of one migration: it may have no action, or not exist, or be gone and have some. */
static void test_an_empty_page(void **state)
{
    PGresult *no_jobs = fake_result("id");
    (void)state;
    read_page(page_rows(), 5);
    assert_int_equal(page.count, 0);
    assert_false(page.more);
    history_page_free(&page);

    expect_history(1);
    fake_reads(&SQL_HISTORY_PAGE, page_rows());
    FAKE_ROW(no_jobs, NOTHING);
    fake_reads(&SQL_JOBS, no_jobs);
    assert_true(history_read(&store, &seven, NULL, 5, 5, &page, &error));
    assert_int_equal(page.count, 0);
    history_page_free(&page);

    expect_history(1);
    fake_reads(&SQL_HISTORY_PAGE, page_rows());
    fake_reads(&SQL_JOBS, fake_result("id"));
    assert_false(history_read(&store, &seven, NULL, 5, 5, &page, &error));
    assert_fails(404);
    history_page_free(&page);
}

static void test_no_page(void **state)
{
    (void)state;
    memset(&page, 0xA5, sizeof page);
    expect_history(0);
    assert_false(history_read(&store, NULL, NULL, 5, 5, &page, &error));
    assert_string_equal(error.code, "HISTORY_NOT_ENABLED");
    assert_fails(404);
    history_page_free(&page);
    fake_fails(&SQL_HAS_HISTORY, false);
    assert_false(history_read(&store, NULL, NULL, 5, 5, &page, &error));
    assert_fails(503);
    history_page_free(&page);
    expect_history(1);
    fake_fails(&SQL_HISTORY_PAGE, false);
    assert_false(history_read(&store, NULL, NULL, 5, 5, &page, &error));
    assert_fails(503);
    history_page_free(&page);
}

/* Far fewer columns; values that are no numbers and no UTF-8. */
static void test_hostile_answers(void **state)
{
    PGresult *result = fake_result("id at");
    (void)state;
    FAKE_ROW(result, NOTHING, NOTHING);
    read_page(result, 5);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.actions[0].change_count, 0);
    assert_null(page.actions[0].action.at);
    history_page_free(&page);
    result = page_rows();
    FAKE_ROW(result, TEXT("no number"), TEXT(""), BYTES("a\0b", 3), TEXT("\xC3"), TEXT(""), NOTHING,
             NOTHING, NOTHING, TEXT("?"), TEXT("?"), NOTHING, NOTHING, TEXT("no status at all"));
    read_page(result, 5);
    assert_int_equal(page.actions[0].action.len, 3);
    assert_text(page.actions[0].actor, "\xC3");
    assert_text(page.actions[0].token_id, "");
    assert_int_equal(page.actions[0].changes[0].migration_id, '?');
    assert_null(page.actions[0].changes[0].name.at);
    history_page_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake_db_test(test_exists),
        fake_db_test(test_a_repeated_request),
        fake_db_test(test_no_repeated_request),
        fake_db_test(test_another_action),
        fake_db_test(test_who_paused),
        fake_db_test(test_pauses_of_others),
        fake_db_test(test_pauses_that_are_not_asked_for),
        fake_db_test(test_each_column_has_its_field),
        fake_db_test(test_rows_are_grouped_by_action),
        fake_db_test(test_where_a_page_ends),
        fake_db_test(test_a_page_with_very_many_changes),
        fake_db_test(test_parameters),
        fake_db_test(test_an_empty_page),
        fake_db_test(test_no_page),
        fake_db_test(test_hostile_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
