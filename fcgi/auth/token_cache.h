/* SPDX-License-Identifier: MIT
 *
 * token_cache: tokens that have been verified, so that each is verified once.
 *
 * A fixed number of entries. The key of an entry is a digest of the whole token (digest.h), so that
 * nobody can make another text with the digest of an accepted token. (SHA-512/256 takes 12% of a
 * list's instructions, SipHash 5%.) The token itself is not stored. Only accepted tokens are
 * stored: forged ones cannot fill the cache, and a refused token is judged again each time. An
 * entry is used only with the keyring that verified it, and only from token.from to token.until:
 * token_claims.c sets these times, token_signature.c narrows them to the certificates'. Each lookup
 * checks both, so that a new bundle and a clock that steps have an effect at once.
 *
 * Thread-safe.
 */
#ifndef BBM_TOKEN_CACHE_H
#define BBM_TOKEN_CACHE_H

#include "auth/token.h"
#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Entries; about half a megabyte in all. */
#define TOKEN_CACHE_SIZE 1024

struct token_cache;

/* NULL when out of memory. `token_cache_free(NULL)` does nothing. */
struct token_cache *token_cache_new(void);
void token_cache_free(struct token_cache *cache);

/* Computes the key of a token's entry. False when out of memory. */
bool token_cache_digest(const struct token_cache *cache, const char *text, size_t len,
                        unsigned char digest[DIGEST_SIZE]);

/* True where the keyring with that serial has verified the token, and the token is valid at `now`
 * (seconds since the epoch). Then fills `token`. */
bool token_cache_find(struct token_cache *cache, const unsigned char digest[DIGEST_SIZE],
                      uint64_t serial, int64_t now, struct token *token);

/* Stores a token that the keyring with that serial has just verified. */
void token_cache_keep(struct token_cache *cache, const unsigned char digest[DIGEST_SIZE],
                      uint64_t serial, const struct token *token);

#endif
