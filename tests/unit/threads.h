/* SPDX-License-Identifier: MIT
 *
 * threads: for tests of what makes threads wait.
 */
#ifndef BBM_UNIT_THREADS_H
#define BBM_UNIT_THREADS_H

#include "unit.h"

#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

/* True where the thread sleeps (proc(5)'s stat); false where it has ended, or has no number yet. */
static inline bool thread_sleeps(pid_t tid)
{
    char path[64];
    char line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *file = tid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    const char *end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    bool sleeps = end && strncmp(end, ") S", 3) == 0;
    fclose(file);
    return sleeps;
}

/* How often the thread has gone to sleep; -1 where it has ended. */
static inline long thread_sleep_count(pid_t tid)
{
    static const char name[] = "voluntary_ctxt_switches:";
    char path[64];
    char line[256];
    long count = -1;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, sizeof name - 1) == 0)
            count = strtol(line + sizeof name - 1, NULL, 10);
    }
    if (file)
        fclose(file);
    return count;
}

#endif
