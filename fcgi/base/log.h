/* SPDX-License-Identifier: MIT
 *
 * log: one event, one line on stderr, written whole.
 *
 * Thread-safe. After log_start no thread waits for the reader of stderr (log_queue.h). Values may
 * hold anything: control characters, terminal escapes, bidirectional marks and invalid UTF-8 are
 * written as \uXXXX, so no client can forge a line. Callers must keep secrets out.
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
    /* The audit log, who changed what: written at every level. Anyone can cause the line of a
     * refused write, so such lines do not use the part of the queue that is kept for the rest. */
    LOG_AUDIT_REFUSED,
    LOG_AUDIT,
};

enum log_format {
    LOG_TEXT,
    LOG_JSON,
};

/* The type of a field's value. A raw one is JSON, which the text format quotes. */
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

/* To be called once, before threads start. */
void log_setup(enum log_level level, enum log_format format);

/* From here on lines wait for log_start or log_stop; until then each is written at once. */
void log_hold(void);

/* Starts the thread that writes. Returns 0 or an errno. To be called once, with the server's
 * signals blocked. */
int log_start(void);

/* Writes all, and ends the thread. False where that takes longer than `ms`. */
bool log_stop(int64_t ms);

/* True where a line of this level is written. Saves making its fields. */
bool log_wanted(enum log_level level);

/* Writes one line. A line that cannot be written is counted, and the loss is logged later. */
void log_event(enum log_level level, const char *message, const struct log_field *fields,
               size_t count);

/* The same for a line with no fields beyond its formatted message. */
void log_message(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
