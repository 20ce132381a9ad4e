/* SPDX-License-Identifier: MIT
 * Counters, and Prometheus' text of them. */
#include "base/metrics.h"

#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* More routes than the table has; should it ever pass that, the rest count together. */
#define ROUTES 64

/* Descriptors that are looked at: more than any configuration opens. */
#define DESCRIPTORS 131072

/* Upper bounds of a histogram's buckets, in microseconds; one more takes the rest. */
static const int64_t bounds[] = {1000,   2500,   5000,    10000,   25000,   50000,   100000,
                                 250000, 500000, 1000000, 2500000, 5000000, 10000000};
#define BUCKETS (sizeof bounds / sizeof bounds[0] + 1)

static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS", "other"};
#define METHODS (sizeof methods / sizeof methods[0])

static const char *const statuses[] = {"200", "204", "304", "400", "401", "404",  "405",
                                       "408", "409", "413", "500", "503", "other"};
#define STATUSES (sizeof statuses / sizeof statuses[0])

typedef _Atomic uint64_t counter_t;

struct histogram {
    counter_t buckets[BUCKETS];
    counter_t micros; /* of all that was counted */
};

struct route {
    _Atomic(const char *) pattern; /* NULL: this and all after it are free */
    counter_t requests[METHODS][STATUSES];
    struct histogram duration;
};

/* All that is shared. Counters only grow, gauges are counted up and down; each stands for
 * itself, so nothing orders one after another. */
static struct {
    struct route routes[ROUTES];
    counter_t tokens[METRICS_TOKENS];
    counter_t writes[METRICS_WRITES];
    counter_t shed;
    struct histogram database_time;
    counter_t database_errors[METRICS_DATABASE_ERRORS];
    counter_t database_connects;
    counter_t database_reconnects;
    counter_t database_cancels;
    _Atomic int64_t database_connections;
    atomic_int database_reachable; /* the last try to connect: 1 good, -1 bad; 0: none yet */
    _Atomic int64_t connections;
    _Atomic int64_t threads_busy;
    counter_t drops[METRICS_DROPS];
    counter_t log_lost[2]; /* by whether it was the audit log's */
} shared;

/* The certificates of the bundle in force. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    size_t count;
    struct metrics_certificate list[METRICS_CERTIFICATES_MAX];
} bundle = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- counting ---- */

static void count(counter_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static uint64_t value(counter_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void observe(struct histogram *histogram, int64_t micros)
{
    size_t bucket = 0;
    while (bucket < BUCKETS - 1 && micros > bounds[bucket])
        bucket++;
    count(&histogram->buckets[bucket], 1);
    count(&histogram->micros, (uint64_t)micros);
}

/* The route's counters; a route seen for the first time takes the first free ones. */
static struct route *route_of(const char *pattern)
{
    for (size_t i = 0; i < ROUTES - 1; i++) {
        struct route *route = &shared.routes[i];
        const char *there = atomic_load(&route->pattern);
        if (!there && atomic_compare_exchange_strong(&route->pattern, &there, pattern))
            return route;
        if (there == pattern || strcmp(there, pattern) == 0)
            return route;
    }
    return &shared.routes[ROUTES - 1];
}

static size_t method_of(const char *method)
{
    size_t i = 0;
    while (i < METHODS - 1 && strcmp(methods[i], method) != 0)
        i++;
    return i;
}

static size_t status_of(int status)
{
    char digits[16];
    size_t i = 0;
    snprintf(digits, sizeof digits, "%d", status);
    while (i < STATUSES - 1 && strcmp(statuses[i], digits) != 0)
        i++;
    return i;
}

void metrics_request(const char *route, const char *method, int status, int64_t micros)
{
    struct route *counters = route_of(route ? route : "none");
    count(&counters->requests[method_of(method)][status_of(status)], 1);
    observe(&counters->duration, micros);
}

void metrics_token(enum metrics_token verdict)
{
    count(&shared.tokens[verdict], 1);
}

/* The one with this fingerprint, or the place for it; NULL where there is no room. */
static struct metrics_certificate *certificate_place(const char *fingerprint)
{
    for (size_t i = 0; i < bundle.count; i++) {
        if (strcmp(bundle.list[i].fingerprint, fingerprint) == 0)
            return &bundle.list[i];
    }
    if (bundle.count == METRICS_CERTIFICATES_MAX)
        return NULL;
    bundle.list[bundle.count] = (struct metrics_certificate){.not_after = INT64_MIN};
    return &bundle.list[bundle.count++];
}

void metrics_certificates(const struct metrics_certificate *certificates, size_t count)
{
    pthread_mutex_lock(&bundle.lock);
    bundle.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct metrics_certificate *place = certificate_place(certificates[i].fingerprint);
        if (place && certificates[i].not_after > place->not_after)
            *place = certificates[i];
    }
    pthread_mutex_unlock(&bundle.lock);
}

void metrics_write(enum metrics_write outcome)
{
    count(&shared.writes[outcome], 1);
}

const char *metrics_write_name(enum metrics_write outcome)
{
    static const char *const names[METRICS_WRITES] = {"done", "refused", "failed", "unknown"};
    return names[outcome];
}

void metrics_shed(void)
{
    count(&shared.shed, 1);
}

void metrics_database_time(int64_t micros)
{
    observe(&shared.database_time, micros);
}

void metrics_database_error(enum metrics_database_error error)
{
    count(&shared.database_errors[error], 1);
    if (error == METRICS_DATABASE_CONNECT)
        atomic_store(&shared.database_reachable, -1);
}

void metrics_database_connected(bool again)
{
    count(&shared.database_connects, 1);
    if (again)
        count(&shared.database_reconnects, 1);
    atomic_fetch_add(&shared.database_connections, 1);
    atomic_store(&shared.database_reachable, 1);
}

int metrics_database_reachable(void)
{
    int last = atomic_load(&shared.database_reachable);
    return last == 0 ? -1 : last > 0;
}

void metrics_database_closed(void)
{
    atomic_fetch_sub(&shared.database_connections, 1);
}

void metrics_database_cancelled(void)
{
    count(&shared.database_cancels, 1);
}

void metrics_connections(int change)
{
    atomic_fetch_add(&shared.connections, change);
}

void metrics_threads_busy(int change)
{
    atomic_fetch_add_explicit(&shared.threads_busy, change, memory_order_relaxed);
}

void metrics_connection_dropped(enum metrics_drop reason)
{
    count(&shared.drops[reason], 1);
}

void metrics_log_lost(bool audit, uint64_t lines)
{
    count(&shared.log_lost[audit], lines);
}

/* ---- text ---- */

void metrics_family(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_label(FILE *out, const char *name, const char *value, size_t len)
{
    const unsigned char *p = (const unsigned char *)value;
    fprintf(out, "%s=\"", name);
    while (len > 0) {
        uint32_t point;
        size_t used = text_decode(p, len, &point);
        if (point == '"' || point == '\\')
            fprintf(out, "\\%c", (char)point);
        else if (point == '\n')
            fputs("\\n", out);
        else if (point == TEXT_REPLACEMENT)
            fputs("\xEF\xBF\xBD", out);
        else
            fwrite(p, 1, used, out);
        p += used;
        len -= used;
    }
    fputc('"', out);
}

static void write_integer(FILE *out, const char *name, const char *type, const char *help,
                          uint64_t number)
{
    metrics_family(out, name, type, help);
    fprintf(out, "%s %" PRIu64 "\n", name, number);
}

static void write_counter(FILE *out, const char *name, const char *help, counter_t *counter)
{
    write_integer(out, name, "counter", help, value(counter));
}

/* A gauge that is counted up and down by different threads may be seen below zero. */
static uint64_t gauge(_Atomic int64_t *gauge)
{
    int64_t number = atomic_load(gauge);
    return number > 0 ? (uint64_t)number : 0;
}

/* One histogram's samples; `label` is empty or `name="value",`. Buckets are read once, so
 * that the last one and the count are the same. */
static void write_histogram(FILE *out, const char *name, const char *label,
                            struct histogram *histogram)
{
    uint64_t sum = 0;
    int len = (int)strlen(label);
    for (size_t i = 0; i < BUCKETS; i++) {
        sum += value(&histogram->buckets[i]);
        if (i < BUCKETS - 1)
            fprintf(out, "%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, label,
                    (double)bounds[i] / 1e6, sum);
    }
    fprintf(out, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, label, sum);
    const char *open = len ? "{" : "";
    const char *close = len ? "}" : "";
    len -= len > 0; /* without the comma */
    fprintf(out, "%s_sum%s%.*s%s %.6f\n", name, open, len, label, close,
            (double)value(&histogram->micros) / 1e6);
    fprintf(out, "%s_count%s%.*s%s %" PRIu64 "\n", name, open, len, label, close, sum);
}

/* The pattern of the route at `i`; NULL where none has been seen. */
static const char *pattern_at(size_t i)
{
    return i == ROUTES - 1 ? "other" : atomic_load(&shared.routes[i].pattern);
}

static void write_route_requests(FILE *out, const char *pattern, struct route *route)
{
    for (size_t m = 0; m < METHODS; m++) {
        for (size_t s = 0; s < STATUSES; s++) {
            uint64_t requests = value(&route->requests[m][s]);
            if (requests > 0)
                fprintf(out,
                        "bbm_fcgi_requests_total{route=\"%s\",method=\"%s\",status=\"%s\"} "
                        "%" PRIu64 "\n",
                        pattern, methods[m], statuses[s], requests);
        }
    }
}

static bool route_used(struct route *route)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        if (value(&route->duration.buckets[i]) > 0)
            return true;
    }
    return false;
}

static void write_requests(FILE *out)
{
    char label[96];
    metrics_family(out, "bbm_fcgi_requests_total", "counter",
                   "Requests answered by this process; route none: no such path.");
    for (size_t i = 0; i < ROUTES; i++) {
        if (pattern_at(i))
            write_route_requests(out, pattern_at(i), &shared.routes[i]);
    }
    metrics_family(out, "bbm_fcgi_request_duration_seconds", "histogram",
                   "Time from a thread's taking a request to its answer.");
    for (size_t i = 0; i < ROUTES; i++) {
        if (!pattern_at(i) || !route_used(&shared.routes[i]))
            continue;
        snprintf(label, sizeof label, "route=\"%s\",", pattern_at(i));
        write_histogram(out, "bbm_fcgi_request_duration_seconds", label,
                        &shared.routes[i].duration);
    }
}

static void write_tokens(FILE *out)
{
    static const char *const names[METRICS_TOKENS] = {"accepted", "none", "invalid",
                                                      "insufficient"};
    metrics_family(out, "bbm_fcgi_tokens_total", "counter",
                   "Verdicts on the tokens of requests that need one.");
    for (size_t i = 0; i < METRICS_TOKENS; i++)
        fprintf(out, "bbm_fcgi_tokens_total{verdict=\"%s\"} %" PRIu64 "\n", names[i],
                value(&shared.tokens[i]));
}

static void write_certificates(FILE *out)
{
    static const char name[] = "bbm_fcgi_certificate_expiry_timestamp_seconds";
    metrics_family(out, name, "gauge",
                   "When a certificate of the trust bundle expires, in seconds since the Unix "
                   "epoch.");
    pthread_mutex_lock(&bundle.lock);
    for (size_t i = 0; i < bundle.count; i++)
        fprintf(out, "%s{fingerprint=\"%s\"} %" PRId64 "\n", name, bundle.list[i].fingerprint,
                bundle.list[i].not_after);
    pthread_mutex_unlock(&bundle.lock);
}

static void write_writes(FILE *out)
{
    metrics_family(out, "bbm_fcgi_writes_total", "counter",
                   "Requests for a pause, a resume or a restart, by what came of them.");
    for (int i = 0; i < METRICS_WRITES; i++)
        fprintf(out, "bbm_fcgi_writes_total{outcome=\"%s\"} %" PRIu64 "\n",
                metrics_write_name((enum metrics_write)i), value(&shared.writes[i]));
}

static void write_server(FILE *out)
{
    static const char *const names[METRICS_DROPS] = {
        "read_timeout",   "body_timeout",         "answer_timeout", "idle_timeout",
        "linger_timeout", "parameters_too_large", "not_fastcgi",    "aborted"};
    static const char *const logs[] = {"request", "audit"};
    write_integer(out, "bbm_fcgi_connections", "gauge", "FastCGI connections open.",
                  gauge(&shared.connections));
    write_integer(out, "bbm_fcgi_threads_busy", "gauge", "Worker threads at work.",
                  gauge(&shared.threads_busy));
    metrics_family(out, "bbm_fcgi_connections_dropped_total", "counter",
                   "FastCGI connections not served to their end, by reason.");
    for (size_t i = 0; i < METRICS_DROPS; i++)
        fprintf(out, "bbm_fcgi_connections_dropped_total{reason=\"%s\"} %" PRIu64 "\n", names[i],
                value(&shared.drops[i]));
    metrics_family(out, "bbm_fcgi_log_lines_lost_total", "counter",
                   "Lines that stderr did not take in time; audit: of writes.");
    for (size_t i = 0; i < 2; i++)
        fprintf(out, "bbm_fcgi_log_lines_lost_total{log=\"%s\"} %" PRIu64 "\n", logs[i],
                value(&shared.log_lost[i]));
}

static void write_database(FILE *out)
{
    static const char *const names[METRICS_DATABASE_ERRORS] = {"connect", "lost", "timeout",
                                                               "passing", "refused"};
    write_integer(out, "bbm_fcgi_database_connections", "gauge",
                  "Connections to the database held by this process.",
                  gauge(&shared.database_connections));
    write_counter(out, "bbm_fcgi_database_connects_total", "Connections made.",
                  &shared.database_connects);
    write_counter(out, "bbm_fcgi_database_reconnects_total",
                  "Connections made in the place of one that was lost or given up.",
                  &shared.database_reconnects);
    write_counter(out, "bbm_fcgi_database_cancels_total",
                  "Statements given up at their deadline and cancelled on the server.",
                  &shared.database_cancels);
    metrics_family(out, "bbm_fcgi_database_errors_total", "counter",
                   "What went wrong at the database, by kind.");
    for (size_t i = 0; i < METRICS_DATABASE_ERRORS; i++)
        fprintf(out, "bbm_fcgi_database_errors_total{kind=\"%s\"} %" PRIu64 "\n", names[i],
                value(&shared.database_errors[i]));
    metrics_family(out, "bbm_fcgi_database_statement_duration_seconds", "histogram",
                   "Time for one statement, connecting included where that was needed.");
    write_histogram(out, "bbm_fcgi_database_statement_duration_seconds", "", &shared.database_time);
}

/* ---- the process, under the names that Prometheus' own clients use ---- */

/* Asks for each descriptor: /proc/self/fd is closed to a process that is not dumpable. */
static unsigned count_descriptors(void)
{
    struct rlimit limit = {0};
    unsigned count = 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    int most = limit.rlim_cur < DESCRIPTORS ? (int)limit.rlim_cur : DESCRIPTORS;
    for (int fd = 0; fd < most; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

/* Fields 22 (start, in ticks since boot) to 24 (resident pages) of proc(5)'s stat. */
static bool read_stat(unsigned long long *start, unsigned long *virtual, long *pages)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t len = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[len] = '\0';
    const char *rest = strrchr(line, ')'); /* the name may hold anything */
    return rest && sscanf(rest,            /* NOLINT(cert-err34-c): the kernel's own numbers */
                          ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                          "%*d %*d %llu %lu %ld",
                          start, virtual, pages) == 3;
}

/* When the machine started, in seconds since the Unix epoch. */
static double boot_time(void)
{
    struct timespec now;
    struct timespec up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9;
}

static void write_process(FILE *out)
{
    struct rusage usage;
    unsigned long long start;
    unsigned long virtual;
    long pages;
    getrusage(RUSAGE_SELF, &usage);
    metrics_family(out, "process_cpu_seconds_total", "counter", "CPU time of this process.");
    fprintf(out, "process_cpu_seconds_total %.6f\n",
            (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    write_integer(out, "process_open_fds", "gauge", "Open file descriptors.", count_descriptors());
    if (!read_stat(&start, &virtual, &pages))
        return;
    metrics_family(out, "process_start_time_seconds", "gauge",
                   "When this process started, in seconds since the Unix epoch.");
    fprintf(out, "process_start_time_seconds %.2f\n",
            boot_time() + (double)start / (double)sysconf(_SC_CLK_TCK));
    write_integer(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", virtual);
    write_integer(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                  (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE));
}

void metrics_print(FILE *out)
{
    metrics_family(out, "bbm_fcgi_build_info", "gauge", "Version of the program.");
    fprintf(out, "bbm_fcgi_build_info{version=\"%s\"} 1\n", BBM_VERSION);
    write_requests(out);
    write_tokens(out);
    write_writes(out);
    write_certificates(out);
    write_counter(out, "bbm_fcgi_shed_total",
                  "Requests answered 503 at once, as others had waited too long for a thread.",
                  &shared.shed);
    write_server(out);
    write_database(out);
    write_process(out);
}
