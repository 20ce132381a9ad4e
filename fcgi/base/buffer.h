/* SPDX-License-Identifier: MIT
 *
 * buffer: text written with stdio into memory, whole or not at all.
 *
 * glibc's open_memstream alone is not reliable: it leaves out what it has no memory for, and goes
 * on. Only that one fprintf fails; ferror and fclose report nothing.
 *
 * A buffer belongs to one thread.
 */
#ifndef BBM_BUFFER_H
#define BBM_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct buffer {
    FILE *out; /* NULL: out of memory */
    char *text;
    size_t len;
    size_t size;
    bool lost;
};

/* Opens a stream, which stays where it is until it is closed. False when out of memory; then
 * it need not be closed. */
bool buffer_open(struct buffer *stream);

/* The text, closed by a zero, which the caller frees; NULL where any of it is lost. */
char *buffer_close(struct buffer *stream);

#endif
