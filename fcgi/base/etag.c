/* SPDX-License-Identifier: MIT
 * Entity tags. */
#include "base/etag.h"

#include <openssl/evp.h>
#include <stdio.h>

#define TAG_BYTES 16

void etag_of(const char *body, size_t len, char out[ETAG_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    out[0] = '\0';
    if (!EVP_Digest(body, len, digest, NULL, EVP_sha256(), NULL))
        return;
    char *end = out + snprintf(out, ETAG_SIZE, "W/\"");
    for (size_t i = 0; i < TAG_BYTES; i++)
        end += snprintf(end, 3, "%02x", digest[i]);
    end[0] = '"';
    end[1] = '\0';
}
