/* SPDX-License-Identifier: MIT
 * How far a migration is. */
#include "api/progress.h"

#include <math.h>

/* The highest progress of an unfinished migration; the registry's own number. */
#define CAP 99.9

struct progress progress_of(const struct migration *migration)
{
    if (migration->status == MIGRATION_FINISHED)
        return (struct progress){true, 100, false};
    if (!migration->total_tuple_count.given || migration->total_tuple_count.value <= 0)
        return (struct progress){false, 0, false};

    /* The product of two columns may pass 64 bits; what is beyond the total counts as
     * the total, so a double's 53 bits are enough to see that. */
    double total = (double)migration->total_tuple_count.value;
    double done = (double)migration->finished_jobs * (double)migration->batch_size;
    if (done >= total)
        return (struct progress){true, CAP, true};
    return (struct progress){true, done > 0 ? done / total * 100 : 0, false};
}

struct opt_int64 progress_seconds_remaining(const struct migration *migration)
{
    const struct opt_int64 unknown = {false, 0};
    struct progress progress = progress_of(migration);
    if (migration->status != MIGRATION_ACTIVE && migration->status != MIGRATION_RUNNING)
        return unknown;
    if (!progress.known || progress.capped || !migration->pace.given ||
        migration->pace.value <= 0 || migration->batch_size <= 0)
        return unknown;
    double batch = (double)migration->batch_size;
    double left =
        (double)migration->total_tuple_count.value - (double)migration->finished_jobs * batch;
    double jobs = ceil(left / batch);
    double seconds = ceil(jobs * (double)migration->pace.value / 1e6);
    /* Beyond what a number of seconds is good for: about 30 million years. */
    if (seconds > 1e15)
        return unknown;
    return (struct opt_int64){true, (int64_t)seconds};
}
