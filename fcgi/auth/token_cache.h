/* SPDX-License-Identifier: MIT
 *
 * verified: tokens that have been token_cache, remembered so that none is paid for twice.
 *
 * A fixed number of places, found by a digest of the whole token: SipHash of 128 bits
 * under a key that only this process knows, so that nobody can make another text with the
 * digest of a believed token. (SHA-512/256 took 12 % of a list's instructions, this takes
 * 5.) The token itself is not kept. Only believed tokens are remembered: strangers cannot
 * fill the places, and a refused token costs the same each time. What is found holds for
 * the keyring it was verified with and within the token's own time, both looked at anew on
 * every find, so that a bundle replaced or a clock that steps in either direction count at
 * once.
 *
 * Thread-safe.
 */
#ifndef BBM_TOKEN_CACHE_H
#define BBM_TOKEN_CACHE_H

#include "auth/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tokens remembered at most: about half a megabyte. */
#define TOKEN_CACHE_SIZE 1024

#define TOKEN_CACHE_DIGEST_SIZE 16

struct token_cache;

/* NULL when out of memory. `token_cache_free(NULL)` does nothing. */
struct token_cache *token_cache_new(void);
void token_cache_free(struct token_cache *token_cache);

/* The name under which a token is remembered. False when out of memory. */
bool token_cache_digest(const struct token_cache *token_cache, const char *text, size_t len,
                        unsigned char digest[TOKEN_CACHE_DIGEST_SIZE]);

/* True where the token has been verified with the keyring of that serial and may be
 * believed at `now` (seconds since the epoch): `token` is then what it says. */
bool token_cache_find(struct token_cache *token_cache,
                      const unsigned char digest[TOKEN_CACHE_DIGEST_SIZE], uint64_t serial,
                      int64_t now, struct token *token);

/* Remembers a token that the keyring of that serial has just verified. */
void token_cache_keep(struct token_cache *token_cache,
                      const unsigned char digest[TOKEN_CACHE_DIGEST_SIZE], uint64_t serial,
                      const struct token *token);

#endif
