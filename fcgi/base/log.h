/* SPDX-License-Identifier: MIT
 *
 * log: one event, one line on stderr, written whole.
 *
 * Thread-safe. Values may hold anything: control characters, terminal escapes,
 * bidirectional marks and invalid UTF-8 leave as \uXXXX, so no client can forge a line.
 * Secrets are the caller's to keep out.
 */
#ifndef BBM_LOG_H
#define BBM_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_AUDIT, /* who changed what: written whatever level was asked for */
};

enum log_format {
    LOG_TEXT,
    LOG_JSON,
};

/* What a field's value is; raw is JSON already made (by json-c), shown quoted in text. */
enum log_type {
    LOG_STRING,
    LOG_INTEGER,
    LOG_MILLISECONDS, /* a number with three decimals; the value is in microseconds */
    LOG_RAW,
};

struct log_field {
    const char *name; /* lower case, no escaping done */
    enum log_type type;
    const char *string; /* NULL: the field is left out */
    int64_t integer;
};

/* Whole lines that are written together: as many as a pipe takes in one piece. Belongs to
 * one thread. */
struct log_lines {
    size_t len; /* to be set to 0 at first */
    char at[4096];
};

/* Set once before threads start. */
void log_setup(enum log_level level, enum log_format format);

/* True where a line of this level would be written: to spare making its fields. */
bool log_wanted(enum log_level level);

/* Writes one line. Never fails visibly: a log that cannot be written is let go. */
void log_event(enum log_level level, const char *message, const struct log_field *fields,
               size_t count);

/* The same, but with `lines` it may wait there for others until log_write. */
void log_later(struct log_lines *lines, enum log_level level, const char *message,
               const struct log_field *fields, size_t count);
void log_write(struct log_lines *lines);

/* The same for a line with no fields beyond its formatted message. */
void log_message(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
