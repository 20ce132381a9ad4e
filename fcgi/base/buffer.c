/* SPDX-License-Identifier: MIT
 * Text in memory. */
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

/* Takes what stdio has gathered. Nothing taken is what stdio calls an error. */
static ssize_t take(void *cookie, const char *bytes, size_t len)
{
    struct buffer *stream = cookie;
    size_t need = stream->len + len + 1;
    if (need > stream->size) {
        size_t size = need > 2 * stream->size ? need : 2 * stream->size;
        char *bigger = realloc(stream->text, size);
        stream->lost = stream->lost || !bigger;
        if (!bigger)
            return 0;
        stream->text = bigger;
        stream->size = size;
    }
    memcpy(stream->text + stream->len, bytes, len);
    stream->len += len;
    stream->text[stream->len] = '\0';
    return (ssize_t)len;
}

bool buffer_open(struct buffer *stream)
{
    *stream = (struct buffer){0};
    stream->out = fopencookie(stream, "w", (cookie_io_functions_t){.write = take});
    return stream->out != NULL;
}

char *buffer_close(struct buffer *stream)
{
    bool whole = !ferror(stream->out);
    whole = fclose(stream->out) == 0 && whole && !stream->lost && stream->text;
    if (whole)
        return stream->text;
    free(stream->text);
    return NULL;
}
