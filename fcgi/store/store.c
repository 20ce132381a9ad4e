/* SPDX-License-Identifier: MIT
 * A thread's store, and the words for the numbers in it. */
#include "store/store.h"

#include "store/db.h"
#include "store/store_private.h"

#include <stdlib.h>

const char *store_status_name(int64_t status)
{
    static const char *const names[] = {
        [MIGRATION_PAUSED] = "paused",     [MIGRATION_ACTIVE] = "active",
        [MIGRATION_FINISHED] = "finished", [MIGRATION_FAILED] = "failed",
        [MIGRATION_RUNNING] = "running",
    };
    return status >= MIGRATION_PAUSED && status <= MIGRATION_RUNNING ? names[status] : "unknown";
}

const char *store_job_status_name(int64_t status)
{
    static const char *const names[] = {
        [JOB_ACTIVE] = "active", [JOB_FINISHED] = "finished", [JOB_FAILED] = "failed"};
    return status >= JOB_ACTIVE && status <= JOB_FAILED ? names[status] : "unknown";
}

struct store *store_new(const struct conf_database *conf, struct job_counters *counters)
{
    struct store *store = calloc(1, sizeof *store);
    if (store && !(store->db = db_new(conf))) {
        free(store);
        return NULL;
    }
    if (store)
        store->counters = counters;
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    db_free(store->db);
    free(store);
}
