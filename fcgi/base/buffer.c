/* SPDX-License-Identifier: MIT
 * Text that grows. */
#include "base/buffer.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first memory of its own; each further one is at least twice as large. */
#define FIRST_SIZE ((size_t)256)

struct buffer buffer_start(char *place, size_t size)
{
    return (struct buffer){.text = place, .size = size};
}

struct buffer buffer_fixed(char *place, size_t size)
{
    return (struct buffer){.text = place, .size = size, .is_fixed = true};
}

/* Moves the text to where it has room for `size` bytes at least. False where it cannot. */
static bool grow(struct buffer *buffer, size_t size)
{
    if (size < 2 * buffer->size)
        size = 2 * buffer->size;
    if (size < FIRST_SIZE)
        size = FIRST_SIZE;
    char *bigger = buffer->is_fixed ? NULL : realloc(buffer->is_heap ? buffer->text : NULL, size);
    if (!bigger) {
        buffer->lost = true;
        return false;
    }
    if (!buffer->is_heap && buffer->len > 0)
        memcpy(bigger, buffer->text, buffer->len);
    buffer->text = bigger;
    buffer->size = size;
    buffer->is_heap = true;
    return true;
}

/* True where there is room for `more` bytes and a zero. */
static bool fits(const struct buffer *buffer, size_t more)
{
    return more < buffer->size - buffer->len;
}

/* Makes room for them. False with `lost`. */
static bool make_room(struct buffer *buffer, size_t more)
{
    return fits(buffer, more) || grow(buffer, buffer->len + more + 1);
}

void buffer_bytes(struct buffer *buffer, const char *bytes, size_t len)
{
    if (!make_room(buffer, len))
        return;
    memcpy(buffer->text + buffer->len, bytes, len);
    buffer->len += len;
}

void buffer_string(struct buffer *buffer, const char *string)
{
    buffer_bytes(buffer, string, strlen(string));
}

void buffer_char(struct buffer *buffer, char c)
{
    if (make_room(buffer, 1))
        buffer->text[buffer->len++] = c;
}

void buffer_integer(struct buffer *buffer, int64_t value)
{
    char digits[TEXT_INTEGER_SIZE];
    buffer_bytes(buffer, digits, text_integer(value, digits));
}

/* As vsnprintf, into the room that is there. */
__attribute__((format(printf, 2, 0))) static int format(struct buffer *buffer, const char *fmt,
                                                        va_list args)
{
    size_t room = buffer->size - buffer->len;
    return vsnprintf(room > 0 ? buffer->text + buffer->len : NULL, room, fmt, args);
}

void buffer_format(struct buffer *buffer, const char *fmt, ...)
{
    va_list args;
    va_list again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = format(buffer, fmt, args);
    if (len >= 0 && !fits(buffer, (size_t)len) && make_room(buffer, (size_t)len))
        len = format(buffer, fmt, again);
    va_end(again);
    va_end(args);
    if (len >= 0 && fits(buffer, (size_t)len))
        buffer->len += (size_t)len;
    else
        buffer->lost = true; /* vsnprintf itself may be out of memory */
}

const char *buffer_text(struct buffer *buffer)
{
    if (buffer->lost || !make_room(buffer, 0))
        return NULL;
    buffer->text[buffer->len] = '\0';
    return buffer->text;
}

char *buffer_take(struct buffer *buffer)
{
    if (!buffer_text(buffer))
        buffer_free(buffer);
    char *text = buffer->text;
    *buffer = (struct buffer){0};
    return text;
}

void buffer_free(struct buffer *buffer)
{
    if (buffer->is_heap)
        free(buffer->text);
    *buffer = (struct buffer){0};
}
