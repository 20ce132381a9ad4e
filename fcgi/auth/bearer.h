/* SPDX-License-Identifier: MIT
 *
 * bearer: the token in an Authorization header (contract, section 4; RFC 6750, 2.1). Pure and
 * thread-safe.
 */
#ifndef BBM_BEARER_H
#define BBM_BEARER_H

#include <stddef.h>

/* The token in the header's value, and its length in bytes; it is part of the value. The word
 * bearer in any case, one space, one token: NULL for anything else, and for no header (NULL). */
const char *bearer_token(const char *authorization, size_t *len);

#endif
