/* SPDX-License-Identifier: MIT
 * The migrations as Prometheus reads them. */
#include "unit.h"

#include "api/migration_metrics.h"
#include "base/buffer.h"

#define TEXT(s)      ((struct str_view){(s), sizeof(s) - 1})
#define GIVEN(value) ((struct opt_int64){true, (value)})

/* The text for these migrations; the caller frees it. */
static char *written(struct migration *rows, size_t count)
{
    const struct migrations migrations = {.rows = rows, .count = count};
    struct buffer out = buffer_start(NULL, 0);
    migration_metrics_write(&out, &migrations);
    char *text = buffer_take(&out);
    assert_non_null(text);
    return text;
}

static void assert_samples(struct migration m, const char *const *samples, size_t count)
{
    char *text = written(&m, 1);
    size_t found = 0;
    for (char *rest, *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] == '#')
            continue;
        if (found == count || strcmp(line, samples[found]) != 0)
            fail_msg("sample %zu: %s", found, line);
        found++;
    }
    assert_int_equal(found, count);
    free(text);
}

#define ASSERT_SAMPLES(m, ...)                                                                     \
    assert_samples(m, (const char *const[]){__VA_ARGS__},                                          \
                   sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_all_series(void **state)
{
    const struct migration m = {
        .id = 7,
        .name = TEXT("name"),
        .status = MIGRATION_RUNNING,
        .batch_size = 1000,
        .total_tuple_count = GIVEN(3000),
        .finished_jobs = 1,
        .failed_jobs = 2,
        .pace = GIVEN(10000000),
    };
    (void)state;
    ASSERT_SAMPLES(
        m,
        "registry_database_bbm_progress_percent{migration_id=\"7\",migration_name=\"name\","
        "status=\"running\"} 33.33333333333333",
        "bbm_fcgi_migration_status{migration_id=\"7\",migration_name=\"name\","
        "status=\"running\"} 1",
        "bbm_fcgi_migration_finished_jobs{migration_id=\"7\",migration_name=\"name\"} 1",
        "bbm_fcgi_migration_failed_jobs{migration_id=\"7\",migration_name=\"name\"} 2",
        "bbm_fcgi_migration_remaining_seconds{migration_id=\"7\",migration_name=\"name\"} 20");
}

/* No value is made up: where it is not known, there is no sample. */
static void test_what_is_not_known(void **state)
{
    const struct migration m = {.id = 1, .name = TEXT("n"), .status = MIGRATION_FAILED};
    (void)state;
    ASSERT_SAMPLES(
        m, "bbm_fcgi_migration_status{migration_id=\"1\",migration_name=\"n\",status=\"failed\"} 1",
        "bbm_fcgi_migration_finished_jobs{migration_id=\"1\",migration_name=\"n\"} 0",
        "bbm_fcgi_migration_failed_jobs{migration_id=\"1\",migration_name=\"n\"} 0");
}

/* A name from the database cannot make a label or a line of its own. */
static void test_hostile_name(void **state)
{
    const struct migration m = {.id = -1, .name = TEXT("a\"} 1\nup{x=\"\\\xFF"), .status = 99};
    (void)state;
    ASSERT_SAMPLES(m,
                   "bbm_fcgi_migration_status{migration_id=\"-1\","
                   "migration_name=\"a\\\"} 1\\nup{x=\\\"\\\\\xEF\xBF\xBD\",status=\"unknown\"} 1",
                   "bbm_fcgi_migration_finished_jobs{migration_id=\"-1\","
                   "migration_name=\"a\\\"} 1\\nup{x=\\\"\\\\\xEF\xBF\xBD\"} 0",
                   "bbm_fcgi_migration_failed_jobs{migration_id=\"-1\","
                   "migration_name=\"a\\\"} 1\\nup{x=\\\"\\\\\xEF\xBF\xBD\"} 0");
}

/* Each family has its HELP and TYPE once, before the samples of all migrations, or of none. */
static void test_families_stand_together(void **state)
{
    struct migration rows[] = {{.id = 1, .status = MIGRATION_FINISHED},
                               {.id = 2, .status = MIGRATION_PAUSED},
                               {.id = 3, .status = MIGRATION_FINISHED}};
    (void)state;
    for (size_t count = 0; count <= COUNT(rows); count++) {
        char *text = written(rows, count);
        char family[128] = "";
        char seen[1024] = " ";
        size_t families = 0;
        for (char *rest, *line = strtok_r(text, "\n", &rest); line;
             line = strtok_r(NULL, "\n", &rest)) {
            if (strncmp(line, "# HELP ", 7) == 0) {
                snprintf(family, sizeof family, " %.*s ", (int)strcspn(line + 7, " "), line + 7);
                assert_null(strstr(seen, family));
                strncat(seen, family, sizeof seen - strlen(seen) - 1);
                families++;
            } else if (strncmp(line, "# TYPE ", 7) == 0) {
                assert_int_equal(strncmp(line + 7, family + 1, strlen(family) - 1), 0);
                assert_string_equal(line + 7 + strlen(family) - 1, "gauge");
            } else {
                assert_int_equal(strncmp(line, family + 1, strlen(family) - 2), 0);
                assert_int_equal(line[strlen(family) - 2], '{');
            }
        }
        assert_int_equal(families, 5);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_series),
        cmocka_unit_test(test_what_is_not_known),
        cmocka_unit_test(test_hostile_name),
        cmocka_unit_test(test_families_stand_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
