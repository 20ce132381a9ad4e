/* SPDX-License-Identifier: MIT
 *
 * base64: RFC 4648, in the two alphabets that tokens use.
 *
 * Decoding is strict, so that bytes have one spelling only. It refuses any other character (white
 * space too), a length that no encoder makes, and set bits beyond the last byte (RFC 4648, 3.5).
 * Pure and thread-safe.
 */
#ifndef BBM_BASE64_H
#define BBM_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes that decoding `len` characters takes at most. */
#define BASE64_DECODED(len) ((len) / 4 * 3 + 2)

/* The characters that encoding `len` bytes takes at most, the closing zero included. */
#define BASE64_ENCODED(len) (((len) + 2) / 3 * 4 + 1)

/* RFC 4648, 5, without padding (RFC 7515, 2). `out` has room for BASE64_DECODED(len) bytes, or for
 * BASE64_ENCODED(len) characters; encoding adds a closing zero. */
bool base64url_decode(const char *text, size_t len, unsigned char *out, size_t *out_len);
void base64url_encode(const unsigned char *bytes, size_t len, char *out);

/* RFC 4648, 4, with padding, as `x5c` is written (RFC 7515, 4.1.6). */
bool base64_decode(const char *text, size_t len, unsigned char *out, size_t *out_len);

#endif
