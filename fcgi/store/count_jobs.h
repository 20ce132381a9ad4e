/* SPDX-License-Identifier: MIT
 *
 * count_jobs: a full count of the jobs table, for the job counters.
 */
#ifndef BBM_COUNT_JOBS_H
#define BBM_COUNT_JOBS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

/* Counts all jobs if the job counters have nothing to serve from, or if a full count is due and
 * it is this thread's turn. `*counted` is true where it has. A count that was due and fails leaves
 * the counters as they are, is logged once, and is no failure; it takes no more than three
 * quarters of the time. False, with the error, where there is nothing to serve from. */
bool count_jobs(struct store *store, int64_t deadline, bool *counted, struct error *error);

#endif
