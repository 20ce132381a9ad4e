/* SPDX-License-Identifier: MIT
 * A page of the history (api/history.c): what is asked of the store, what is known of an action,
 * and the link to the next page. */
#include "handlers.h"

#include "api/history.h"
#include "store/history.h"

/* What the store was asked for, and what it answers. */
static struct {
    int64_t id; /* 0: none, as the next one */
    int64_t last;
    int64_t n;
    int64_t deadline;
    bool fails;
    struct recorded_action actions[2];
    struct history_page history;
    int freed;
} store;

static int setup(void **state)
{
    memset(&store, 0, sizeof store);
    return handlers_setup(state);
}

bool __wrap_history_read(struct store *of, const int64_t *id, const int64_t *last, int64_t n,
                         int64_t deadline, struct history_page *page, struct error *error);
void __wrap_history_page_free(struct history_page *page);

bool __wrap_history_read(struct store *of, const int64_t *id, const int64_t *last, int64_t n,
                         int64_t deadline, struct history_page *page, struct error *error)
{
    assert_ptr_equal(of, STORE);
    store.id = id ? *id : 0;
    store.last = last ? *last : 0;
    store.n = n;
    store.deadline = deadline;
    *page = store.history;
    page->actions = store.actions;
    return !store.fails || error_no_history(error);
}

void __wrap_history_page_free(struct history_page *page)
{
    assert_ptr_equal(page->actions, store.actions);
    store.freed++;
}

static void test_history_of_all(void **state)
{
    const struct recorded_change changes[] = {
        {3, TEXT("three"), MIGRATION_ACTIVE, MIGRATION_PAUSED},
        {4, {NULL, 0}, MIGRATION_RUNNING, MIGRATION_PAUSED},
    };
    (void)state;
    store.actions[0] = (struct recorded_action){
        .id = 12,
        .at = GIVEN(1000000),
        .action = TEXT("pause"),
        .actor = TEXT("alice"),
        .token_id = TEXT("jti"),
        .remote_addr = TEXT("::1"),
        .correlation_id = TEXT("abc"),
        .reason = TEXT("disk \xFF"),
        .changes = changes,
        .change_count = 2,
    };
    store.actions[1] = (struct recorded_action){
        .id = 11, .action = TEXT("resume"), .undoes = GIVEN(10), .changes = changes + 2};
    store.history = (struct history_page){.count = 2};
    assert_true(history_actions(&call));
    assert_int_equal(store.id, 0);
    assert_int_equal(store.n, 100);
    assert_int_equal(store.deadline, DEADLINE);
    assert_body("{\"actions\":[{\"id\":12,\"at\":\"1970-01-01T00:00:01Z\",\"action\":\"pause\","
                "\"actor\":\"alice\",\"token_id\":\"jti\",\"remote_ip\":\"::1\","
                "\"correlation_id\":\"abc\",\"reason\":\"disk \xEF\xBF\xBD\",\"migrations\":["
                "{\"id\":3,\"name\":\"three\",\"previous_status\":\"active\","
                "\"status\":\"paused\"},"
                "{\"id\":4,\"name\":\"\",\"previous_status\":\"running\","
                "\"status\":\"paused\"}]},"
                "{\"id\":11,\"action\":\"resume\",\"undoes\":10,\"migrations\":[]}]}");
    assert_string_equal(call.link, "");
    assert_int_equal(store.freed, 1);
}

/* A page may be shorter than asked for: the link goes on from the last one that it has. */
static void test_next_page_of_the_history(void **state)
{
    (void)state;
    store.actions[0].id = 12;
    store.actions[1].id = 11;
    store.history = (struct history_page){.count = 2, .more = true};
    call.id = 7;
    call.params.last = GIVEN(13);
    call.params.n = 50;
    assert_true(history_actions(&call));
    assert_int_equal(store.id, 7);
    assert_int_equal(store.last, 13);
    assert_string_equal(call.link, "</v1/gitlab/path/?n=50&last=11>; rel=\"next\"");
}

/* The page is freed also then. */
static void test_no_history(void **state)
{
    (void)state;
    store.fails = true;
    assert_false(history_actions(&call));
    assert_int_equal(call.error.status, 404);
    assert_null(call.body);
    assert_int_equal(store.freed, 1);
}

#define PAGE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, handlers_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGE_TEST(test_history_of_all),
        PAGE_TEST(test_next_page_of_the_history),
        PAGE_TEST(test_no_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
