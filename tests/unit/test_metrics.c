/* SPDX-License-Identifier: MIT
 * metrics: counters that threads share, and their text. The counts of this process add up from
 * test to test, so each test uses routes of its own. */
#include "base/metrics.h"

#include "base/buffer.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4
#define ROUNDS  10000

static char *print(void)
{
    struct buffer out = buffer_start(NULL, 0);
    metrics_print(&out);
    char *text = buffer_take(&out);
    assert_non_null(text);
    return text;
}

static void assert_line(const char *line)
{
    char *text = print();
    if (!strstr(text, line))
        fail_msg("%s: not in\n%s", line, text);
    free(text);
}

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++)
        metrics_request("shared", "GET", 200, i % 2 ? 700 : 70000);
    return NULL;
}

static void test_no_count_is_lost(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_line("bbm_fcgi_requests_total{route=\"shared\",method=\"GET\",status=\"200\"} 40000\n");
    assert_line("bbm_fcgi_request_duration_seconds_bucket{route=\"shared\",le=\"0.001\"} 20000\n");
    assert_line("bbm_fcgi_request_duration_seconds_bucket{route=\"shared\",le=\"0.05\"} 20000\n");
    assert_line("bbm_fcgi_request_duration_seconds_bucket{route=\"shared\",le=\"0.1\"} 40000\n");
    assert_line("bbm_fcgi_request_duration_seconds_count{route=\"shared\"} 40000\n");
    assert_line("bbm_fcgi_request_duration_seconds_sum{route=\"shared\"} 1414.000000\n");
}

static void test_bound_is_within_its_bucket(void **state)
{
    (void)state;
    metrics_request("bound", "HEAD", 200, 1000);
    metrics_request("bound", "HEAD", 200, 10000001);
    assert_line("bbm_fcgi_request_duration_seconds_bucket{route=\"bound\",le=\"0.001\"} 1\n");
    assert_line("bbm_fcgi_request_duration_seconds_bucket{route=\"bound\",le=\"10\"} 1\n");
    assert_line("bbm_fcgi_request_duration_seconds_bucket{route=\"bound\",le=\"+Inf\"} 2\n");
}

static void test_unknown_method_and_status_count_as_other(void **state)
{
    (void)state;
    metrics_request(NULL, "BREW", 418, 1);
    assert_line("bbm_fcgi_requests_total{route=\"none\",method=\"other\",status=\"other\"} 1\n");
}

static void test_routes_beyond_the_table_count_together(void **state)
{
    static char names[64][8];
    (void)state;
    for (int i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "r%d", i);
        metrics_request(names[i], "GET", 204, 1);
    }
    assert_line("route=\"r0\",method=\"GET\",status=\"204\"} 1\n");
    assert_line("route=\"other\",method=\"GET\",status=\"204\"} ");
}

static void assert_label(const char *value, size_t len, const char *expected)
{
    struct buffer out = buffer_start(NULL, 0);
    metrics_label(&out, "l", value, len);
    assert_string_equal(buffer_text(&out), expected);
    buffer_free(&out);
}

static void test_labels_are_escaped(void **state)
{
    (void)state;
    assert_label("plain", 5, "l=\"plain\"");
    assert_label("", 0, "l=\"\"");
    assert_label("a\"b\\c\nd", 7, "l=\"a\\\"b\\\\c\\nd\"");
    assert_label("gr\xC3\xB6\xC3\x9F"
                 "e",
                 7,
                 "l=\"gr\xC3\xB6\xC3\x9F"
                 "e\"");
    assert_label("\xE9!", 2, "l=\"\xEF\xBF\xBD!\"");
    assert_label("\xC3", 1, "l=\"\xEF\xBF\xBD\"");
}

static void test_writes_by_outcome(void **state)
{
    (void)state;
    metrics_write(METRICS_WRITE_DONE);
    metrics_write(METRICS_WRITE_DONE);
    metrics_write(METRICS_WRITE_UNKNOWN);
    assert_line("bbm_fcgi_writes_total{outcome=\"done\"} 2\n");
    assert_line("bbm_fcgi_writes_total{outcome=\"refused\"} 0\n");
    assert_line("bbm_fcgi_writes_total{outcome=\"failed\"} 0\n");
    assert_line("bbm_fcgi_writes_total{outcome=\"unknown\"} 1\n");
}

static void test_certificates(void **state)
{
    static struct metrics_certificate many[METRICS_CERTIFICATES_MAX + 1];
    const struct metrics_certificate two[] = {{"A:B", 5}, {"C:D", -6}, {"A:B", 7}, {"A:B", 4}};
    (void)state;
    metrics_certificates(two, 4);
    assert_line("bbm_fcgi_certificate_expiry_timestamp_seconds{fingerprint=\"A:B\"} 7\n"
                "bbm_fcgi_certificate_expiry_timestamp_seconds{fingerprint=\"C:D\"} -6\n#");
    for (int i = 0; i <= METRICS_CERTIFICATES_MAX; i++)
        snprintf(many[i].fingerprint, sizeof many[i].fingerprint, "F%d", i);
    metrics_certificates(many, METRICS_CERTIFICATES_MAX + 1);
    assert_line("{fingerprint=\"F63\"} 0\n#");
    metrics_certificates(NULL, 0);
    assert_line("# TYPE bbm_fcgi_certificate_expiry_timestamp_seconds gauge\n#");
}

static void test_gauges_go_down_again(void **state)
{
    (void)state;
    metrics_connections(1);
    metrics_connections(1);
    metrics_connections(-1);
    assert_line("bbm_fcgi_connections 1\n");
    metrics_database_connected(false);
    metrics_database_connected(true);
    metrics_database_closed();
    assert_line("bbm_fcgi_database_connections 1\n");
    assert_line("bbm_fcgi_database_connects_total 2\n");
    assert_line("bbm_fcgi_database_reconnects_total 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_count_is_lost),
        cmocka_unit_test(test_bound_is_within_its_bucket),
        cmocka_unit_test(test_unknown_method_and_status_count_as_other),
        cmocka_unit_test(test_routes_beyond_the_table_count_together),
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_writes_by_outcome),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_gauges_go_down_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
