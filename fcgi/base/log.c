/* SPDX-License-Identifier: MIT
 * One event, one line. */
#include "base/log.h"

#include "base/buffer.h"
#include "base/log_queue.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A line of up to so many bytes needs no allocation. */
#define LINE_USUAL 1024

/* What all threads share: how to log, set before they start. */
static struct {
    enum log_level level;
    enum log_format format;
    bool journal; /* stderr is systemd's journal, which takes a priority before each line */
} shared = {.level = LOG_INFO, .format = LOG_JSON};

static const char *const level_names[] = {"debug", "info", "warning", "error", "audit", "audit"};

/* sd-daemon(3): syslog's priorities debug, info, warning, error and notice. */
static const char *const priorities[] = {"<7>", "<6>", "<4>", "<3>", "<5>", "<5>"};

/* True where JOURNAL_STREAM names the file that stderr is (systemd.exec(5)). */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char own[64];
    if (!stream || fstat(STDERR_FILENO, &status) != 0)
        return false;
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, own) == 0;
}

void log_setup(enum log_level level, enum log_format format)
{
    shared.level = level;
    shared.format = format;
    shared.journal = is_journal();
}

bool log_wanted(enum log_level level)
{
    return level >= shared.level;
}

/* True for what could change how a line looks without being seen: C0 and C1 controls,
 * DEL, line and paragraph separators, the bidirectional and zero-width marks, the soft
 * hyphen and the annotation marks. */
static bool deceptive(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point <= 0x9F) || point == 0xAD || point == 0x61C ||
           point == 0x180E || (point >= 0x200B && point <= 0x200F) ||
           (point >= 0x2028 && point <= 0x202E) || (point >= 0x2060 && point <= 0x206F) ||
           point == 0xFEFF || (point >= 0xFFF9 && point <= 0xFFFB) ||
           (point >= 0xE0000 && point <= 0xE007F);
}

static void line_escape(struct buffer *line, uint32_t point)
{
    if (point == '"' || point == '\\')
        buffer_format(line, "\\%c", (char)point);
    else if (point < 0x10000)
        buffer_format(line, "\\u%04x", (unsigned)point);
    else
        buffer_format(line, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (point >> 10)),
                      (unsigned)(0xDC00 + (point & 0x3FF)));
}

/* How many bytes at `p` are printable ASCII that stays as it is. */
static size_t count_plain(const unsigned char *p, size_t len, bool quotes)
{
    size_t count = 0;
    while (count < len && p[count] >= 0x20 && p[count] < 0x7F &&
           !(quotes && (p[count] == '"' || p[count] == '\\')))
        count++;
    return count;
}

/* Appends `s` with deceptive characters escaped, and quotes where it is not JSON. */
static void line_clean(struct buffer *line, const char *s, bool quotes)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t len = strlen(s);
    while (len > 0) {
        uint32_t point;
        size_t used = count_plain(p, len, quotes);
        if (used > 0) {
            buffer_bytes(line, (const char *)p, used);
            p += used;
            len -= used;
            continue;
        }
        used = text_decode(p, len, &point);
        if (point == TEXT_REPLACEMENT || deceptive(point) ||
            (quotes && (point == '"' || point == '\\')))
            line_escape(line, point);
        else
            buffer_bytes(line, (const char *)p, used);
        p += used;
        len -= used;
    }
}

static void line_quoted(struct buffer *line, const char *s)
{
    buffer_char(line, '"');
    line_clean(line, s, true);
    buffer_char(line, '"');
}

static void line_value(struct buffer *line, const struct log_field *field)
{
    switch (field->type) {
    case LOG_STRING:
        line_quoted(line, field->string);
        break;
    case LOG_INTEGER:
        buffer_integer(line, field->integer);
        break;
    case LOG_MILLISECONDS:
        buffer_format(line, "%" PRId64 ".%03d", field->integer / 1000,
                      (int)(field->integer % 1000));
        break;
    case LOG_RAW:
        if (shared.format == LOG_JSON)
            line_clean(line, field->string, false);
        else
            line_quoted(line, field->string);
        break;
    }
}

static void line_field(struct buffer *line, const struct log_field *field)
{
    bool json = shared.format == LOG_JSON;
    if ((field->type == LOG_STRING || field->type == LOG_RAW) && !field->string)
        return;
    buffer_string(line, json ? ",\"" : " ");
    buffer_string(line, field->name);
    buffer_string(line, json ? "\":" : "=");
    line_value(line, field);
}

/* The time, level and message that every line starts with. */
static void line_start(struct buffer *line, enum log_level level, const char *message)
{
    struct timespec now;
    char time[32];
    bool json = shared.format == LOG_JSON;
    clock_gettime(CLOCK_REALTIME, &now);
    text_rfc3339((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, time);

    if (shared.journal)
        buffer_string(line, priorities[level]);
    buffer_string(line, json ? "{\"time\":\"" : "time=\"");
    buffer_string(line, time);
    buffer_string(line, json ? "\",\"level\":\"" : "\" level=");
    buffer_string(line, level_names[level]);
    buffer_string(line, json ? "\",\"msg\":" : " msg=");
    line_quoted(line, message);
}

void log_event(enum log_level level, const char *message, const struct log_field *fields,
               size_t count)
{
    char usual[LINE_USUAL];
    if (!log_wanted(level))
        return;
    struct buffer line = buffer_start(usual, sizeof usual);
    line_start(&line, level, message);
    for (size_t i = 0; i < count; i++)
        line_field(&line, &fields[i]);
    buffer_string(&line, shared.format == LOG_JSON ? "}\n" : "\n");
    line.text[line.len - 1] = '\n'; /* also where memory was not enough for all of it */
    log_queue_put(line.text, line.len, level == LOG_AUDIT);
    buffer_free(&line);
}

void log_message(enum log_level level, const char *fmt, ...)
{
    char message[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    log_event(level, message, NULL, 0);
}

static void report_lost(uint64_t lost)
{
    log_message(LOG_ERROR,
                "%" PRIu64 " lines of this log were lost: stderr did not take them in time", lost);
}

void log_hold(void)
{
    log_queue_hold();
}

int log_start(void)
{
    return log_queue_start(report_lost);
}

bool log_stop(int64_t ms)
{
    return log_queue_stop(ms);
}
