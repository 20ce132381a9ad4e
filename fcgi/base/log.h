/* SPDX-License-Identifier: MIT
 *
 * log: one event, one line on stderr, written whole.
 *
 * Thread-safe, and after log_start nobody waits for who reads stderr (log_queue.h). Values may hold
 * anything: control characters, terminal escapes, bidirectional marks and invalid UTF-8 leave as
 * \uXXXX, so no client can forge a line. Secrets are the caller's to keep out.
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
    /* Who changed what: written whatever level was asked for. Anyone can cause a line of a write
     * that is refused, so such lines do not take the room that is kept for the others. */
    LOG_AUDIT_REFUSED,
    LOG_AUDIT,
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

/* Set once before threads start. */
void log_setup(enum log_level level, enum log_format format);

/* Starts the thread that writes; without it, each line is written at once. Returns 0 or an
 * errno. To be called once, with all signals that the server deals with blocked. */
int log_start(void);

/* Waits for up to `ms` until all is written, and ends that thread. False where that takes longer.
 */
bool log_stop(int64_t ms);

/* True where a line of this level would be written: to spare making its fields. */
bool log_wanted(enum log_level level);

/* Writes one line. One that cannot be written is counted and reported later. */
void log_event(enum log_level level, const char *message, const struct log_field *fields,
               size_t count);

/* The same for a line with no fields beyond its formatted message. */
void log_message(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
