/* SPDX-License-Identifier: MIT
 * The counters as Prometheus' text (exposition format 0.0.4): its form, whatever was counted, and
 * one sample for each thing that can be counted. */
#include "unit.h"

#include "base/buffer.h"
#include "base/metrics.h"

#include <ctype.h>
#include <sys/resource.h>
#include <unistd.h>

/* The caller frees it. */
static char *printed(void)
{
    struct buffer out = buffer_start(NULL, 0);
    metrics_print(&out);
    char *text = buffer_take(&out);
    assert_non_null(text);
    return text;
}

static double value_of(const char *sample)
{
    char *text = printed();
    char start[256];
    snprintf(start, sizeof start, "\n%s ", sample);
    const char *line = strstr(text, start);
    if (!line)
        fail_msg("no sample %s", sample);
    double value = strtod(line + strlen(start), NULL);
    free(text);
    return value;
}

static void assert_value(const char *sample, double expected)
{
    double value = value_of(sample);
    if (value != expected)
        fail_msg("%s is %g, not %g", sample, value, expected);
}

/* ---- form ---- */

/* What of a line is a metric's name. */
static size_t name_len(const char *line)
{
    size_t len = 0;
    while (isalnum((unsigned char)line[len]) || line[len] == '_' || line[len] == ':')
        len++;
    return len;
}

/* The sample is one of this family: its name, or that with a histogram's ending. */
static bool is_of(const char *line, const char *family, const char *type)
{
    static const char *const endings[] = {"_bucket", "_sum", "_count"};
    size_t len = strlen(family);
    if (strncmp(line, family, len) != 0)
        return false;
    if (strcmp(type, "histogram") != 0)
        return name_len(line) == len;
    for (size_t i = 0; i < COUNT(endings); i++) {
        if (name_len(line) == len + strlen(endings[i]) &&
            strncmp(line + len, endings[i], strlen(endings[i])) == 0)
            return true;
    }
    return false;
}

/* Labels, if any, and a number: the rest of a sample's line. */
static void assert_sample(const char *line)
{
    const char *rest = line + name_len(line);
    char *end;
    assert_true(rest > line);
    if (*rest == '{') {
        const char *close = strrchr(rest, '}');
        assert_non_null(close);
        rest = close + 1;
    }
    assert_int_equal(*rest, ' ');
    strtod(rest + 1, &end);
    if (end == rest + 1 || *end)
        fail_msg("no number in %s", line);
}

/* HELP and TYPE of each family come once, and its samples behind them, each of them once. */
static void assert_form(char *text)
{
    char family[128] = "";
    char type[32] = "";
    char *lines[1024];
    size_t count = 0;
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *rest, *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_true(count < COUNT(lines));
        for (size_t i = 0; i < count; i++) {
            size_t len = (size_t)(strrchr(line, ' ') - line) + 1;
            if (line[0] != '#' && strncmp(lines[i], line, len) == 0)
                fail_msg("twice: %s", line);
        }
        lines[count++] = line;
        if (strncmp(line, "# HELP ", 7) == 0) {
            snprintf(family, sizeof family, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            for (size_t i = 0; i + 1 < count; i++)
                assert_false(is_of(lines[i], family, type));
            type[0] = '\0';
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            size_t len = strlen(family);
            assert_int_equal(strncmp(line + 7, family, len), 0);
            snprintf(type, sizeof type, "%s", line + 7 + len + 1);
            assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
                        strcmp(type, "histogram") == 0);
        } else {
            if (!*type || !is_of(line, family, type))
                fail_msg("not of %s: %s", family, line);
            assert_sample(line);
        }
    }
}

static void test_form_before_anything_is_counted(void **state)
{
    (void)state;
    char *text = printed();
    assert_null(strstr(text, "bbm_fcgi_requests_total{"));
    assert_non_null(strstr(text, "bbm_fcgi_build_info{version=\"" BBM_VERSION "\"} 1\n"));
    assert_form(text);
    free(text);
}

static void test_form_of_all(void **state)
{
    const struct metrics_certificate certificates[] = {{"AAAA:BBBB", 5}, {"CCCC:DDDD", -5}};
    (void)state;
    metrics_request("bbm/status", "GET", 200, 1500);
    metrics_request("bbm/status", "HEAD", 304, 10);
    metrics_request("restart/{id}", "POST", 503, 20000000);
    metrics_request(NULL, "GET\" 1\nup", 404, -1);
    metrics_certificates(certificates, COUNT(certificates));
    metrics_database_time(123456);
    char *text = printed();
    assert_form(text);
    free(text);
    metrics_certificates(NULL, 0);
}

/* ---- each thing that is counted has its own sample ---- */

static void test_tokens(void **state)
{
    static const char *const names[] = {"accepted", "none", "invalid", "insufficient"};
    char sample[96];
    (void)state;
    assert_int_equal(COUNT(names), METRICS_TOKENS);
    for (int i = 0; i < METRICS_TOKENS; i++) {
        snprintf(sample, sizeof sample, "bbm_fcgi_tokens_total{verdict=\"%s\"}", names[i]);
        assert_value(sample, 0);
        metrics_token((enum metrics_token)i);
        assert_value(sample, 1);
    }
}

static void test_dropped_connections(void **state)
{
    static const char *const names[] = {"read_timeout", "body_timeout",   "answer_timeout",
                                        "idle_timeout", "linger_timeout", "parameters_too_large",
                                        "not_fastcgi",  "aborted"};
    char sample[96];
    (void)state;
    assert_int_equal(COUNT(names), METRICS_DROPS);
    for (int i = 0; i < METRICS_DROPS; i++) {
        snprintf(sample, sizeof sample, "bbm_fcgi_connections_dropped_total{reason=\"%s\"}",
                 names[i]);
        assert_value(sample, 0);
        metrics_connection_dropped((enum metrics_drop)i);
        assert_value(sample, 1);
    }
}

static void test_database(void **state)
{
    static const char *const names[] = {"connect", "lost", "timeout", "passing", "refused"};
    char sample[96];
    (void)state;
    assert_int_equal(COUNT(names), METRICS_DATABASE_ERRORS);
    for (int i = 0; i < METRICS_DATABASE_ERRORS; i++) {
        snprintf(sample, sizeof sample, "bbm_fcgi_database_errors_total{kind=\"%s\"}", names[i]);
        assert_value(sample, 0);
        metrics_database_error((enum metrics_database_error)i);
        assert_value(sample, 1);
    }
    metrics_database_connected(false);
    metrics_database_connected(true);
    assert_value("bbm_fcgi_database_connections", 2);
    assert_value("bbm_fcgi_database_connects_total", 2);
    assert_value("bbm_fcgi_database_reconnects_total", 1);
    metrics_database_closed();
    assert_value("bbm_fcgi_database_connections", 1);
    metrics_database_closed();
    metrics_database_cancelled();
    assert_value("bbm_fcgi_database_cancels_total", 1);
}

static void test_log_and_rejected(void **state)
{
    (void)state;
    metrics_log_lost(false, 3);
    metrics_log_lost(true, 5);
    assert_value("bbm_fcgi_log_lines_lost_total{log=\"request\"}", 3);
    assert_value("bbm_fcgi_log_lines_lost_total{log=\"audit\"}", 5);
    metrics_rejected();
    assert_value("bbm_fcgi_shed_total", 1);
}

/* A gauge is counted down by one thread before another one has counted up. */
static void test_gauge_below_zero(void **state)
{
    (void)state;
    metrics_connections(-1);
    metrics_threads_busy(-2);
    assert_value("bbm_fcgi_connections", 0);
    assert_value("bbm_fcgi_threads_busy", 0);
    metrics_connections(3);
    metrics_threads_busy(3);
    assert_value("bbm_fcgi_connections", 2);
    assert_value("bbm_fcgi_threads_busy", 1);
    metrics_connections(-2);
    metrics_threads_busy(-1);
}

/* Buckets add up, and the last one is the count. */
static void test_histogram(void **state)
{
    double last = 0;
    (void)state;
    for (int64_t micros = 1; micros < INT64_C(100000000); micros *= 3)
        metrics_request("histogram", "GET", 200, micros);
    double count = value_of("bbm_fcgi_request_duration_seconds_count{route=\"histogram\"}");
    char *text = printed();
    for (char *rest, *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        if (!strstr(line, "_bucket{route=\"histogram\""))
            continue;
        double value = strtod(strrchr(line, ' '), NULL);
        assert_true(value >= last);
        last = value;
    }
    free(text);
    assert_true(last == count);
    assert_value("bbm_fcgi_request_duration_seconds_bucket{route=\"histogram\",le=\"+Inf\"}",
                 count);
}

/* More of them than are looked at in one call; skipped where the limit allows no more. */
static void test_open_descriptors(void **state)
{
    static int more[2000];
    struct rlimit limit;
    double before = value_of("process_open_fds");
    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < COUNT(more) + 100)
        skip();
    for (size_t i = 0; i < COUNT(more); i++)
        assert_true((more[i] = dup(STDOUT_FILENO)) >= 0);
    assert_value("process_open_fds", before + COUNT(more));
    for (size_t i = 0; i < COUNT(more); i++)
        close(more[i]);
    assert_value("process_open_fds", before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form_before_anything_is_counted),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_dropped_connections),
        cmocka_unit_test(test_database),
        cmocka_unit_test(test_log_and_rejected),
        cmocka_unit_test(test_gauge_below_zero),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_open_descriptors),
        cmocka_unit_test(test_form_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
