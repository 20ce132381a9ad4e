/* SPDX-License-Identifier: MIT
 * Lists of changes: by id, each once, whatever the order and the bytes that come. */
#include "unit.h"

#include "store/changes.h"

#include <libpq-fe.h>

static void set(PGresult *result, int row, int column, const char *value, int len)
{
    char copy[32];
    if (value && len > 0)
        memcpy(copy, value, (size_t)len);
    assert_true(PQsetvalue(result, row, column, value ? copy : NULL, value ? len : -1));
}

/* A row of id, name and status, in PostgreSQL's binary format; `status` of -1 is NULL. */
static void set_row(PGresult *result, int row, char id, const char *name, char status)
{
    const char big[8] = {0, 0, 0, 0, 0, 0, 0, id};
    const char small[2] = {0, status};
    set(result, row, 0, big, sizeof big);
    set(result, row, 1, name, name ? (int)strlen(name) : -1);
    set(result, row, 2, status < 0 ? NULL : small, sizeof small);
}

static PGresult *rows_of_changes(void)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[3] = {{.name = (char *)"id", .format = 1},
                               {.name = (char *)"name", .format = 1},
                               {.name = (char *)"previous_status", .format = 1}};
    assert_non_null(result);
    assert_true(PQsetResultAttrs(result, 3, columns));
    return result;
}

static void test_order(void **state)
{
    static const char ids[] = {5, 1, 9, 3, 7};
    PGresult *result = rows_of_changes();
    struct change_list list = {0};
    const struct change_columns columns = change_columns_of(result);
    struct error error = {0};
    (void)state;
    for (int i = 0; i < (int)COUNT(ids); i++) {
        set_row(result, i, ids[i], "name", 4);
        assert_true(change_list_add(&list, result, &columns, i, &error));
    }
    assert_int_equal(list.count, COUNT(ids));
    for (size_t i = 0; i < list.count; i++)
        assert_int_equal(list.rows[i].id, 1 + 2 * (int)i);
    assert_true(change_list_has(&list, 9));
    assert_false(change_list_has(&list, 2));
    change_list_clear(&list);
    assert_int_equal(list.count, 0);
    assert_false(change_list_has(&list, 9));
    PQclear(result);
}

/* The first one stays: it has the status that the migration had before the action. */
static void test_twice(void **state)
{
    PGresult *result = rows_of_changes();
    struct changes changes = {0};
    const struct change_columns columns = change_columns_of(result);
    struct error error = {0};
    (void)state;
    set_row(result, 0, 7, "first", 1);
    set_row(result, 1, 7, "second", 4);
    for (int row = 0; row < 2; row++)
        assert_true(change_list_add(&changes.done, result, &columns, row, &error));
    assert_int_equal(changes.done.count, 1);
    assert_string_equal(changes.done.rows[0].name, "first");
    assert_int_equal(changes.done.rows[0].status.value, 1);
    changes_free(&changes);
    PQclear(result);
}

/* A migration that is gone has no status, and what is no UTF-8 stays as it is. */
static void test_odd_values(void **state)
{
    PGresult *result = rows_of_changes();
    struct changes changes = {0};
    const struct change_columns columns = change_columns_of(result);
    struct error error = {0};
    (void)state;
    set_row(result, 0, 1, "\xFF\xC3", -1);
    set_row(result, 1, 2, NULL, 0);
    for (int row = 0; row < 2; row++)
        assert_true(change_list_add(&changes.left, result, &columns, row, &error));
    assert_false(changes.left.rows[0].status.given);
    assert_int_equal(changes.left.rows[0].name_len, 2);
    assert_memory_equal(changes.left.rows[0].name, "\xFF\xC3", 3);
    assert_int_equal(changes.left.rows[1].name_len, 0);
    changes_free(&changes);
    PQclear(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_odd_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
