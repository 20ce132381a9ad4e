/* SPDX-License-Identifier: MIT
 *
 * store_private: what a store is, for the files of this room that read and write its rows.
 */
#ifndef BBM_STORE_PRIVATE_H
#define BBM_STORE_PRIVATE_H

#include <stdbool.h>

struct db;
struct job_counters;

struct store {
    struct db *db;                 /* this thread's own connection */
    struct job_counters *counters; /* shared with the other threads' stores */
    bool had_history;              /* when that was last asked */
};

#endif
