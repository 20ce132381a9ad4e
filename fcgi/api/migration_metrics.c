/* SPDX-License-Identifier: MIT
 * The families of metrics that have a series for each migration. */
#include "api/migration_metrics.h"

#include "api/progress.h"
#include "base/buffer.h"
#include "base/metrics.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* Writes the name and the labels of one migration's sample, up to its value. */
static void write_labels(struct buffer *out, const char *name, const struct migration *m,
                         bool with_status)
{
    char id[TEXT_INTEGER_SIZE];
    const char *status = store_status_name(m->status);
    size_t len = text_integer(m->id, id);
    buffer_format(out, "%s{", name);
    metrics_label(out, "migration_id", id, len);
    buffer_char(out, ',');
    metrics_label(out, "migration_name", m->name.at, m->name.len);
    if (with_status) {
        buffer_char(out, ',');
        metrics_label(out, "status", status, strlen(status));
    }
    buffer_string(out, "} ");
}

/* The registry's own metric, under its name and labels, so that dashboards made for the registry
 * go on working. A progress that is not known has no sample. */
static void write_progress(struct buffer *out, const struct migrations *migrations)
{
    static const char name[] = "registry_database_bbm_progress_percent";
    char digits[32];
    metrics_family(out, name, "gauge",
                   "Progress of a batched background migration, in percent. The same from every "
                   "process.");
    for (size_t i = 0; i < migrations->count; i++) {
        const struct progress progress = progress_of(&migrations->rows[i]);
        if (!progress.known)
            continue;
        text_number(progress.percent, digits);
        write_labels(out, name, &migrations->rows[i], true);
        buffer_format(out, "%s\n", digits);
    }
}

/* Every migration has this one: an alert on status="failed" misses none. */
static void write_status(struct buffer *out, const struct migrations *migrations)
{
    static const char name[] = "bbm_fcgi_migration_status";
    metrics_family(out, name, "gauge",
                   "1 for the state that the migration is in; it has no series for other states.");
    for (size_t i = 0; i < migrations->count; i++) {
        write_labels(out, name, &migrations->rows[i], true);
        buffer_string(out, "1\n");
    }
}

/* One family of a number that a migration has, or has not. */
static void write_numbers(struct buffer *out, const struct migrations *migrations, const char *name,
                          const char *help, struct opt_int64 (*number)(const struct migration *))
{
    metrics_family(out, name, "gauge", help);
    for (size_t i = 0; i < migrations->count; i++) {
        struct opt_int64 value = number(&migrations->rows[i]);
        if (!value.given)
            continue;
        write_labels(out, name, &migrations->rows[i], false);
        buffer_format(out, "%" PRId64 "\n", value.value);
    }
}

static struct opt_int64 finished_jobs(const struct migration *migration)
{
    return (struct opt_int64){true, migration->finished_jobs};
}

static struct opt_int64 failed_jobs(const struct migration *migration)
{
    return (struct opt_int64){true, migration->failed_jobs};
}

void migration_metrics_write(struct buffer *out, const struct migrations *migrations)
{
    write_progress(out, migrations);
    write_status(out, migrations);
    write_numbers(out, migrations, "bbm_fcgi_migration_finished_jobs",
                  "Finished jobs of the migration.", finished_jobs);
    write_numbers(out, migrations, "bbm_fcgi_migration_failed_jobs",
                  "Failed jobs of the migration.", failed_jobs);
    write_numbers(out, migrations, "bbm_fcgi_migration_remaining_seconds",
                  "Seconds until the migration ends at the pace of its latest jobs. Without a "
                  "series where that is not known.",
                  progress_seconds_remaining);
}
