/* SPDX-License-Identifier: MIT
 *
 * etag: the entity tag of a body (RFC 9110, 8.8.3): another one for every other body.
 *
 * Pure and thread-safe.
 */
#ifndef BBM_ETAG_H
#define BBM_ETAG_H

#include <stddef.h>

/* W/, the quotes, half of a SHA-256 in hexadecimal digits, and a zero. */
#define ETAG_SIZE 37

/* A weak tag, because web servers on the way may compress the body. "" when out of memory: the
 * answer then has none. */
void etag_of(const char *body, size_t len, char out[ETAG_SIZE]);

#endif
