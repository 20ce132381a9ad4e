/* SPDX-License-Identifier: MIT
 *
 * digest: a short number that stands for bytes: equal for equal bytes, and different for any
 * others.
 *
 * It is SipHash with 128 bits under a random key of this process, in the variant of one round for
 * each block and three at the end, which is half the work of the usual two and four. That is
 * enough where the one who chooses the bytes sees neither the key nor any digest. A digest must not
 * leave the process.
 *
 * A key is immutable: all threads may use it at once.
 */
#ifndef BBM_DIGEST_H
#define BBM_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_SIZE 16

struct digest_key;

/* A new random key. NULL when out of memory or of randomness. */
struct digest_key *digest_key_new(void);
void digest_key_free(struct digest_key *key); /* NULL does nothing */

/* False when out of memory. */
bool digest_of(const struct digest_key *key, const void *bytes, size_t len,
               unsigned char digest[DIGEST_SIZE]);

#endif
