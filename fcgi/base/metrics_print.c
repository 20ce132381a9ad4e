/* SPDX-License-Identifier: MIT
 * The counters as Prometheus' text. */
#include "base/metrics.h"

#include "base/buffer.h"
#include "base/metrics_counters.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t value(counter_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- families, labels and samples ---- */

void metrics_family(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_label(struct buffer *out, const char *name, const char *value, size_t len)
{
    const unsigned char *p = (const unsigned char *)value;
    buffer_format(out, "%s=\"", name);
    while (len > 0) {
        uint32_t point;
        size_t used = text_decode(p, len, &point);
        if (point == '"' || point == '\\')
            buffer_format(out, "\\%c", (char)point);
        else if (point == '\n')
            buffer_string(out, "\\n");
        else if (point == TEXT_REPLACEMENT)
            buffer_string(out, "\xEF\xBF\xBD");
        else
            buffer_bytes(out, (const char *)p, used);
        p += used;
        len -= used;
    }
    buffer_char(out, '"');
}

void metrics_print_integer(struct buffer *out, const char *name, const char *type, const char *help,
                           uint64_t number)
{
    metrics_family(out, name, type, help);
    buffer_format(out, "%s %" PRIu64 "\n", name, number);
}

static void write_counter(struct buffer *out, const char *name, const char *help,
                          counter_t *counter)
{
    metrics_print_integer(out, name, "counter", help, value(counter));
}

/* A gauge that is counted up and down by different threads may be seen below zero. */
static uint64_t gauge(_Atomic int64_t *gauge)
{
    int64_t number = atomic_load(gauge);
    return number > 0 ? (uint64_t)number : 0;
}

/* One histogram's samples; `label` is empty or `name="value",`. Buckets are read once, so
 * that the last one and the count are the same. */
static void write_histogram(struct buffer *out, const char *name, const char *label,
                            struct metrics_histogram *histogram)
{
    uint64_t sum = 0;
    int len = (int)strlen(label);
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        sum += value(&histogram->buckets[i]);
        if (i < METRICS_BUCKETS - 1)
            buffer_format(out, "%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, label,
                          (double)metrics_bounds[i] / 1e6, sum);
    }
    buffer_format(out, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, label, sum);
    const char *open = len ? "{" : "";
    const char *close = len ? "}" : "";
    len -= len > 0; /* without the comma */
    buffer_format(out, "%s_sum%s%.*s%s %.6f\n", name, open, len, label, close,
                  (double)value(&histogram->micros) / 1e6);
    buffer_format(out, "%s_count%s%.*s%s %" PRIu64 "\n", name, open, len, label, close, sum);
}

/* ---- the families ---- */

/* The pattern of the route at `i`; NULL where none has been seen. */
static const char *pattern_at(size_t i)
{
    return i == METRICS_ROUTES - 1 ? "other" : atomic_load(&metrics_shared.routes[i].pattern);
}

static void write_route_requests(struct buffer *out, const char *pattern,
                                 struct metrics_route *route)
{
    for (size_t m = 0; m < METRICS_METHODS; m++) {
        for (size_t s = 0; s < METRICS_STATUSES; s++) {
            uint64_t requests = value(&route->requests[m][s]);
            if (requests > 0)
                buffer_format(out,
                              "bbm_fcgi_requests_total{route=\"%s\",method=\"%s\",status=\"%s\"} "
                              "%" PRIu64 "\n",
                              pattern, metrics_methods[m], metrics_statuses[s], requests);
        }
    }
}

static bool route_used(struct metrics_route *route)
{
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        if (value(&route->duration.buckets[i]) > 0)
            return true;
    }
    return false;
}

static void write_requests(struct buffer *out)
{
    char label[96];
    metrics_family(out, "bbm_fcgi_requests_total", "counter",
                   "Requests answered by this process; route none: no such path.");
    for (size_t i = 0; i < METRICS_ROUTES; i++) {
        if (pattern_at(i))
            write_route_requests(out, pattern_at(i), &metrics_shared.routes[i]);
    }
    metrics_family(out, "bbm_fcgi_request_duration_seconds", "histogram",
                   "Time from a thread's taking a request to its answer.");
    for (size_t i = 0; i < METRICS_ROUTES; i++) {
        if (!pattern_at(i) || !route_used(&metrics_shared.routes[i]))
            continue;
        snprintf(label, sizeof label, "route=\"%s\",", pattern_at(i));
        write_histogram(out, "bbm_fcgi_request_duration_seconds", label,
                        &metrics_shared.routes[i].duration);
    }
}

static void write_tokens(struct buffer *out)
{
    static const char *const names[METRICS_TOKENS] = {"accepted", "none", "invalid",
                                                      "insufficient"};
    metrics_family(out, "bbm_fcgi_tokens_total", "counter",
                   "Verdicts on the tokens of requests that need one.");
    for (size_t i = 0; i < METRICS_TOKENS; i++)
        buffer_format(out, "bbm_fcgi_tokens_total{verdict=\"%s\"} %" PRIu64 "\n", names[i],
                      value(&metrics_shared.tokens[i]));
}

static void write_certificates(struct buffer *out)
{
    static const char name[] = "bbm_fcgi_certificate_expiry_timestamp_seconds";
    metrics_family(out, name, "gauge",
                   "When a certificate of the trust bundle expires, in seconds since the Unix "
                   "epoch.");
    pthread_mutex_lock(&metrics_bundle.lock);
    for (size_t i = 0; i < metrics_bundle.count; i++)
        buffer_format(out, "%s{fingerprint=\"%s\"} %" PRId64 "\n", name,
                      metrics_bundle.list[i].fingerprint, metrics_bundle.list[i].not_after);
    pthread_mutex_unlock(&metrics_bundle.lock);
}

static void write_writes(struct buffer *out)
{
    metrics_family(out, "bbm_fcgi_writes_total", "counter",
                   "Requests for a pause, a resume or a restart, by what came of them.");
    for (int i = 0; i < METRICS_WRITES; i++)
        buffer_format(out, "bbm_fcgi_writes_total{outcome=\"%s\"} %" PRIu64 "\n",
                      metrics_write_name((enum metrics_write)i), value(&metrics_shared.writes[i]));
}

static void write_server(struct buffer *out)
{
    static const char *const names[METRICS_DROPS] = {
        "read_timeout",   "body_timeout",         "answer_timeout", "idle_timeout",
        "linger_timeout", "parameters_too_large", "not_fastcgi",    "aborted"};
    static const char *const logs[] = {"request", "audit"};
    metrics_print_integer(out, "bbm_fcgi_connections", "gauge", "FastCGI connections open.",
                          gauge(&metrics_shared.connections));
    metrics_print_integer(out, "bbm_fcgi_threads_busy", "gauge", "Worker threads at work.",
                          gauge(&metrics_shared.threads_busy));
    metrics_family(out, "bbm_fcgi_connections_dropped_total", "counter",
                   "FastCGI connections not served to their end, by reason.");
    for (size_t i = 0; i < METRICS_DROPS; i++)
        buffer_format(out, "bbm_fcgi_connections_dropped_total{reason=\"%s\"} %" PRIu64 "\n",
                      names[i], value(&metrics_shared.drops[i]));
    metrics_family(out, "bbm_fcgi_log_lines_lost_total", "counter",
                   "Lines that stderr did not take in time; audit: of writes.");
    for (size_t i = 0; i < 2; i++)
        buffer_format(out, "bbm_fcgi_log_lines_lost_total{log=\"%s\"} %" PRIu64 "\n", logs[i],
                      value(&metrics_shared.log_lost[i]));
}

static void write_database(struct buffer *out)
{
    static const char *const names[METRICS_DATABASE_ERRORS] = {"connect", "lost", "timeout",
                                                               "passing", "refused"};
    metrics_print_integer(out, "bbm_fcgi_database_connections", "gauge",
                          "Connections to the database held by this process.",
                          gauge(&metrics_shared.database_connections));
    write_counter(out, "bbm_fcgi_database_connects_total", "Connections made.",
                  &metrics_shared.database_connects);
    write_counter(out, "bbm_fcgi_database_reconnects_total",
                  "Connections made in the place of one that was lost or given up.",
                  &metrics_shared.database_reconnects);
    write_counter(out, "bbm_fcgi_database_cancels_total",
                  "Statements given up at their deadline and cancelled on the server.",
                  &metrics_shared.database_cancels);
    metrics_family(out, "bbm_fcgi_database_errors_total", "counter",
                   "What went wrong at the database, by kind.");
    for (size_t i = 0; i < METRICS_DATABASE_ERRORS; i++)
        buffer_format(out, "bbm_fcgi_database_errors_total{kind=\"%s\"} %" PRIu64 "\n", names[i],
                      value(&metrics_shared.database_errors[i]));
    metrics_family(out, "bbm_fcgi_database_statement_duration_seconds", "histogram",
                   "Time for one statement, connecting included where that was needed.");
    write_histogram(out, "bbm_fcgi_database_statement_duration_seconds", "",
                    &metrics_shared.database_time);
}

void metrics_print(struct buffer *out)
{
    metrics_family(out, "bbm_fcgi_build_info", "gauge", "Version of the program.");
    buffer_format(out, "bbm_fcgi_build_info{version=\"%s\"} 1\n", BBM_VERSION);
    write_requests(out);
    write_tokens(out);
    write_writes(out);
    write_certificates(out);
    write_counter(out, "bbm_fcgi_shed_total",
                  "Requests answered 503 at once, as others had waited too long for a thread.",
                  &metrics_shared.rejected);
    write_server(out);
    write_database(out);
    metrics_process_print(out);
}
