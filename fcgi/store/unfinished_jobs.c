/* SPDX-License-Identifier: MIT
 * The unfinished jobs, as an array that is searched by halves. */
#include "store/unfinished_jobs.h"

#include <stdlib.h>

bool unfinished_jobs_add(struct unfinished_jobs *jobs, const struct unfinished_job *job)
{
    if (jobs->count == jobs->room) {
        size_t room = jobs->room ? jobs->room * 2 : 16;
        struct unfinished_job *rows = realloc(jobs->rows, room * sizeof *rows);
        if (!rows)
            return false;
        jobs->rows = rows;
        jobs->room = room;
    }
    jobs->rows[jobs->count++] = *job;
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const struct unfinished_job *left = a;
    const struct unfinished_job *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

void unfinished_jobs_sort(struct unfinished_jobs *jobs)
{
    if (jobs->count > 1)
        qsort(jobs->rows, jobs->count, sizeof *jobs->rows, compare_ids);
}

struct unfinished_job *unfinished_jobs_find(const struct unfinished_jobs *jobs, int64_t id)
{
    const struct unfinished_job key = {.id = id};
    return jobs->count > 0 ? bsearch(&key, jobs->rows, jobs->count, sizeof key, compare_ids) : NULL;
}

void unfinished_jobs_free(struct unfinished_jobs *jobs)
{
    free(jobs->rows);
    *jobs = (struct unfinished_jobs){0};
}
