/* SPDX-License-Identifier: MIT
 *
 * progress: how far a migration is (contract, section 2). Pure and thread-safe.
 */
#ifndef BBM_PROGRESS_H
#define BBM_PROGRESS_H

#include "store.h"

#include <stdbool.h>

struct progress {
    bool known;     /* false: there is nothing to compute it from */
    double percent; /* 0 to 100 */
    bool capped;    /* the estimate reached 100 before the migration was finished */
};

struct progress progress_of(const struct migration *migration);

#endif
