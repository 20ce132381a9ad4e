/* SPDX-License-Identifier: MIT
 * Alive, ready, and in which numbers (api/health.c): what each asks the database for, and in what
 * time. */
#include "handlers.h"

#include "api/health.h"
#include "base/clock.h"
#include "store/migration_rows.h"
#include "store/readiness.h"

/* What the store answers, and what it was asked with. */
static struct {
    bool fails;
    const char *remedy;
    bool has_history;
    int calls;
    int64_t deadline;
} store;

bool __wrap_store_migrations(struct store *of, const int64_t *id, int64_t deadline,
                             struct migrations *migrations, struct error *error);
void __wrap_store_migrations_free(struct migrations *migrations);
bool __wrap_store_ready(struct store *of, int64_t deadline, bool *has_history, struct error *error);

static bool refuse(struct error *error)
{
    error_unavailable(error, "no database in this test");
    if (store.remedy)
        error_remedy(error, store.remedy);
    return false;
}

bool __wrap_store_migrations(struct store *of, const int64_t *id, int64_t deadline,
                             struct migrations *migrations, struct error *error)
{
    assert_ptr_equal(of, STORE);
    assert_null(id);
    store.calls++;
    store.deadline = deadline;
    *migrations = (struct migrations){.job_in_flight = true};
    return !store.fails || refuse(error);
}

void __wrap_store_migrations_free(struct migrations *migrations)
{
    (void)migrations;
}

bool __wrap_store_ready(struct store *of, int64_t deadline, bool *has_history, struct error *error)
{
    assert_ptr_equal(of, STORE);
    store.calls++;
    store.deadline = deadline;
    *has_history = store.has_history;
    return !store.fails || refuse(error);
}

static int setup(void **state)
{
    memset(&store, 0, sizeof store);
    return handlers_setup(state);
}

#define HEALTH_TEST(function) cmocka_unit_test_setup_teardown(function, setup, handlers_teardown)

/* ---- alive and ready ---- */

/* The database has no part in it. */
static void test_alive(void **state)
{
    (void)state;
    call.store = NULL;
    assert_true(health_liveness(&call));
    assert_body("{\"status\":\"ok\"}");
    assert_int_equal(store.calls, 0);
}

static void test_ready(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        handlers_clear();
        store.has_history = i;
        assert_true(health_readiness(&call));
        assert_body(i ? "{\"status\":\"ok\",\"history\":true}"
                      : "{\"status\":\"ok\",\"history\":false}");
        assert_int_equal(store.deadline, DEADLINE);
    }
}

/* The answer names the remedy, where there is one. */
static void test_not_ready(void **state)
{
    (void)state;
    store.fails = true;
    assert_false(health_readiness(&call));
    assert_int_equal(call.error.status, 503);
    assert_null(call.error.detail);
    handlers_clear();
    store.remedy = "check the database";
    assert_false(health_readiness(&call));
    assert_json(call.error.detail, "\"check the database\"");
}

/* All threads wait for the database: that is no state to send requests to. */
static void test_ready_without_a_store(void **state)
{
    (void)state;
    call.store = NULL;
    assert_false(health_readiness(&call));
    assert_int_equal(call.error.status, 503);
    assert_int_equal(store.calls, 0);
}

/* ---- numbers ---- */

static void scrape(bool up)
{
    handlers_clear();
    assert_true(health_metrics(&call));
    assert_non_null(
        strstr(call.text, up ? "\nbbm_fcgi_database_up 1\n" : "\nbbm_fcgi_database_up 0\n"));
    assert_int_equal(strstr(call.text, "\nbbm_fcgi_job_in_flight 1\n") != NULL, up);
    /* The counters come in any case. */
    assert_non_null(strstr(call.text, "\nbbm_fcgi_connections "));
}

/* A scraper gives up long before a request does. */
static void test_scrape_waits_for_two_seconds(void **state)
{
    int64_t then = clock_ms();
    (void)state;
    call.deadline = then + 60000;
    scrape(true);
    assert_in_range(store.deadline, then + 2000, clock_ms() + 2000);
    call.deadline = clock_ms() + 1000;
    scrape(true);
    assert_int_equal(store.deadline, call.deadline);
}

static void test_scrape_without_a_database(void **state)
{
    (void)state;
    store.fails = true;
    scrape(false);
    assert_int_equal(call.error.status, 0);
    store.calls = 0;
    call.store = NULL;
    scrape(false);
    assert_int_equal(store.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEALTH_TEST(test_alive),
        HEALTH_TEST(test_ready),
        HEALTH_TEST(test_not_ready),
        HEALTH_TEST(test_ready_without_a_store),
        HEALTH_TEST(test_scrape_waits_for_two_seconds),
        HEALTH_TEST(test_scrape_without_a_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
