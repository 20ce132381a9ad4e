/* SPDX-License-Identifier: MIT
 * Each error code of PostgreSQL's manual, appendix A, that a statement of ours can meet. */
#include "store/sqlstate.h"
#include "unit.h"

#include <string.h>

static void assert_class(enum sqlstate_class expected, const char *codes)
{
    char sqlstate[6] = "";
    for (; strlen(codes) >= 5; codes += codes[5] == ' ' ? 6 : 5) {
        memcpy(sqlstate, codes, 5);
        if (sqlstate_class(sqlstate) != expected)
            fail_msg("%s is in class %d", sqlstate, (int)sqlstate_class(sqlstate));
    }
}

static void test_waiting_may_help(void **state)
{
    (void)state;
    assert_class(SQLSTATE_TRANSIENT, "08000 08003 08006 08001 08004 08007 08P01");
    assert_class(SQLSTATE_TRANSIENT, "25P03 25P04");
    assert_class(SQLSTATE_TRANSIENT, "28000 28P01 3D000");
    assert_class(SQLSTATE_TRANSIENT, "40000 40001 40002 40003 40P01");
    assert_class(SQLSTATE_TRANSIENT, "53000 53100 53200 53300 53400 54000");
    assert_class(SQLSTATE_TRANSIENT, "55000 55006 55P03");
    assert_class(SQLSTATE_TRANSIENT, "57000 57014 57P01 57P02 57P03 57P04 57P05");
    assert_class(SQLSTATE_TRANSIENT, "58000 58030 58P01 58P02 58P03 72000");
}

static void test_another_session_may_help(void **state)
{
    (void)state;
    assert_class(SQLSTATE_SESSION, "25000 25001 25002 25003 25004 25005 25006 25007 25008");
    assert_class(SQLSTATE_SESSION, "25P01 25P02");
}

static void test_an_operator_has_to_act(void **state)
{
    (void)state;
    assert_class(SQLSTATE_SETUP, "42501 42P01 3F000");
    assert_non_null(strstr(sqlstate_remedy("42501"), "sql/role.sql"));
    assert_non_null(strstr(sqlstate_remedy("42P01"), "database.dbname"));
    assert_non_null(strstr(sqlstate_remedy("28P01"), "database.password"));
    assert_null(sqlstate_remedy("57014"));
    assert_null(sqlstate_remedy("XX000"));
}

static void test_nothing_helps(void **state)
{
    (void)state;
    assert_class(SQLSTATE_FATAL, "09000 0A000 0B000 0F000 0L000 0P000 20000 21000");
    assert_class(SQLSTATE_FATAL, "22000 22003 22012 22023 22P01 22P02 22P03 22021");
    assert_class(SQLSTATE_FATAL, "23000 23502 23503 23505 23514 24000 26000 27000");
    assert_class(SQLSTATE_FATAL, "2B000 2D000 2F000 34000 38000 39000 3B000");
    assert_class(SQLSTATE_FATAL, "42000 42601 42703 42804 42883 42P02 42P05 44000");
    assert_class(SQLSTATE_FATAL, "54001 54011 54023 55P02 55P04 F0000 HV000 P0000 P0001");
    assert_class(SQLSTATE_FATAL, "XX000 XX001 XX002");
    assert_class(SQLSTATE_ENCODING, "22P05");
}

static void test_the_server_does_not_know_the_outcome(void **state)
{
    (void)state;
    assert_true(sqlstate_outcome_unknown("08007"));
    assert_true(sqlstate_outcome_unknown("40003"));
    assert_false(sqlstate_outcome_unknown("40001"));
    assert_false(sqlstate_outcome_unknown("08006"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting_may_help),
        cmocka_unit_test(test_another_session_may_help),
        cmocka_unit_test(test_an_operator_has_to_act),
        cmocka_unit_test(test_nothing_helps),
        cmocka_unit_test(test_the_server_does_not_know_the_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
