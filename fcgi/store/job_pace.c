/* SPDX-License-Identifier: MIT
 * The pace of a migration's jobs. */
#include "store/job_pace.h"

#include <stdlib.h>
#include <string.h>

void job_pace_add(struct job_pace *pace, int64_t created_at)
{
    if (pace->count == JOB_PACE_RECENT) {
        pace->count--;
        memmove(pace->created_at, pace->created_at + 1, pace->count * sizeof *pace->created_at);
    }
    pace->created_at[pace->count++] = created_at;
    pace->is_known = false;
}

/* The time between two moments; where 64 bits cannot hold it, the nearest number that they can. */
static int64_t gap_between(int64_t earlier, int64_t later)
{
    int64_t gap;
    if (__builtin_sub_overflow(later, earlier, &gap))
        return later > earlier ? INT64_MAX : INT64_MIN;
    return gap;
}

static int compare_gaps(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The middle of `count` ascending gaps. Halves are added, as the sum may not fit. */
static int64_t median_of(const int64_t *gaps, size_t count)
{
    int64_t high = gaps[count / 2];
    if (count % 2)
        return high;
    int64_t low = gaps[count / 2 - 1];
    return low / 2 + high / 2 + (low % 2 + high % 2) / 2;
}

static int64_t compute(const struct job_pace *pace)
{
    int64_t gaps[JOB_PACE_RECENT];
    if (pace->count < 3)
        return 0;
    size_t count = pace->count - 1;
    for (size_t i = 0; i < count; i++)
        gaps[i] = gap_between(pace->created_at[i], pace->created_at[i + 1]);
    qsort(gaps, count, sizeof *gaps, compare_gaps);
    /* In a median a pause or an idle night is one gap of many. It is zero where a worker runs
     * several jobs in one transaction; the mean then serves. */
    int64_t median = median_of(gaps, count);
    int64_t mean = gap_between(pace->created_at[0], pace->created_at[count]) / (int64_t)count;
    int64_t micros = median > 0 ? median : mean;
    return micros > 0 ? micros : 0;
}

int64_t job_pace_micros(struct job_pace *pace)
{
    if (!pace->is_known) {
        pace->micros = compute(pace);
        pace->is_known = true;
    }
    return pace->micros;
}
