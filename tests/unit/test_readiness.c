/* SPDX-License-Identifier: MIT
 * readiness: what is missing in the database, and what an operator can do about it. */
#include "fake_db.h"

#include "store/readiness.h"
#include "store/store_private.h"

static struct store store;
static struct error error;
static bool has_history;

static PGresult *ready(int may_update, int rows_hidden)
{
    PGresult *result = fake_result("may_update rows_hidden no_migration no_job");
    FAKE_ROW(result, BOOLEAN(may_update), BOOLEAN(rows_hidden), BOOLEAN(0), BOOLEAN(0));
    return result;
}

static PGresult *history(int exists)
{
    PGresult *result = fake_result("has_history");
    FAKE_ROW(result, BOOLEAN(exists));
    return result;
}

static void assert_not_ready(const char *reason, const char *remedy)
{
    assert_false(store_ready(&store, 5, &has_history, &error));
    assert_int_equal(error.status, 503);
    if (!strstr(error.reason, reason) || !strstr(error.reason, remedy))
        fail_msg("the reason is \"%s\"", error.reason);
    error_free(&error);
}

static void test_ready(void **state)
{
    (void)state;
    for (int exists = 0; exists < 2; exists++) {
        has_history = !exists;
        fake_reads(&SQL_READY, ready(1, 0));
        fake_reads(&SQL_HAS_HISTORY, history(exists));
        assert_true(store_ready(&store, 5, &has_history, &error));
        assert_int_equal(has_history, exists);
    }
}

/* The start has a connection of its own. */
static void test_check_at_the_start(void **state)
{
    const struct conf_database conf = {.host = (char *)(uintptr_t) "/nowhere"};
    (void)state;
    has_history = false;
    fake_reads(&SQL_READY, ready(1, 0));
    fake_reads(&SQL_HAS_HISTORY, history(1));
    assert_true(store_check(&conf, 5, &has_history, &error));
    assert_true(has_history);
    fake_reads(&SQL_READY, ready(0, 0));
    assert_false(store_check(&conf, 5, &has_history, &error));
    assert_int_equal(error.status, 503);
    error_free(&error);
}

static void test_rights_are_missing(void **state)
{
    (void)state;
    fake_reads(&SQL_READY, ready(0, 0));
    assert_not_ready("may not update", "run sql/role.sql");
    fake_reads(&SQL_READY, ready(1, 1));
    assert_not_ready("row-level security hides rows", "a policy that shows all rows");
    fake_reads(&SQL_READY, ready(0, 1));
    assert_not_ready("may not update", "run sql/role.sql");
}

/* Rights that the answer does not name are not there. */
static void test_hostile_answers(void **state)
{
    PGresult *result = fake_result("may_update rows_hidden");
    (void)state;
    FAKE_ROW(result, NOTHING, NOTHING);
    fake_reads(&SQL_READY, result);
    assert_not_ready("may not update", "run sql/role.sql");
    fake_reads(&SQL_READY, fake_result("may_update rows_hidden"));
    assert_not_ready("may not update", "run sql/role.sql");
    fake_reads(&SQL_READY, fake_result("x"));
    assert_not_ready("may not update", "run sql/role.sql");
}

static void test_no_answer(void **state)
{
    (void)state;
    fake_fails(&SQL_READY, false);
    assert_not_ready("no database", "");
    fake_reads(&SQL_READY, ready(1, 0));
    fake_fails(&SQL_HAS_HISTORY, false);
    has_history = true;
    assert_not_ready("no database", "");
    assert_false(has_history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake_db_test(test_ready),
        fake_db_test(test_check_at_the_start),
        fake_db_test(test_rights_are_missing),
        fake_db_test(test_hostile_answers),
        fake_db_test(test_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
