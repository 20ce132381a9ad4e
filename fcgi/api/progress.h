/* SPDX-License-Identifier: MIT
 *
 * progress: how far a migration is (contract, section 2). Pure and thread-safe.
 */
#ifndef BBM_PROGRESS_H
#define BBM_PROGRESS_H

#include "store/store.h"

#include <stdbool.h>

struct progress {
    bool known;     /* false: there is nothing to compute it from */
    double percent; /* 0 to 100 */
    bool capped;    /* the estimate reached 100 before the migration was finished */
};

struct progress progress_of(const struct migration *migration);

/* How long an active or running migration will still take, in seconds, if its jobs go on
 * following each other as they did lately. Not given where it does not go on by itself,
 * or where its size or its pace is not known, or its estimated size is used up. */
struct opt_int64 progress_seconds_remaining(const struct migration *migration);

#endif
