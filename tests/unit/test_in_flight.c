/* SPDX-License-Identifier: MIT
 * in_flight: at which migration the worker is. */
#include "fake_db.h"

#include "store/in_flight.h"
#include "store/store_private.h"

#define COLUMNS "in_run migration_id since"

static struct migration rows[3];
static struct migrations migrations;

/* Reads the answer into migrations 0, 2 and 3. */
static void read_result(PGresult *result)
{
    struct store store = {0};
    struct error error = {0};
    for (int i = 0; i < 3; i++)
        rows[i] = (struct migration){.id = i == 0 ? 0 : i + 1};
    migrations = (struct migrations){.rows = rows, .count = 3};
    fake_reads(&SQL_IN_FLIGHT, result);
    assert_true(in_flight_read(&store, 77, &migrations, &error));
    assert_int_equal(fake_answers[0].deadline, 77);
}

static int held_count(void)
{
    int count = 0;
    for (int i = 0; i < 3; i++)
        count += rows[i].in_flight_since.given;
    return count;
}

static void test_the_migration_that_is_held(void **state)
{
    PGresult *result = fake_result(COLUMNS);
    (void)state;
    FAKE_ROW(result, BOOLEAN(1), INTEGER(2), MOMENT(1700000000123456));
    read_result(result);
    assert_true(migrations.job_in_flight);
    assert_int_equal(held_count(), 1);
    assert_int_equal(rows[1].in_flight_since.value, 1700000000123456);
}

/* The worker has left no mark, or its start is hidden from the role. */
static void test_what_is_not_known(void **state)
{
    PGresult *result = fake_result(COLUMNS);
    (void)state;
    FAKE_ROW(result, BOOLEAN(1), NOTHING, MOMENT(5));
    read_result(result);
    assert_true(migrations.job_in_flight);
    assert_int_equal(held_count(), 0);

    fake_db_end(state);
    fake_db_begin(state);
    result = fake_result(COLUMNS);
    FAKE_ROW(result, BOOLEAN(1), INTEGER(3), NOTHING);
    read_result(result);
    assert_int_equal(held_count(), 0);
}

static void test_a_migration_that_is_not_in_the_list(void **state)
{
    PGresult *result = fake_result(COLUMNS);
    (void)state;
    FAKE_ROW(result, BOOLEAN(1), INTEGER(4), MOMENT(5));
    read_result(result);
    assert_int_equal(held_count(), 0);
}

static void test_no_worker(void **state)
{
    PGresult *result = fake_result(COLUMNS);
    (void)state;
    FAKE_ROW(result, BOOLEAN(0), NOTHING, NOTHING);
    read_result(result);
    assert_false(migrations.job_in_flight);
    assert_int_equal(held_count(), 0);
}

/* No row and no column is as no worker, a NULL as false. */
static void test_hostile_answers(void **state)
{
    (void)state;
    read_result(fake_result(COLUMNS));
    assert_false(migrations.job_in_flight);
    fake_db_end(state);
    fake_db_begin(state);
    PGresult *result = fake_result("something else");
    FAKE_ROW(result, TEXT("\xFF"), INTEGER(1));
    read_result(result);
    assert_false(migrations.job_in_flight);
    fake_db_end(state);
    fake_db_begin(state);
    result = fake_result(COLUMNS);
    FAKE_ROW(result, NOTHING, TEXT("no number at all"), TEXT(""));
    read_result(result);
    assert_false(migrations.job_in_flight);
    assert_int_equal(held_count(), 0);
}

static void test_no_answer(void **state)
{
    struct store store = {0};
    struct error error = {0};
    (void)state;
    migrations = (struct migrations){0};
    fake_fails(&SQL_IN_FLIGHT, false);
    assert_false(in_flight_read(&store, 0, &migrations, &error));
    assert_int_equal(error.status, 503);
    error_free(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake_db_test(test_the_migration_that_is_held),
        fake_db_test(test_what_is_not_known),
        fake_db_test(test_a_migration_that_is_not_in_the_list),
        fake_db_test(test_no_worker),
        fake_db_test(test_hostile_answers),
        fake_db_test(test_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
