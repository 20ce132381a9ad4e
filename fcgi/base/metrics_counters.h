/* SPDX-License-Identifier: MIT
 *
 * metrics_counters: the counters themselves, for the files that count and that print.
 */
#ifndef BBM_METRICS_COUNTERS_H
#define BBM_METRICS_COUNTERS_H

#include "base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>

/* More routes than the table has; should it ever pass that, the rest count together. */
#define METRICS_ROUTES 64

/* How many buckets a histogram has, the last of which has no upper bound. */
#define METRICS_BUCKETS 14

/* Of a request, each with a last one for all others. */
#define METRICS_METHODS  5
#define METRICS_STATUSES 13

/* The upper bounds of the other buckets, in microseconds; and the words of the labels. */
extern const int64_t metrics_bounds[METRICS_BUCKETS - 1];
extern const char *const metrics_methods[METRICS_METHODS];
extern const char *const metrics_statuses[METRICS_STATUSES];

typedef _Atomic uint64_t counter_t;

struct metrics_histogram {
    counter_t buckets[METRICS_BUCKETS];
    counter_t micros; /* of all that was counted */
};

struct metrics_route {
    _Atomic(const char *) pattern; /* NULL: this and all after it are free */
    counter_t requests[METRICS_METHODS][METRICS_STATUSES];
    struct metrics_histogram duration;
};

/* What all threads count in. Counters only grow, gauges are counted up and down; each stands for
 * itself, so nothing orders one after another. */
struct metrics_shared {
    struct metrics_route routes[METRICS_ROUTES];
    counter_t tokens[METRICS_TOKENS];
    counter_t writes[METRICS_WRITES];
    counter_t rejected;
    struct metrics_histogram database_time;
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
};

/* The certificates of the bundle in force. */
struct metrics_bundle {
    pthread_mutex_t lock; /* guards the rest */
    size_t count;
    struct metrics_certificate list[METRICS_CERTIFICATES_MAX];
};

extern struct metrics_shared metrics_shared;
extern struct metrics_bundle metrics_bundle;

/* Prints a family of one sample that has no labels. */
void metrics_print_integer(struct buffer *out, const char *name, const char *type, const char *help,
                           uint64_t number);

/* Prints what the kernel knows of this process, under the names that Prometheus' own clients use.
 */
void metrics_process_print(struct buffer *out);

#endif
