/* SPDX-License-Identifier: MIT
 * A flood of refusals: a few lines, and a sum. */
#include "unit.h"

#include "base/log.h"
#include "http/refusal_log.h"

#include <stdbool.h>

static int admitted(struct refusal_log *refusals, const char *address, const char *reason,
                    int times, int64_t now)
{
    int count = 0;
    for (int i = 0; i < times; i++)
        count += refusal_log_admit(refusals, address, reason, now);
    return count;
}

static void test_first_ones_get_a_line(void **state)
{
    struct refusal_log *refusals = refusal_log_new();
    (void)state;
    assert_int_equal(admitted(refusals, "192.0.2.1", "no token", REFUSAL_LOG_LINES, 0),
                     REFUSAL_LOG_LINES);
    assert_int_equal(admitted(refusals, "192.0.2.1", "no token", 1000, 100), 0);
    /* Another reason, and another address, are other kinds. */
    assert_true(refusal_log_admit(refusals, "192.0.2.1", "expired", 100));
    assert_true(refusal_log_admit(refusals, "192.0.2.2", "no token", 100));
    unit_stderr_begin();
    refusal_log_free(refusals);
    free(unit_stderr_end());
}

static void test_sum_is_logged_after_the_period(void **state)
{
    struct refusal_log *refusals = refusal_log_new();
    (void)state;
    admitted(refusals, "192.0.2.1", "no token", REFUSAL_LOG_LINES + 37, 0);
    unit_stderr_begin();
    refusal_log_flush(refusals, REFUSAL_LOG_PERIOD - 1);
    char *early = unit_stderr_end();
    unit_stderr_begin();
    refusal_log_flush(refusals, REFUSAL_LOG_PERIOD);
    refusal_log_flush(refusals, 2 * REFUSAL_LOG_PERIOD);
    char *text = unit_stderr_end();
    assert_string_equal(early, "");
    assert_non_null(strstr(text, "192.0.2.1"));
    assert_non_null(strstr(text, "no token"));
    assert_non_null(strstr(text, "37"));
    assert_null(strchr(strchr(text, '\n') + 1, '\n')); /* one line */
    assert_true(refusal_log_admit(refusals, "192.0.2.1", "no token", 2 * REFUSAL_LOG_PERIOD));
    free(early);
    free(text);
    refusal_log_free(refusals);
}

static void test_new_period_begins_by_itself(void **state)
{
    struct refusal_log *refusals = refusal_log_new();
    (void)state;
    admitted(refusals, "192.0.2.1", "no token", REFUSAL_LOG_LINES + 2, 0);
    unit_stderr_begin();
    bool again = refusal_log_admit(refusals, "192.0.2.1", "no token", REFUSAL_LOG_PERIOD);
    char *text = unit_stderr_end();
    assert_true(again);
    assert_non_null(strstr(text, "more refusals"));
    free(text);
    refusal_log_free(refusals);
}

/* More kinds than there are places: sums are logged early, none is lost. */
static void test_many_kinds(void **state)
{
    struct refusal_log *refusals = refusal_log_new();
    int lines = 0;
    (void)state;
    unit_stderr_begin();
    for (int i = 0; i < 2000; i++) {
        char address[32];
        snprintf(address, sizeof address, "192.0.2.%d", i);
        admitted(refusals, address, "no token", REFUSAL_LOG_LINES + 1, i);
    }
    refusal_log_free(refusals);
    char *text = unit_stderr_end();
    for (const char *at = text; (at = strstr(at, "more refusals")); at++)
        lines++;
    free(text);
    assert_int_equal(lines, 2000);
}

static void test_long_and_empty_texts(void **state)
{
    struct refusal_log *refusals = refusal_log_new();
    char text[500];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(admitted(refusals, text, text, 20, 0), REFUSAL_LOG_LINES);
    assert_int_equal(admitted(refusals, "", "", 20, 0), REFUSAL_LOG_LINES);
    unit_stderr_begin();
    refusal_log_free(refusals);
    free(unit_stderr_end());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_ones_get_a_line),
        cmocka_unit_test(test_sum_is_logged_after_the_period),
        cmocka_unit_test(test_new_period_begins_by_itself),
        cmocka_unit_test(test_many_kinds),
        cmocka_unit_test(test_long_and_empty_texts),
    };
    log_setup(LOG_INFO, LOG_JSON);
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
