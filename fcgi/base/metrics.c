/* SPDX-License-Identifier: MIT
 * Counting. */
#include "base/metrics.h"

#include "base/metrics_counters.h"

#include <stdio.h>
#include <string.h>

const int64_t metrics_bounds[METRICS_BUCKETS - 1] = {1000,    2500,    5000,    10000,  25000,
                                                     50000,   100000,  250000,  500000, 1000000,
                                                     2500000, 5000000, 10000000};

const char *const metrics_methods[METRICS_METHODS] = {"GET", "HEAD", "POST", "OPTIONS", "other"};

const char *const metrics_statuses[METRICS_STATUSES] = {
    "200", "204", "304", "400", "401", "404", "405", "408", "409", "413", "500", "503", "other"};

struct metrics_shared metrics_shared;
struct metrics_bundle metrics_bundle = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void count(counter_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static void observe(struct metrics_histogram *histogram, int64_t micros)
{
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS - 1 && micros > metrics_bounds[bucket])
        bucket++;
    count(&histogram->buckets[bucket], 1);
    count(&histogram->micros, (uint64_t)micros);
}

/* The route's counters; a route seen for the first time takes the first free ones. */
static struct metrics_route *route_of(const char *pattern)
{
    for (size_t i = 0; i < METRICS_ROUTES - 1; i++) {
        struct metrics_route *route = &metrics_shared.routes[i];
        const char *there = atomic_load(&route->pattern);
        if (!there && atomic_compare_exchange_strong(&route->pattern, &there, pattern))
            return route;
        if (there == pattern || strcmp(there, pattern) == 0)
            return route;
    }
    return &metrics_shared.routes[METRICS_ROUTES - 1];
}

static size_t method_of(const char *method)
{
    size_t i = 0;
    while (i < METRICS_METHODS - 1 && strcmp(metrics_methods[i], method) != 0)
        i++;
    return i;
}

static size_t status_of(int status)
{
    char digits[16];
    size_t i = 0;
    snprintf(digits, sizeof digits, "%d", status);
    while (i < METRICS_STATUSES - 1 && strcmp(metrics_statuses[i], digits) != 0)
        i++;
    return i;
}

void metrics_request(const char *route, const char *method, int status, int64_t micros)
{
    struct metrics_route *counters = route_of(route ? route : "none");
    count(&counters->requests[method_of(method)][status_of(status)], 1);
    observe(&counters->duration, micros);
}

void metrics_token(enum metrics_token verdict)
{
    count(&metrics_shared.tokens[verdict], 1);
}

/* The one with this fingerprint, or the place for it; NULL where there is no room. */
static struct metrics_certificate *certificate_place(const char *fingerprint)
{
    for (size_t i = 0; i < metrics_bundle.count; i++) {
        if (strcmp(metrics_bundle.list[i].fingerprint, fingerprint) == 0)
            return &metrics_bundle.list[i];
    }
    if (metrics_bundle.count == METRICS_CERTIFICATES_MAX)
        return NULL;
    metrics_bundle.list[metrics_bundle.count] =
        (struct metrics_certificate){.not_after = INT64_MIN};
    return &metrics_bundle.list[metrics_bundle.count++];
}

void metrics_certificates(const struct metrics_certificate *certificates, size_t count)
{
    pthread_mutex_lock(&metrics_bundle.lock);
    metrics_bundle.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct metrics_certificate *place = certificate_place(certificates[i].fingerprint);
        if (place && certificates[i].not_after > place->not_after)
            *place = certificates[i];
    }
    pthread_mutex_unlock(&metrics_bundle.lock);
}

void metrics_write(enum metrics_write outcome)
{
    count(&metrics_shared.writes[outcome], 1);
}

const char *metrics_write_name(enum metrics_write outcome)
{
    static const char *const names[METRICS_WRITES] = {"done", "refused", "failed", "unknown"};
    return names[outcome];
}

void metrics_rejected(void)
{
    count(&metrics_shared.rejected, 1);
}

void metrics_database_time(int64_t micros)
{
    observe(&metrics_shared.database_time, micros);
}

void metrics_database_error(enum metrics_database_error error)
{
    count(&metrics_shared.database_errors[error], 1);
    if (error == METRICS_DATABASE_CONNECT)
        atomic_store(&metrics_shared.database_reachable, -1);
}

void metrics_database_connected(bool again)
{
    count(&metrics_shared.database_connects, 1);
    if (again)
        count(&metrics_shared.database_reconnects, 1);
    atomic_fetch_add(&metrics_shared.database_connections, 1);
    atomic_store(&metrics_shared.database_reachable, 1);
}

int metrics_database_reachable(void)
{
    int last = atomic_load(&metrics_shared.database_reachable);
    return last == 0 ? -1 : last > 0;
}

void metrics_database_closed(void)
{
    atomic_fetch_sub(&metrics_shared.database_connections, 1);
}

void metrics_database_cancelled(void)
{
    count(&metrics_shared.database_cancels, 1);
}

void metrics_connections(int change)
{
    atomic_fetch_add(&metrics_shared.connections, change);
}

void metrics_threads_busy(int change)
{
    atomic_fetch_add_explicit(&metrics_shared.threads_busy, change, memory_order_relaxed);
}

void metrics_connection_dropped(enum metrics_drop reason)
{
    count(&metrics_shared.drops[reason], 1);
}

void metrics_log_lost(bool audit, uint64_t lines)
{
    count(&metrics_shared.log_lost[audit], lines);
}
