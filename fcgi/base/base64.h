/* SPDX-License-Identifier: MIT
 *
 * base64: RFC 4648, in the two spellings that tokens use.
 *
 * Decoding is strict: any other character (white space too), a length that no encoder
 * makes, or set bits beyond the last byte (RFC 4648, 3.5) refuse the whole, so that bytes
 * have one spelling only. Pure and thread-safe.
 */
#ifndef BBM_BASE64_H
#define BBM_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* What decoding `len` characters takes at most. */
#define BASE64_DECODED(len) ((len) / 4 * 3 + 2)

/* What encoding `len` bytes takes at most, with the closing zero. */
#define BASE64_ENCODED(len) (((len) + 2) / 3 * 4 + 1)

/* Section 5, without padding, as RFC 7515 wants it. */
bool base64url_decode(const char *text, size_t len, unsigned char *out, size_t *out_len);
void base64url_encode(const unsigned char *bytes, size_t len, char *out);

/* Section 4, padded, as `x5c` has it (RFC 7515, 4.1.6). */
bool base64_decode(const char *text, size_t len, unsigned char *out, size_t *out_len);

#endif
