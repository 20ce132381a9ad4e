/* SPDX-License-Identifier: MIT
 *
 * buffer: text under construction, for log lines, headers, arrays and metrics.
 *
 * A buffer starts on bytes that the caller gives, so that text of the usual length needs no
 * allocation. One of buffer_fixed stays there; one of buffer_start grows into memory of its own.
 *
 * A piece of text that does not fit, or for which there is no memory, is left out whole, and `lost`
 * is set. So callers add piece by piece without a check, and look once, at the end: buffer_text and
 * buffer_take return NULL where a piece is lost. A caller that can use a part (the log)
 * reads `text` and `len` instead.
 *
 * Belongs to one thread.
 */
#ifndef BBM_BUFFER_H
#define BBM_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *text;
    size_t len;
    size_t size;  /* bytes at `text`; one is kept for a closing zero */
    bool is_heap; /* `text` is the buffer's own, from malloc */
    bool is_fixed;
    bool lost; /* a piece was left out */
};

/* Starts on the `size` bytes at `place`, which must live as long as the buffer; NULL and 0: on
 * none. To be ended by buffer_free or buffer_take. */
struct buffer buffer_start(char *place, size_t size);

/* The same where all must fit the `size` > 0 bytes, the closing zero included. Needs no end. */
struct buffer buffer_fixed(char *place, size_t size);

void buffer_bytes(struct buffer *buffer, const char *bytes, size_t len);
void buffer_string(struct buffer *buffer, const char *string);
void buffer_char(struct buffer *buffer, char c);
void buffer_integer(struct buffer *buffer, int64_t value);
void buffer_format(struct buffer *buffer, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The text, closed by a zero; lives as long as the buffer. NULL where a piece is lost. */
const char *buffer_text(struct buffer *buffer);

/* The same for the caller to free, and the end of the buffer, which was started on NULL. */
char *buffer_take(struct buffer *buffer);

void buffer_free(struct buffer *buffer);

#endif
