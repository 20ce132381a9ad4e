/* SPDX-License-Identifier: MIT
 * Alive, ready, and in which numbers. */
#include "api/health.h"

#include "api/migration_metrics.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "store/readiness.h"

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
    bool has_history;
    if (store_ready(call->store, call->deadline, &has_history, &call->error)) {
        answer_ok(call);
        json_add(&call->body, "history", json_object_new_boolean(has_history));
        return true;
    }
    /* Who asks for readiness is to know what to do. It is our own text. */
    if (call->error.remedy)
        error_set_detail(&call->error, json_object_new_string(call->error.remedy));
    return false;
}

/* Reads what the scrape needs of the database. False where it has no answer in time. */
static bool read_database(struct call *call, struct migrations *migrations)
{
    struct error error = {0};
    int64_t deadline = clock_ms() + PROGRESS_MS;
    if (deadline > call->deadline)
        deadline = call->deadline;
    bool good = call->store && store_migrations(call->store, NULL, deadline, migrations, &error);
    error_free(&error);
    return good;
}

/* What the database has to add; without one, that there is none. */
static void write_database(struct buffer *out, struct call *call)
{
    struct migrations migrations = {0};
    bool up = read_database(call, &migrations);
    metrics_family(out, "bbm_fcgi_database_up", "gauge",
                   "1 where this scrape could read the migrations from the database.");
    buffer_format(out, "bbm_fcgi_database_up %d\n", up);
    if (up) {
        migration_metrics_write(out, &migrations);
        metrics_family(out, "bbm_fcgi_job_in_flight", "gauge",
                       "1 while a worker of the registry is in a run.");
        buffer_format(out, "bbm_fcgi_job_in_flight %d\n", migrations.job_in_flight);
    }
    store_migrations_free(&migrations);
}

bool health_metrics(struct call *call)
{
    struct buffer text = buffer_start(NULL, 0);
    /* The migrations first: what that costs is then in the counters already. */
    write_database(&text, call);
    metrics_print(&text);
    call->text = buffer_take(&text);
    return call->text || error_out_of_memory(&call->error);
}
