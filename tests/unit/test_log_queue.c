/* SPDX-License-Identifier: MIT
 * Lines on their way to a stderr that takes them, takes none, or fails. */
#include "unit.h"

#include "base/log_queue.h"
#include "base/metrics.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 100

/* What stderr is while a test runs, and the reader's end of it. */
static struct {
    int saved;
    int reader;
} pipes;

static _Atomic uint64_t reported;

/* Says it on stderr, too, as the log does. */
static void report(uint64_t lost)
{
    static const char line[] = "lost\n";
    atomic_fetch_add(&reported, lost);
    log_queue_put(line, sizeof line - 1, false);
}

static void put(const char *kind, size_t number, bool audit)
{
    char line[LINE_SIZE + 1];
    memset(line, '.', LINE_SIZE);
    int len = snprintf(line, sizeof line, "%s %zu", kind, number);
    line[len] = ' ';
    line[LINE_SIZE - 1] = '\n';
    log_queue_put(line, LINE_SIZE, audit);
}

static int pipe_begin(void **state)
{
    int ends[2];
    (void)state;
    pipes.saved = dup(STDERR_FILENO);
    if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0)
        return -1;
    close(ends[1]);
    pipes.reader = ends[0];
    atomic_store(&reported, 0);
    return log_queue_start(report);
}

static int pipe_end(void **state)
{
    (void)state;
    bool stopped = log_queue_stop(10000);
    dup2(pipes.saved, STDERR_FILENO);
    close(pipes.saved);
    close(pipes.reader);
    return stopped ? 0 : -1;
}

/* Reads a line; it comes sooner or later. */
static void read_line(char line[LINE_SIZE + 1])
{
    size_t len = 0;
    while (len < LINE_SIZE && read(pipes.reader, line + len, 1) == 1 && line[len++] != '\n')
        continue;
    line[len] = '\0';
    assert_true(len > 0 && line[len - 1] == '\n');
}

static void assert_line(const char *kind, size_t number)
{
    char line[LINE_SIZE + 1];
    char expected[32];
    read_line(line);
    snprintf(expected, sizeof expected, "%s %zu ", kind, number);
    if (strncmp(line, expected, strlen(expected)) != 0)
        fail_msg("expected %s, read %s", expected, line);
}

static void test_lines_come_in_order(void **state)
{
    enum {
        TOGETHER = 30
    };
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        for (size_t j = 0; j < TOGETHER; j++)
            put("line", i * TOGETHER + j, false);
        for (size_t j = 0; j < TOGETHER; j++)
            assert_line("line", i * TOGETHER + j);
    }
}

/* Stderr keeps the borders of what is written. Where this thread is delayed between two lines, they
 * may be written apart: that does not happen each time. */
static void test_lines_gather(void **state)
{
    enum {
        TOGETHER = 3
    };
    int ends[2];
    char lines[10 * LINE_SIZE];
    ssize_t largest = 0;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    close(pipes.reader);
    pipes.reader = ends[0];
    struct pollfd readable = {.fd = pipes.reader, .events = POLLIN};
    for (size_t i = 0; i < 100 && largest < TOGETHER * LINE_SIZE; i++) {
        ssize_t left = (1 + TOGETHER) * LINE_SIZE;
        put("line", 0, false);
        left -= read(pipes.reader, lines, sizeof lines);
        for (size_t j = 0; j < TOGETHER; j++) {
            put("line", j, false);
            poll(&readable, 1, 1);
        }
        while (left > 0) {
            ssize_t part = read(pipes.reader, lines, sizeof lines);
            assert_true(part > 0);
            largest = part > largest ? part : largest;
            left -= part;
        }
    }
    assert_int_equal(largest, TOGETHER * LINE_SIZE);
}

/* Each of these waits for the one before: if one waited for others, that would take 5 s. */
static void test_audit_lines_wait_for_none(void **state)
{
    struct timespec start;
    struct timespec end;
    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t i = 0; i < 1000; i++) {
        put("audit", i, true);
        assert_line("audit", i);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 4);
}

/* More lines than the pipe and the queue take: nobody waits, and each is written, in order, or
 * counted. For the audit log's there is room when the others have none. */
static void fill_and_read(void)
{
    enum {
        AUDIT_LINES = LOG_QUEUE_AUDIT / LINE_SIZE,
        LINES = 3 * LOG_QUEUE_SIZE / LINE_SIZE
    };
    char line[LINE_SIZE + 1];
    size_t lines = 0;
    size_t audit_lines = 0;
    size_t next = 0;
    for (size_t i = 0; i < LINES; i++)
        put("line", i, false);
    for (size_t i = 0; i < AUDIT_LINES; i++)
        put("audit", i, true);
    while (lines + audit_lines + atomic_load(&reported) < LINES + AUDIT_LINES) {
        read_line(line);
        if (strncmp(line, "audit", 5) == 0) {
            audit_lines++;
        } else if (strcmp(line, "lost\n") != 0) {
            size_t number = strtoul(line + strlen("line "), NULL, 10);
            assert_true(number >= next);
            next = number + 1;
            lines++;
        }
    }
    assert_int_equal(audit_lines, AUDIT_LINES);
    assert_true(lines < LINES);
}

static void test_reader_that_does_not_read(void **state)
{
    (void)state;
    fill_and_read();
}

static void test_pipe_that_does_not_block(void **state)
{
    (void)state;
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
    fill_and_read();
}

/* A stderr that fails is not tried in a circle; when it takes lines again, the loss is reported. */
static void test_reader_that_is_gone(void **state)
{
    char line[LINE_SIZE + 1];
    int ends[2];
    (void)state;
    close(pipes.reader);
    for (size_t i = 0; i < 10; i++)
        put("line", i, false);
    assert_true(log_queue_stop(10000));
    assert_int_equal(atomic_load(&reported), 0);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    pipes.reader = ends[0];
    assert_int_equal(log_queue_start(report), 0);
    put("line", 10, false);
    while (atomic_load(&reported) < 10)
        read_line(line);
}

/* A line longer than a pipe takes in one piece, between others. */
static void test_long_line(void **state)
{
    static char text[20000];
    static char got[sizeof text];
    size_t len = 0;
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\n';
    put("line", 1, false);
    log_queue_put(text, sizeof text, false);
    put("line", 2, false);
    assert_line("line", 1);
    while (len < sizeof text) {
        ssize_t part = read(pipes.reader, got + len, sizeof text - len);
        assert_true(part > 0);
        len += (size_t)part;
    }
    assert_memory_equal(got, text, sizeof text);
    assert_line("line", 2);
}

/* Lines from before the thread starts come first; and without a thread the end writes them. */
static void test_lines_wait_for_the_start(void **state)
{
    struct pollfd readable = {.fd = pipes.reader, .events = POLLIN};
    (void)state;
    assert_true(log_queue_stop(10000));
    log_queue_hold();
    put("line", 1, false);
    assert_int_equal(poll(&readable, 1, 0), 0);
    assert_int_equal(log_queue_start(report), 0);
    put("line", 2, false);
    assert_line("line", 1);
    assert_line("line", 2);
    assert_true(log_queue_stop(10000));
    log_queue_hold();
    put("line", 3, false);
    assert_int_equal(poll(&readable, 1, 0), 0);
    assert_true(log_queue_stop(10000));
    assert_line("line", 3);
    put("line", 4, false);
    assert_line("line", 4);
}

/* The end does not wait for a reader that does not come; and what is put then is counted. */
static void test_stop_with_a_reader_that_does_not_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * LOG_QUEUE_SIZE / LINE_SIZE; i++)
        put("line", i, false);
    assert_false(log_queue_stop(1));
    put("line", 0, true);
    assert_false(log_queue_stop(1));
}

/* The thread of that test stays in its write until the process ends. */
static int leave(void **state)
{
    (void)state;
    dup2(pipes.saved, STDERR_FILENO);
    return 0;
}

static int ignore_sigpipe(void **state)
{
    (void)state;
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_come_in_order, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_lines_gather, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_audit_lines_wait_for_none, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_reader_that_does_not_read, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_pipe_that_does_not_block, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_reader_that_is_gone, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_long_line, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_lines_wait_for_the_start, pipe_begin, pipe_end),
        cmocka_unit_test_setup_teardown(test_stop_with_a_reader_that_does_not_read, pipe_begin,
                                        leave),
    };
    return cmocka_run_group_tests(tests, ignore_sigpipe, NULL);
}
