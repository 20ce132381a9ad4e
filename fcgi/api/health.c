/* SPDX-License-Identifier: MIT
 * Alive, ready, and in which numbers. */
#include "api/health.h"

#include "api/progress.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A scrape waits no longer than this for the migrations, whatever the deadline: scrapers
 * give up after 10 s, and the counters are worth having without them. */
#define PROGRESS_MS 2000

static bool answer_ok(struct call *call)
{
    call->body = json_object_new_object();
    json_add(&call->body, "status", json_object_new_string("ok"));
    return true;
}

bool health_liveness(struct call *call)
{
    return answer_ok(call);
}

bool health_readiness(struct call *call)
{
    if (!call->store)
        return error_unavailable(&call->error, "every thread waits for the database");
    return store_ready(call->store, call->deadline, &call->error) && answer_ok(call);
}

/* The percentage as the API tells it, in the fewest digits. */
static void write_percent(FILE *out, double percent)
{
    char digits[32];
    text_number(percent, digits);
    fprintf(out, "%s\n", digits);
}

/* The registry's own metric, under its name and labels, so that dashboards made for the
 * registry go on working. A progress that is not known has no sample. */
static void write_progress(FILE *out, const struct migrations *migrations)
{
    static const char name[] = "registry_database_bbm_progress_percent";
    char id[24];
    metrics_family(out, name, "gauge",
                   "Progress of a batched background migration, in percent. The same from every "
                   "process.");
    for (size_t i = 0; i < migrations->count; i++) {
        const struct migration *m = &migrations->rows[i];
        const struct progress progress = progress_of(m);
        const char *status = store_status_name(m->status);
        if (!progress.known)
            continue;
        int len = snprintf(id, sizeof id, "%" PRId64, m->id);
        fprintf(out, "%s{", name);
        metrics_label(out, "migration_id", id, (size_t)len);
        fputc(',', out);
        metrics_label(out, "migration_name", m->name.at, m->name.len);
        fputc(',', out);
        metrics_label(out, "status", status, strlen(status));
        fputs("} ", out);
        write_percent(out, progress.percent);
    }
}

/* What the database has to add; without one, that there is none. */
static void write_migrations(FILE *out, struct call *call)
{
    struct migrations migrations;
    struct error error = {0};
    int64_t deadline = clock_ms() + PROGRESS_MS;
    bool up = call->store && store_migrations(call->store, NULL,
                                              deadline < call->deadline ? deadline : call->deadline,
                                              &migrations, &error);
    error_free(&error);
    metrics_family(out, "bbm_fcgi_database_up", "gauge",
                   "1 where this scrape could read the migrations from the database.");
    fprintf(out, "bbm_fcgi_database_up %d\n", up);
    if (!up)
        return;
    write_progress(out, &migrations);
    store_migrations_free(&migrations);
}

bool health_metrics(struct call *call)
{
    struct buffer text;
    if (!buffer_open(&text))
        return error_unavailable(&call->error, "out of memory");
    /* The migrations first: what that costs is then in the counters already. */
    write_migrations(text.out, call);
    metrics_write(text.out);
    call->text = buffer_close(&text);
    return call->text || error_unavailable(&call->error, "out of memory");
}
