/* SPDX-License-Identifier: MIT
 * list_version: which columns and which rows a list has been read with. */
#include "fake_db.h"

#include "store/list_version.h"

static const PGresAttDesc usual[] = {
    {.name = (char *)"id", .tableid = 100, .columnid = 1, .typid = 20, .format = 1},
    {.name = (char *)"status", .tableid = 100, .columnid = 2, .typid = 21, .format = 1},
    {.name = (char *)"row_version", .typid = 20, .format = 1},
};
#define COLUMNS 2

/* Takes no row, as only the columns are compared. */
static PGresult *result_of(const PGresAttDesc *columns, int count)
{
    PGresAttDesc copy[4];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_non_null(result);
    memcpy(copy, columns, (size_t)count * sizeof *copy);
    assert_true(PQsetResultAttrs(result, count, copy));
    return result;
}

static struct list_version *version_of(PGresult *result, uint64_t counters)
{
    struct list_version *version = list_version_of(result, COLUMNS, COLUMNS, counters);
    assert_non_null(version);
    PQclear(result);
    return version;
}

static bool is_same(const struct list_version *version, const PGresAttDesc *columns, int count)
{
    PGresult *result = result_of(columns, 3);
    bool same = list_version_has_columns(version, result, count);
    PQclear(result);
    return same;
}

/* Versions are transactions' numbers, of 32 bits: beyond the half, they are not negative. */
static void test_rows(void **state)
{
    PGresult *result = result_of(usual, 3);
    (void)state;
    FAKE_ROW(result, INTEGER(1), SMALL(4), INTEGER(700));
    FAKE_ROW(result, INTEGER(2), SMALL(0), BYTES("\xFF\xFF\xFF\xFE", 4));
    FAKE_ROW(result, INTEGER(3), SMALL(0), INTEGER(5));
    struct list_version *version = version_of(result, 9);
    assert_string_equal(version->rows, "{700,4294967294,5}");
    assert_int_equal(version->counters, 9);
    list_version_free(version);
    version = version_of(result_of(usual, 3), 9);
    assert_string_equal(version->rows, "{}");
    list_version_free(version);
}

static void test_columns(void **state)
{
    PGresAttDesc other[3];
    (void)state;
    struct list_version *version = version_of(result_of(usual, 3), 1);
    assert_true(is_same(version, usual, COLUMNS));
    assert_false(is_same(version, usual, COLUMNS - 1));
    assert_false(is_same(version, usual, COLUMNS + 1));
    for (int column = 0; column < COLUMNS; column++) {
        for (int field = 0; field < 4; field++) {
            memcpy(other, usual, sizeof other);
            other[column].name = field == 0 ? (char *)"another" : other[column].name;
            other[column].tableid += field == 1; /* dropped and made again, as a restore does */
            other[column].columnid += field == 2;
            other[column].typid += field == 3;
            assert_false(is_same(version, other, COLUMNS));
        }
    }
    /* What the statement adds is no part of the table. */
    memcpy(other, usual, sizeof other);
    other[COLUMNS].name = (char *)"another";
    assert_true(is_same(version, other, COLUMNS));
    list_version_free(version);
}

/* A name may be as long as PostgreSQL's longest; one that is longer is cut, not written beyond. */
static void test_long_names(void **state)
{
    char longest[64];
    char longer[200];
    PGresAttDesc columns[3];
    (void)state;
    memset(longest, 'x', 63);
    longest[63] = '\0';
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    memcpy(columns, usual, sizeof columns);
    columns[0].name = longest;
    columns[1].name = longer;
    struct list_version *version = version_of(result_of(columns, 3), 1);
    assert_true(is_same(version, columns, COLUMNS));
    longest[62] = 'y';
    assert_false(is_same(version, columns, COLUMNS));
    list_version_free(version);
}

/* Nothing is known of it: no row has its version, no result its columns. */
static void test_a_version_that_knows_nothing(void **state)
{
    struct list_version *version = list_version_new();
    (void)state;
    assert_non_null(version);
    assert_int_equal(version->counters, 0);
    assert_false(is_same(version, usual, COLUMNS));
    list_version_free(version);
    list_version_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_a_version_that_knows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
