/* SPDX-License-Identifier: MIT
 *
 * signature_limit: how many threads may verify signatures at the same time.
 *
 * A signature costs the processor up to a millisecond, and anybody may send one. So that a flood
 * of forged tokens does not take all threads, at most half of them verify: the others remain for
 * tokens that are in the token cache. While tokens turn out good, a thread waits for its turn, as
 * when many clients come with new tokens at once. In a flood, which is a row of tokens that do not
 * verify, it does not wait.
 *
 * Thread-safe.
 */
#ifndef BBM_SIGNATURE_LIMIT_H
#define BBM_SIGNATURE_LIMIT_H

#include <stdbool.h>

struct signature_limit;

/* For a pool of that many threads: half of them, and at least one. NULL when out of memory.
 * `signature_limit_free(NULL)` does nothing. */
struct signature_limit *signature_limit_new(unsigned threads);
void signature_limit_free(struct signature_limit *limit);

/* True when the caller may verify one signature; it then calls signature_limit_end(). False in a
 * flood, when others verify as many as may. */
bool signature_limit_begin(struct signature_limit *limit);

/* `good` is whether the signature verified. */
void signature_limit_end(struct signature_limit *limit, bool good);

#endif
