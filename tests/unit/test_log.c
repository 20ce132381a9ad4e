/* SPDX-License-Identifier: MIT
 * Log lines: that they are one line each, say what they should, and cannot be forged. */
#include "unit.h"

#include "base/log.h"

#include "base/text.h"
#include <sys/stat.h>

#include <json-c/json.h>
#include <pthread.h>

static char *written(enum log_format format, const char *message, const struct log_field *fields,
                     size_t count)
{
    log_setup(LOG_INFO, format);
    unit_stderr_begin();
    log_event(LOG_INFO, message, fields, count);
    return unit_stderr_end();
}

/* What follows the message on a line with this one field. The caller frees it. */
static char *written_field(enum log_format format, const struct log_field *field)
{
    static const char *const ends[] = {"msg=\"m\" ", "\"msg\":\"m\","};
    char *line = written(format, "m", field, 1);
    char *end = strstr(line, ends[format]);
    assert_non_null(end);
    char *rest = strdup(end + strlen(ends[format]));
    free(line);
    assert_non_null(rest);
    return rest;
}

static void assert_field(enum log_format format, enum log_type type, const char *string,
                         int64_t integer, const char *expected)
{
    const struct log_field field = {"field", type, string, integer};
    char *rest = written_field(format, &field);
    assert_string_equal(rest, expected);
    free(rest);
}

/* The line's JSON object, having seen that it is the whole of one line. */
static struct json_object *parsed(const char *line)
{
    size_t len = strlen(line);
    assert_true(len > 0 && line[len - 1] == '\n');
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    struct json_object *json = json_tokener_parse(line);
    assert_non_null(json);
    return json;
}

static const char *member(struct json_object *json, const char *name)
{
    struct json_object *value;
    assert_true(json_object_object_get_ex(json, name, &value));
    return json_object_get_string(value);
}

/* ---- form ---- */

static void test_json(void **state)
{
    const struct log_field fields[] = {
        {"method", LOG_STRING, "POST", 0},       {"status", LOG_INTEGER, NULL, 200},
        {"ms", LOG_MILLISECONDS, NULL, 12345},   {"left_out", LOG_STRING, NULL, 0},
        {"changed", LOG_RAW, "[{\"id\":7}]", 0}, {"out_too", LOG_RAW, NULL, 0},
    };
    char *line = written(LOG_JSON, "a request", fields, COUNT(fields));
    struct json_object *json = parsed(line);
    (void)state;
    assert_string_equal(member(json, "level"), "info");
    assert_string_equal(member(json, "msg"), "a request");
    assert_int_equal(json_object_object_length(json), 7);
    assert_string_equal(strstr(line, ",\"method\""), ",\"method\":\"POST\",\"status\":200,"
                                                     "\"ms\":12.345,\"changed\":[{\"id\":7}]}\n");
    json_object_put(json);
    free(line);
}

static void test_text(void **state)
{
    const struct log_field fields[] = {
        {"method", LOG_STRING, "POST", 0},       {"status", LOG_INTEGER, NULL, 200},
        {"ms", LOG_MILLISECONDS, NULL, 12345},   {"left_out", LOG_STRING, NULL, 0},
        {"changed", LOG_RAW, "[{\"id\":7}]", 0}, {"out_too", LOG_RAW, NULL, 0},
    };
    char *line = written(LOG_TEXT, "a request", fields, COUNT(fields));
    (void)state;
    assert_int_equal(strncmp(line, "time=\"", 6), 0);
    assert_non_null(strstr(line, "Z\" level=info msg=\"a request\" "));
    assert_string_equal(strstr(line, " method="), " method=\"POST\" status=200 ms=12.345 "
                                                  "changed=\"[{\\\"id\\\":7}]\"\n");
    free(line);
}

/* The time is now, in UTC, as RFC 3339 writes it. */
static void test_time(void **state)
{
    char before[32];
    char after[32];
    struct timespec now;
    (void)state;
    clock_gettime(CLOCK_REALTIME, &now);
    text_rfc3339((int64_t)now.tv_sec * 1000000, before);
    char *line = written(LOG_JSON, "m", NULL, 0);
    text_rfc3339(((int64_t)now.tv_sec + 60) * 1000000, after);
    struct json_object *json = parsed(line);
    const char *time = member(json, "time");
    before[19] = after[19] = '\0';
    assert_true(strncmp(before, time, 19) <= 0);
    assert_true(strncmp(time, after, 19) <= 0);
    assert_int_equal(time[strlen(time) - 1], 'Z');
    json_object_put(json);
    free(line);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_field(LOG_JSON, LOG_INTEGER, NULL, INT64_MAX, "\"field\":9223372036854775807}\n");
    assert_field(LOG_JSON, LOG_INTEGER, NULL, INT64_MIN, "\"field\":-9223372036854775808}\n");
    assert_field(LOG_TEXT, LOG_INTEGER, NULL, 0, "field=0\n");
    assert_field(LOG_JSON, LOG_MILLISECONDS, NULL, 0, "\"field\":0.000}\n");
    assert_field(LOG_JSON, LOG_MILLISECONDS, NULL, 7, "\"field\":0.007}\n");
    assert_field(LOG_JSON, LOG_MILLISECONDS, NULL, 999999, "\"field\":999.999}\n");
    assert_field(LOG_TEXT, LOG_MILLISECONDS, NULL, 60000001, "field=60000.001\n");
}

static void test_levels(void **state)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    (void)state;
    for (int set = LOG_DEBUG; set <= LOG_ERROR; set++) {
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
            log_setup((enum log_level)set, LOG_JSON);
            unit_stderr_begin();
            log_event((enum log_level)level, "m", NULL, 0);
            char *line = unit_stderr_end();
            assert_int_equal(*line != '\0', level >= set);
            assert_int_equal(log_wanted((enum log_level)level), level >= set);
            if (*line) {
                struct json_object *json = parsed(line);
                assert_string_equal(member(json, "level"), names[level]);
                json_object_put(json);
            }
            free(line);
        }
    }
}

static void test_message(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_TEXT);
    unit_stderr_begin();
    log_message(LOG_WARN, "%s took %d%%", "it", 7);
    char *line = unit_stderr_end();
    assert_string_equal(strstr(line, " level="), " level=warning msg=\"it took 7%\"\n");
    free(line);
}

/* ---- what comes from outside ---- */

/* What deceives leaves as \uXXXX, in JSON and in text alike. */
static void test_escapes(void **state)
{
    static const struct {
        const char *value;
        const char *escaped;
    } cases[] = {
        {"plain", "plain"},
        {"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9D\x84\x9E", "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9D\x84\x9E"},
        {"\"\\", "\\\"\\\\"},
        {"a\nb\rc\td", "a\\u000ab\\u000dc\\u0009d"},
        {"\x1B[31mred", "\\u001b[31mred"},
        {"\x01\x1F\x7F", "\\u0001\\u001f\\u007f"},
        {"\xC2\x80\xC2\x9B\xC2\x9F\xC2\xA0", "\\u0080\\u009b\\u009f\xC2\xA0"},
        {"\xD8\x9C", "\\u061c"},
        {"\xE2\x80\x8B\xE2\x80\x8F\xE2\x80\x90", "\\u200b\\u200f\xE2\x80\x90"},
        {"\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAE\xE2\x80\xAF", "\\u2028\\u2029\\u202e\xE2\x80\xAF"},
        {"\xE2\x81\xA6\xE2\x81\xA9", "\\u2066\\u2069"},
        {"\xEF\xBB\xBF", "\\ufeff"},
        {"\xF3\xA0\x80\x81", "\\udb40\\udc01"},
        {"\xFF\xC0\xAF", "\\ufffd\\ufffd\\ufffd"},
        {"cut \xE2\x82", "cut \\ufffd"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "\"field\":\"%s\"}\n", cases[i].escaped);
        assert_field(LOG_JSON, LOG_STRING, cases[i].value, 0, expected);
        snprintf(expected, sizeof expected, "field=\"%s\"\n", cases[i].escaped);
        assert_field(LOG_TEXT, LOG_STRING, cases[i].value, 0, expected);
    }
}

/* JSON's own quotes stay, and what deceives in its strings does not. */
static void test_escapes_in_raw(void **state)
{
    static const char raw[] = "[\"a\\\"b \xE2\x80\xAE \xC2\x9B\"]";
    (void)state;
    assert_field(LOG_JSON, LOG_RAW, raw, 0, "\"field\":[\"a\\\"b \\u202e \\u009b\"]}\n");
    assert_field(LOG_TEXT, LOG_RAW, raw, 0, "field=\"[\\\"a\\\\\\\"b \\u202e \\u009b\\\"]\"\n");
}

/* A value that reads like the end of a line and the start of another is still a value. */
static void test_forgery(void **state)
{
    static const char forged[] =
        "x\"}\n{\"time\":\"now\",\"level\":\"error\",\"msg\":\"forged\"}\n";
    const struct log_field field = {"path", LOG_STRING, forged, 0};
    (void)state;
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        char *line = written((enum log_format)format, forged, &field, 1);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        if (format == LOG_JSON) {
            struct json_object *json = parsed(line);
            assert_string_equal(member(json, "path"), forged);
            assert_string_equal(member(json, "msg"), forged);
            assert_string_equal(member(json, "level"), "info");
            json_object_put(json);
        }
        free(line);
    }
}

/* Beyond what a line usually takes, nothing is cut. */
static void test_long_lines(void **state)
{
    static const size_t lengths[] = {900, 1000, 1023, 1024, 1025, 5000, 200000};
    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        char *value = malloc(lengths[i] + 1);
        assert_non_null(value);
        memset(value, 'v', lengths[i]);
        value[lengths[i]] = '\0';
        const struct log_field fields[] = {{"a", LOG_STRING, value, 0},
                                           {"b", LOG_STRING, value, 0}};
        char *line = written(LOG_JSON, "m", fields, 2);
        struct json_object *json = parsed(line);
        assert_string_equal(member(json, "a"), value);
        assert_string_equal(member(json, "b"), value);
        json_object_put(json);
        free(line);
        free(value);
    }
}

/* ---- threads ---- */

enum {
    THREADS = 4,
    LINES = 200
};

static void *write_lines(void *argument)
{
    char value[6000];
    const struct log_field field = {"value", LOG_STRING, value, 0};
    memset(value, *(const char *)argument, sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < LINES; i++)
        log_event(LOG_INFO, "m", &field, 1);
    return NULL;
}

/* What comes through a pipe, until its last writer closes it. */
struct reader {
    int fd;
    char *text;
    size_t len;
};

static void *read_all(void *argument)
{
    struct reader *reader = argument;
    FILE *text = open_memstream(&reader->text, &reader->len);
    char bytes[4096];
    ssize_t got;
    while ((got = read(reader->fd, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)got, text);
    fclose(text);
    return NULL;
}

/* Starts the threads with a pipe for standard error, and returns what came through. */
static char *written_by_threads(void)
{
    static char letters[THREADS] = {'a', 'b', 'c', 'd'};
    pthread_t threads[THREADS];
    pthread_t reading;
    int ends[2];
    int saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    struct reader reader = {.fd = ends[0]};
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    pthread_create(&reading, NULL, read_all, &reader);
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, write_lines, &letters[i]);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    pthread_join(reading, NULL);
    close(ends[0]);
    return reader.text;
}

/* Lines longer than a pipe takes at once, and none is torn by another. */
static void test_lines_stay_whole(void **state)
{
    size_t lines = 0;
    (void)state;
    log_setup(LOG_INFO, LOG_JSON);
    char *text = written_by_threads();
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        *end = '\0';
        const char *value = strstr(line, "\"value\":\"");
        assert_non_null(value);
        value += strlen("\"value\":\"");
        const char same[] = {*value, '\0'};
        assert_int_equal(strspn(value, same), 5999);
        assert_string_equal(value + 5999, "\"}");
    }
    assert_int_equal(lines, THREADS * LINES);
    free(text);
}

/* Under systemd each line has its priority. */
static void test_priorities_for_the_journal(void **state)
{
    static const char *const starts[] = {"<6>{\"time\"", "<4>{\"time\"", "<3>{\"time\"",
                                         "<5>{\"time\""};
    struct stat status;
    char stream[64];
    (void)state;
    unit_stderr_begin();
    fstat(STDERR_FILENO, &status);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_setup(LOG_INFO, LOG_JSON);
    log_message(LOG_INFO, "a");
    log_message(LOG_WARN, "b");
    log_message(LOG_ERROR, "c");
    log_message(LOG_AUDIT, "d");
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_setup(LOG_INFO, LOG_JSON);
    log_message(LOG_INFO, "another stream");
    unsetenv("JOURNAL_STREAM");
    log_setup(LOG_INFO, LOG_JSON);
    char *text = unit_stderr_end();
    const char *line = text;
    for (size_t i = 0; i < COUNT(starts); i++) {
        assert_int_equal(strncmp(line, starts[i], strlen(starts[i])), 0);
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(*line, '{');
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priorities_for_the_journal),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_escapes_in_raw),
        cmocka_unit_test(test_forgery),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_lines_stay_whole),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
