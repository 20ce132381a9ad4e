/* SPDX-License-Identifier: MIT
 * Migrations and jobs as JSON: each member, and what of a row has none. */
#include "unit.h"

#include "api/row_json.h"

#define TEXT(s)      ((struct str_view){(s), sizeof(s) - 1})
#define GIVEN(value) ((struct opt_int64){true, (value)})

/* 1970-01-01T00:00:01Z and on. */
#define SECOND INT64_C(1000000)

static void assert_json(struct json_object *object, const char *expected)
{
    assert_non_null(object);
    assert_string_equal(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), expected);
    json_object_put(object);
}

static void assert_has(struct json_object *object, const char *expected)
{
    assert_non_null(object);
    const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
    if (!strstr(text, expected))
        fail_msg("%s: not in %s", expected, text);
    json_object_put(object);
}

static void assert_lacks(struct json_object *object, const char *key)
{
    assert_non_null(object);
    if (json_object_object_get_ex(object, key, NULL))
        fail_msg("%s: in %s", key, json_object_to_json_string(object));
    json_object_put(object);
}

/* ---- migrations ---- */

static struct migration whole(void)
{
    return (struct migration){
        .id = 7,
        .name = TEXT("name"),
        .status = MIGRATION_RUNNING,
        .job_signature_name = TEXT("signature"),
        .table_name = TEXT("table"),
        .column_name = TEXT("column"),
        .batch_size = 1000,
        .sub_batch_size = GIVEN(100),
        .min_value = -5,
        .max_value = 4000,
        .batching_strategy = TEXT("strategy"),
        .total_tuple_count = GIVEN(4000),
        .failure_error_code = GIVEN(2),
        .created_at = GIVEN(1 * SECOND),
        .updated_at = GIVEN(2 * SECOND),
        .started_at = GIVEN(3 * SECOND),
        .finished_at = GIVEN(4 * SECOND),
        .in_flight_since = GIVEN(5 * SECOND),
        .paused_at = GIVEN(6 * SECOND),
        .paused_by = TEXT("alice"),
        .pause_reason = TEXT("why"),
        .finished_jobs = 1,
        .failed_jobs = 3,
        .pace = GIVEN(10 * SECOND),
    };
}

/* The order is the contract's. */
static void test_whole_migration(void **state)
{
    const struct migration m = whole();
    (void)state;
    assert_json(row_json_migration(&m),
                "{\"id\":7,\"name\":\"name\",\"status\":\"running\","
                "\"job_signature_name\":\"signature\",\"target_table\":\"table\","
                "\"target_column\":\"column\",\"batch_size\":1000,\"sub_batch_size\":100,"
                "\"min_value\":-5,\"max_value\":4000,\"batching_strategy\":\"strategy\","
                "\"total_tuple_count\":4000,\"error_code\":2,\"error\":\"invalid_bbm_column\","
                "\"finished_jobs\":1,\"failed_jobs\":3,\"progress\":25,\"capped\":false,"
                "\"estimated_seconds_remaining\":30,\"created_at\":\"1970-01-01T00:00:01Z\","
                "\"updated_at\":\"1970-01-01T00:00:02Z\",\"started_at\":\"1970-01-01T00:00:03Z\","
                "\"finished_at\":\"1970-01-01T00:00:04Z\","
                "\"in_flight_since\":\"1970-01-01T00:00:05Z\","
                "\"paused_at\":\"1970-01-01T00:00:06Z\",\"paused_by\":\"alice\","
                "\"pause_reason\":\"why\"}");
}

/* A NULL text is "", as in the registry's own answers; a NULL number or moment has no member. */
static void test_empty_migration(void **state)
{
    const struct migration m = {.id = INT64_MAX, .min_value = INT64_MIN, .max_value = INT64_MAX};
    (void)state;
    assert_json(row_json_migration(&m),
                "{\"id\":9223372036854775807,\"name\":\"\",\"status\":\"paused\","
                "\"job_signature_name\":\"\",\"target_table\":\"\",\"target_column\":\"\","
                "\"batch_size\":0,\"min_value\":-9223372036854775808,"
                "\"max_value\":9223372036854775807,\"batching_strategy\":\"\","
                "\"finished_jobs\":0,\"failed_jobs\":0}");
}

static void test_progress_that_is_not_known(void **state)
{
    struct migration m = whole();
    (void)state;
    m.total_tuple_count.given = false;
    assert_lacks(row_json_migration(&m), "progress");
    assert_lacks(row_json_migration(&m), "capped");
    assert_lacks(row_json_migration(&m), "estimated_seconds_remaining");
    m.total_tuple_count = GIVEN(1000);
    assert_has(row_json_migration(&m), "\"progress\":99.9,\"capped\":true,");
    assert_lacks(row_json_migration(&m), "estimated_seconds_remaining");
}

/* The history may know when, and not who or why. */
static void test_pause_of_which_little_is_known(void **state)
{
    struct migration m = whole();
    (void)state;
    m.paused_by = m.pause_reason = (struct str_view){NULL, 0};
    assert_has(row_json_migration(&m), "\"paused_at\"");
    assert_lacks(row_json_migration(&m), "paused_by");
    assert_lacks(row_json_migration(&m), "pause_reason");
    m.paused_by = (struct str_view){"", 0};
    assert_has(row_json_migration(&m), "\"paused_by\":\"\"");
}

static void test_unknown_numbers(void **state)
{
    struct migration m = whole();
    (void)state;
    m.status = 99;
    m.failure_error_code.value = 77;
    assert_has(row_json_migration(&m), "\"status\":\"unknown\"");
    assert_has(row_json_migration(&m), "\"error_code\":77,\"error\":\"unknown\"");
    m.failure_error_code = GIVEN(0);
    assert_has(row_json_migration(&m), "\"error_code\":0,\"error\":\"unknown\"");
}

/* Bytes of a database that is not UTF-8, and what would end a JSON string. */
static void test_hostile_texts(void **state)
{
    struct migration m = whole();
    (void)state;
    m.name = TEXT("a\"b\\c\n\xFF\xC3");
    assert_has(row_json_migration(&m), "\"name\":\"a\\\"b\\\\c\\n\xEF\xBF\xBD\xEF\xBF\xBD\"");
    m.name = (struct str_view){"a\0b", 3};
    assert_has(row_json_migration(&m), "\"name\":\"a\\u0000b\"");
    m.name = (struct str_view){"cut here", 3};
    assert_has(row_json_migration(&m), "\"name\":\"cut\"");
}

/* ---- jobs ---- */

static void test_whole_job(void **state)
{
    const struct job job = {
        .id = 9,
        .min_value = 1,
        .max_value = 1000,
        .status = JOB_FAILED,
        .attempts = 3,
        .failure_error_code = GIVEN(4),
        .created_at = GIVEN(1 * SECOND),
        .updated_at = GIVEN(2 * SECOND),
        .started_at = GIVEN(3 * SECOND),
        .finished_at = GIVEN(4 * SECOND),
    };
    (void)state;
    assert_json(row_json_job(&job),
                "{\"id\":9,\"min_value\":1,\"max_value\":1000,\"status\":\"failed\","
                "\"attempts\":3,\"error_code\":4,\"error\":\"max_job_retry\","
                "\"created_at\":\"1970-01-01T00:00:01Z\",\"updated_at\":\"1970-01-01T00:00:02Z\","
                "\"started_at\":\"1970-01-01T00:00:03Z\","
                "\"finished_at\":\"1970-01-01T00:00:04Z\"}");
}

static void test_empty_job(void **state)
{
    const struct job job = {.id = 1};
    (void)state;
    assert_json(row_json_job(&job), "{\"id\":1,\"min_value\":0,\"max_value\":0,"
                                    "\"status\":\"unknown\",\"attempts\":0}");
}

/* It is done: the code of an earlier try is no error of the job. */
static void test_job_that_finished_on_a_retry(void **state)
{
    struct job job = {.id = 1, .status = JOB_FINISHED, .failure_error_code = GIVEN(1)};
    (void)state;
    assert_has(row_json_job(&job), "\"error_code\":1");
    assert_lacks(row_json_job(&job), "error");
    job.status = JOB_ACTIVE;
    assert_has(row_json_job(&job), "\"error\":\"invalid_bbm_table\"");
}

/* ---- parts ---- */

static void test_error_names(void **state)
{
    static const char *const names[] = {
        "unknown",       "invalid_bbm_table",        "invalid_bbm_column", "invalid_job_signature",
        "max_job_retry", "invalid_batching_strategy"};
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        assert_string_equal(row_json_error_name((int64_t)i), names[i]);
    assert_string_equal(row_json_error_name(COUNT(names)), "unknown");
    assert_string_equal(row_json_error_name(-1), "unknown");
    assert_string_equal(row_json_error_name(INT64_MIN), "unknown");
    assert_string_equal(row_json_error_name(INT64_MAX), "unknown");
}

/* Years that RFC 3339 has no digits for: PostgreSQL's infinity is one. */
static void test_moments_beyond_the_calendar(void **state)
{
    static const int64_t moments[] = {INT64_MIN, INT64_MAX, INT64_C(253402300800) * SECOND};
    (void)state;
    for (size_t i = 0; i < COUNT(moments); i++) {
        struct json_object *object = json_object_new_object();
        row_json_add_time(&object, "at", GIVEN(moments[i]));
        assert_json(object, "{}");
    }
    struct json_object *object = json_object_new_object();
    row_json_add_time(&object, "at", GIVEN(-1));
    assert_json(object, "{\"at\":\"1969-12-31T23:59:59.999999Z\"}");
}

/* What could not be made is not left out in silence. */
static void test_out_of_memory_stays_so(void **state)
{
    struct json_object *none = NULL;
    (void)state;
    row_json_add_text(&none, "key", TEXT("value"));
    assert_null(none);
    row_json_add_time(&none, "key", GIVEN(1));
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_migration),
        cmocka_unit_test(test_empty_migration),
        cmocka_unit_test(test_progress_that_is_not_known),
        cmocka_unit_test(test_pause_of_which_little_is_known),
        cmocka_unit_test(test_unknown_numbers),
        cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_whole_job),
        cmocka_unit_test(test_empty_job),
        cmocka_unit_test(test_job_that_finished_on_a_retry),
        cmocka_unit_test(test_error_names),
        cmocka_unit_test(test_moments_beyond_the_calendar),
        cmocka_unit_test(test_out_of_memory_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
