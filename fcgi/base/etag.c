/* SPDX-License-Identifier: MIT
 * Entity tags. */
#include "base/etag.h"

#include "base/buffer.h"

#include <openssl/evp.h>

#define TAG_BYTES 16

void etag_of(const char *body, size_t len, char out[ETAG_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    out[0] = '\0';
    if (!EVP_Digest(body, len, digest, NULL, EVP_sha256(), NULL))
        return;
    struct buffer tag = buffer_fixed(out, ETAG_SIZE);
    buffer_string(&tag, "W/\"");
    for (size_t i = 0; i < TAG_BYTES; i++) {
        buffer_char(&tag, digits[digest[i] >> 4]);
        buffer_char(&tag, digits[digest[i] & 15]);
    }
    buffer_char(&tag, '"');
    buffer_text(&tag);
}
