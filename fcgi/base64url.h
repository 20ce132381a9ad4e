/* SPDX-License-Identifier: MIT
 *
 * base64url: RFC 4648, section 5, without padding, as RFC 7515 wants it.
 *
 * Strict: any other character, a length of 4n+1, or set bits beyond the last byte
 * (RFC 4648, 3.5) refuse the whole, so that a text has one spelling only.
 * Pure and thread-safe.
 */
#ifndef BBM_BASE64URL_H
#define BBM_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes into `out`, which takes `len / 4 * 3 + 2` bytes. */
bool base64url_decode(const char *text, size_t len, unsigned char *out, size_t *out_len);

#endif
