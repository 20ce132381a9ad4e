/* SPDX-License-Identifier: MIT
 * Which statements are prepared, and when that ends. */
#include "store/prepared.h"
#include "unit.h"

static atomic_bool unusable;

static struct prepared enabled(void)
{
    atomic_store(&unusable, false);
    return (struct prepared){.unusable = &unusable};
}

static void prepare_and_run(struct prepared *prepared, const struct sql *sql)
{
    if (prepared_missing(prepared, sql))
        prepared_add(prepared, sql);
    prepared_ran(prepared, sql);
}

static void test_statements_differ(void **state)
{
    (void)state;
    const struct sql *const all[] = {&SQL_JOBS, &SQL_PAUSE, &SQL_RESUME, &SQL_WORKER};
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_true(all[i]->number >= 0 && all[i]->number < SQL_STATEMENTS);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(all[i]->name, all[j]->name);
            assert_int_not_equal(all[i]->number, all[j]->number);
        }
    }
}

static void test_only_where_it_is_configured(void **state)
{
    (void)state;
    const struct sql unnamed = {.text = "COMMIT"};
    struct prepared on = enabled();
    assert_true(prepared_wanted(&on, &SQL_JOBS));
    assert_false(prepared_wanted(&on, &unnamed));
    atomic_store(&unusable, true);
    assert_false(prepared_wanted(&on, &SQL_JOBS));
}

static void test_once_for_each_session(void **state)
{
    (void)state;
    struct prepared p = enabled();
    assert_true(prepared_missing(&p, &SQL_JOBS));
    prepared_add(&p, &SQL_JOBS);
    assert_false(prepared_missing(&p, &SQL_JOBS));
    assert_true(prepared_missing(&p, &SQL_PAUSE));
    prepared_clear(&p);
    assert_true(prepared_missing(&p, &SQL_JOBS));
}

/* Each statement is found to be gone once; the others stay. */
static void test_after_a_discard_all_it_goes_on(void **state)
{
    (void)state;
    struct prepared p = enabled();
    prepare_and_run(&p, &SQL_JOBS);
    prepare_and_run(&p, &SQL_PAUSE);
    assert_int_equal(prepared_refused(&p, &SQL_JOBS, "26000"), PREPARED_RETRY);
    assert_true(prepared_missing(&p, &SQL_JOBS));
    assert_false(prepared_missing(&p, &SQL_PAUSE));
    assert_int_equal(prepared_refused(&p, &SQL_PAUSE, "26000"), PREPARED_RETRY);
    assert_true(prepared_wanted(&p, &SQL_JOBS));
    for (int i = 0; i < 200; i++)
        prepare_and_run(&p, &SQL_JOBS);
    prepared_refused(&p, &SQL_JOBS, "26000");
    assert_true(prepared_wanted(&p, &SQL_JOBS));
}

static void test_lost_twice_ends_it_for_all(void **state)
{
    (void)state;
    struct prepared p = enabled();
    struct prepared other = {.unusable = &unusable};
    prepare_and_run(&p, &SQL_JOBS);
    prepared_refused(&p, &SQL_JOBS, "26000");
    assert_int_equal(prepared_refused(&p, &SQL_JOBS, "26000"), PREPARED_RETRY);
    assert_false(prepared_wanted(&p, &SQL_JOBS));
    assert_false(prepared_wanted(&other, &SQL_PAUSE));
}

static void test_another_clients_statement_ends_it_for_all(void **state)
{
    (void)state;
    struct prepared p = enabled();
    assert_int_equal(prepared_refused(&p, &SQL_JOBS, "42P05"), PREPARED_RETRY);
    assert_false(prepared_wanted(&p, &SQL_PAUSE));
}

static void test_changed_columns_take_a_new_session_once(void **state)
{
    (void)state;
    struct prepared p = enabled();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(prepared_refused(&p, &SQL_JOBS, "0A000"), PREPARED_RECONNECT);
        assert_true(prepared_wanted(&p, &SQL_JOBS));
        prepare_and_run(&p, &SQL_JOBS);
    }
    prepared_refused(&p, &SQL_JOBS, "0A000");
    prepared_refused(&p, &SQL_JOBS, "0A000");
    assert_false(prepared_wanted(&p, &SQL_JOBS));
    assert_true(prepared_wanted(&p, &SQL_PAUSE));
}

static void test_other_errors_are_no_concern(void **state)
{
    (void)state;
    static const char *const others[] = {"57014", "42P01", "25006", "22P05", "40001", "XX000"};
    struct prepared p = enabled();
    prepare_and_run(&p, &SQL_JOBS);
    for (size_t i = 0; i < COUNT(others); i++)
        assert_int_equal(prepared_refused(&p, &SQL_JOBS, others[i]), PREPARED_NOT_CONCERNED);
    assert_false(prepared_missing(&p, &SQL_JOBS));
    assert_true(prepared_wanted(&p, &SQL_JOBS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements_differ),
        cmocka_unit_test(test_only_where_it_is_configured),
        cmocka_unit_test(test_once_for_each_session),
        cmocka_unit_test(test_after_a_discard_all_it_goes_on),
        cmocka_unit_test(test_lost_twice_ends_it_for_all),
        cmocka_unit_test(test_another_clients_statement_ends_it_for_all),
        cmocka_unit_test(test_changed_columns_take_a_new_session_once),
        cmocka_unit_test(test_other_errors_are_no_concern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
