/* SPDX-License-Identifier: MIT
 *
 * metrics: what this process counts, and Prometheus' text of it (exposition format 0.0.4).
 *
 * The counters are all that is shared: atomics, named in metrics.c alone, and the list of
 * certificates, with a lock beside it.
 * Every function is thread-safe. A process counts for itself: where a web server runs several
 * processes, a scrape reaches one of them, and process_start_time_seconds shows which. Only the
 * migrations' series are the same from all.
 */
#ifndef BBM_METRICS_H
#define BBM_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

/* What became of a request's token. */
enum metrics_token {
    METRICS_TOKEN_ACCEPTED,
    METRICS_TOKEN_NONE,         /* no bearer token was sent */
    METRICS_TOKEN_INVALID,      /* not believed */
    METRICS_TOKEN_INSUFFICIENT, /* believed, but it lacks the action */
    METRICS_TOKENS,
};

/* What went wrong at the database. */
enum metrics_database_error {
    METRICS_DATABASE_CONNECT, /* no connection could be made */
    METRICS_DATABASE_LOST,    /* one was lost */
    METRICS_DATABASE_TIMEOUT, /* no answer in time */
    METRICS_DATABASE_PASSING, /* an SQLSTATE for which waiting may help */
    METRICS_DATABASE_REFUSED, /* any other SQLSTATE */
    METRICS_DATABASE_ERRORS,
};

/* One request answered. `route` is the table's pattern, in static storage; NULL where the
 * path was none. */
void metrics_request(const char *route, const char *method, int status, int64_t micros);
void metrics_token(enum metrics_token verdict);

/* The certificates of the trust bundle, in place of those before; beyond METRICS_CERTIFICATES_MAX
 * they have no series. Copied. Two with one fingerprint, which have the same key, share a series:
 * the later end. */
#define METRICS_CERTIFICATES_MAX 64
struct metrics_certificate {
    char fingerprint[60]; /* libtrust's, of the key */
    int64_t not_after;    /* seconds since the Unix epoch */
};
void metrics_certificates(const struct metrics_certificate *certificates, size_t count);

/* What came of a write, which is a request for a pause, a resume or a restart. */
enum metrics_write {
    METRICS_WRITE_DONE,    /* also where nothing had to be changed */
    METRICS_WRITE_REFUSED, /* 4xx */
    METRICS_WRITE_FAILED,  /* 5xx; nothing was changed, or only a part */
    METRICS_WRITE_UNKNOWN, /* nobody knows whether the change was made */
    METRICS_WRITES,
};
void metrics_write(enum metrics_write outcome);

/* The word for an outcome, in metrics and log. Static storage. */
const char *metrics_write_name(enum metrics_write outcome);

/* A request that waited too long for a thread, and that the overload thread answered with 503. */
void metrics_rejected(void);

/* One statement's time, whether it succeeded or not; and what happened to connections. */
void metrics_database_time(int64_t micros);
void metrics_database_error(enum metrics_database_error error);
void metrics_database_connected(bool again); /* `again`: it takes a lost one's place */
/* Whether the last try to connect has led to a connection: 1 or 0; -1 before the first. */
int metrics_database_reachable(void);
void metrics_database_closed(void);
void metrics_database_cancelled(void); /* a cancel request was sent */

/* FastCGI connections, and worker threads at work: +1 and -1. */
void metrics_connections(int change);
void metrics_threads_busy(int change);

/* Why a FastCGI connection was not served to its end. */
enum metrics_drop {
    METRICS_DROP_READ_TIMEOUT,     /* no whole request in time */
    METRICS_DROP_BODY_TIMEOUT,     /* no whole body in time; answered 408 */
    METRICS_DROP_ANSWER_TIMEOUT,   /* no answer in time, or not read in time */
    METRICS_DROP_IDLE_TIMEOUT,     /* kept, and no further request in time */
    METRICS_DROP_LINGER_TIMEOUT,   /* not closed by the web server after an answer */
    METRICS_DROP_PARAMS_TOO_LARGE, /* answered 431 */
    METRICS_DROP_NOT_FASTCGI,
    METRICS_DROP_ABORTED, /* by the web server */
    METRICS_DROPS,
};
void metrics_connection_dropped(enum metrics_drop reason);

/* Lines that the log lost. */
void metrics_log_lost(bool audit, uint64_t lines);

/* All of the above as text. Further families may follow: each starts with metrics_family
 * ("gauge" or "counter"), and its samples are the caller's to print, with every label's
 * value written by metrics_label: quoted, escaped, made valid UTF-8. */
void metrics_print(struct buffer *out);
void metrics_family(struct buffer *out, const char *name, const char *type, const char *help);
void metrics_label(struct buffer *out, const char *name, const char *value, size_t len);

#endif
