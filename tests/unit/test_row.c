/* SPDX-License-Identifier: MIT
 * Columns of a result, in PostgreSQL's binary format; and integers as text. */
#include "store/row.h"
#include "unit.h"

#include <string.h>

/* A result with one row and one column of those bytes; NULL where `len` is below 0. */
static PGresult *one_value(const char *name, const void *bytes, int len)
{
    char text[32];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    snprintf(text, sizeof text, "%s", name);
    PGresAttDesc column = {.name = text, .format = 1};
    assert_non_null(result);
    assert_true(PQsetResultAttrs(result, 1, &column));
    char value[32] = {0};
    memcpy(value, bytes, len > 0 ? (size_t)len : 0);
    assert_true(PQsetvalue(result, 0, 0, len < 0 ? NULL : value, len));
    return result;
}

static void put(unsigned char *out, int64_t value, int len)
{
    for (int i = 0; i < len; i++)
        out[i] = (unsigned char)((uint64_t)value >> (8 * (len - 1 - i)));
}

static struct opt_int64 read_back(int64_t value, int len, bool as_time)
{
    unsigned char bytes[8];
    put(bytes, value, len);
    PGresult *result = one_value("it", bytes, len);
    if (!as_time)
        assert_int_equal(integer_at(result, 0, 0), value);
    struct opt_int64 read = as_time ? time_at(result, 0, 0) : opt_int64_at(result, 0, 0);
    PQclear(result);
    return read;
}

static void test_integers_of_each_size(void **state)
{
    static const struct {
        int len;
        int64_t low, high;
    } sizes[] = {{2, INT16_MIN, INT16_MAX}, {4, INT32_MIN, INT32_MAX}, {8, INT64_MIN, INT64_MAX}};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const int64_t values[] = {sizes[i].low, -1, 0, 1, 255, 256, sizes[i].high};
        for (size_t j = 0; j < COUNT(values); j++) {
            struct opt_int64 read = read_back(values[j], sizes[i].len, false);
            assert_true(read.given);
            assert_int_equal(read.value, values[j]);
        }
    }
}

static void test_null_and_absent_columns(void **state)
{
    (void)state;
    PGresult *result = one_value("it", "", -1);
    assert_false(opt_int64_at(result, 0, 0).given);
    assert_false(time_at(result, 0, 0).given);
    assert_null(str_view_at(result, 0, 0).at);
    assert_false(bool_named(result, "it"));
    assert_false(opt_int64_at(result, 0, -1).given);
    assert_false(time_at(result, 0, -1).given);
    assert_null(str_view_at(result, 0, -1).at);
    assert_false(bool_named(result, "another"));
    PQclear(result);
}

static void test_times(void **state)
{
    static const int64_t from_2000_to_1970 = INT64_C(946684800) * 1000000;
    (void)state;
    assert_int_equal(read_back(0, 8, true).value, from_2000_to_1970);
    assert_int_equal(read_back(-from_2000_to_1970, 8, true).value, 0);
    assert_true(read_back(INT64_MAX - from_2000_to_1970, 8, true).given);
    assert_int_equal(read_back(INT64_MAX - from_2000_to_1970, 8, true).value, INT64_MAX);
    assert_false(read_back(INT64_MAX - from_2000_to_1970 + 1, 8, true).given);
    assert_false(read_back(INT64_MAX, 8, true).given); /* "infinity" */
    assert_false(read_back(INT64_MIN, 8, true).given); /* "-infinity" */
}

static void test_texts(void **state)
{
    static const char bytes[] = "a\0\xff";
    (void)state;
    PGresult *result = one_value("it", bytes, 3);
    struct str_view view = str_view_at(result, 0, 0);
    assert_int_equal(view.len, 3);
    assert_memory_equal(view.at, bytes, 3);
    PQclear(result);
    result = one_value("it", "", 0);
    view = str_view_at(result, 0, 0);
    assert_non_null(view.at);
    assert_int_equal(view.len, 0);
    PQclear(result);
}

static void test_booleans_by_name(void **state)
{
    (void)state;
    PGresult *result = one_value("it", "\1", 1);
    assert_true(bool_named(result, "it"));
    PQclear(result);
    result = one_value("it", "\0", 1);
    assert_false(bool_named(result, "it"));
    PQclear(result);
}

static void test_numbers_as_text(void **state)
{
    struct number text;
    (void)state;
    assert_string_equal(number(&text, 0), "0");
    assert_string_equal(number(&text, INT64_MAX), "9223372036854775807");
    assert_string_equal(number(&text, INT64_MIN), "-9223372036854775808");
}

static void assert_array(const char *expected, const int64_t *values, size_t count)
{
    char *text = array_text(values, count);
    assert_string_equal(text, expected);
    free(text);
}

static void test_arrays_as_text(void **state)
{
    static const int64_t values[] = {INT64_MIN, -1, 0, 10, INT64_MAX};
    (void)state;
    assert_array("{}", NULL, 0);
    assert_array("{-9223372036854775808}", values, 1);
    assert_array("{-9223372036854775808,-1,0,10,9223372036854775807}", values, COUNT(values));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_of_each_size),
        cmocka_unit_test(test_null_and_absent_columns),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_booleans_by_name),
        cmocka_unit_test(test_numbers_as_text),
        cmocka_unit_test(test_arrays_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
