/* SPDX-License-Identifier: MIT
 * environment: which of libpq's variables stay. */
#include "unit.h"

#include "store/environment.h"

/* Gives the process this environment, cleans it, and compares what is left. */
static void assert_left(const char *const *before, const char *const *after)
{
    char *variables[16];
    char **saved = environ;
    size_t count = 0;
    for (; before[count]; count++)
        variables[count] = strdup(before[count]);
    variables[count] = NULL;
    char *all[16];
    memcpy(all, variables, sizeof all);
    environ = variables;
    store_clean_environment();
    char **left = environ;
    environ = saved;
    size_t i = 0;
    for (; after[i] && left[i]; i++)
        assert_string_equal(left[i], after[i]);
    assert_null(after[i]);
    assert_null(left[i]);
    for (i = 0; i < count; i++)
        free(all[i]);
}

static void test_what_goes(void **state)
{
    static const char *const before[] = {
        "PGHOST=a",          "PATH=/bin", "PGHOSTADDR=::1", "PGOPTIONS=x",
        "PGSERVICEFILE=y=z", "PG=1",      "PGDATABASE=",    NULL};
    static const char *const after[] = {"PATH=/bin", NULL};
    (void)state;
    assert_left(before, after);
}

/* The password and the TLS files, and what only looks like libpq's. */
static void test_what_stays(void **state)
{
    static const char *const kept[] = {"PGPASSWORD=secret", "PGPASSFILE=f",
                                       "PGSSLCERT=c",       "PGSSLKEY=k",
                                       "PGSSLCRL=l",        "PGSSLCRLDIR=d",
                                       "PGSSLROOTCERT=r",   "pghost=h",
                                       "XPGHOST=h",         "P=",
                                       "A=PGHOST=h",        NULL};
    (void)state;
    assert_left(kept, kept);
}

/* Whose beginning or end is that of one that stays. */
static void test_names_are_compared_whole(void **state)
{
    static const char *const before[] = {"PGPASS=a", "PGPASSWORDS=b", "PGSSL=c", "PGSSLKEYS=d",
                                         NULL};
    static const char *const after[] = {NULL};
    (void)state;
    assert_left(before, after);
}

/* A parent may give anything: a very long name, twice the same, no "=" at all. */
static void test_hostile_environment(void **state)
{
    static const char *const before[] = {
        "PG_A_NAME_THAT_IS_LONGER_THAN_ANY_OF_THOSE_THAT_LIBPQ_READS_ITSELF_TODAY=1",
        "PGHOST=a",
        "PGHOST=b",
        "PGPORT",
        "",
        "=",
        "PGUSER=c",
        NULL};
    static const char *const after[] = {"", "=", NULL};
    (void)state;
    assert_left(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes),
        cmocka_unit_test(test_what_stays),
        cmocka_unit_test(test_names_are_compared_whole),
        cmocka_unit_test(test_hostile_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
