/* SPDX-License-Identifier: MIT
 * What comes on a connection: requests, parts of them, management records, and what is discarded.
 */
#include "server/server_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* How much of a body is discarded after its answer. */
#define DISCARDED_MOST ((size_t)64 * 1024 * 1024)

/* ---- answers without libfcgi ---- */

/* libfcgi is not given such a request. What of the answer does not fit into the socket at once is
 * lost: nobody waits for this peer. */
static void answer_too_large(const struct server *server, const struct connection *c, uint16_t id)
{
    const char *answer = server->calls->too_large_answer;
    unsigned char *records = malloc(strlen(answer) + RECORD_ANSWER_MORE);
    size_t len = records ? record_answer(id, answer, records) : 0;
    if (send(c->fd, records, len, MSG_DONTWAIT | MSG_NOSIGNAL) <= 0)
        log_message(LOG_DEBUG, "a refused peer did not take its answer");
    free(records);
    metrics_connection_dropped(METRICS_DROP_PARAMS_TOO_LARGE);
    log_message(LOG_WARN, "refused a request whose parameters pass %zu bytes or %d entries",
                RECORD_REQUEST_MOST, RECORD_PARAMS_MOST);
}

/* Answers a management record and removes it from the input. */
static void answer_management(const struct server *server, const struct connection *c,
                              unsigned char *bytes, size_t len,
                              const struct record_request *scanned)
{
    unsigned char answer[RECORD_MANAGEMENT_ANSWER_MOST];
    unsigned char *record = bytes + scanned->management_at;
    unsigned char *next = record + scanned->management_len;
    size_t answer_len = record_management_answer(record, (int)server->conf->connections, answer);
    if (send(c->fd, answer, answer_len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)answer_len)
        log_message(LOG_DEBUG, "a peer did not take the answer to a management record");
    memmove(record, next, (size_t)(bytes + len - next));
}

/* ---- partial input ---- */

/* Keeps the part of a request that has come until more comes. From its first byte on, a request
 * has fcgi.readtimeout to arrive. */
static bool keep_partial(const struct server *server, struct connection *c,
                         const unsigned char *bytes, size_t len)
{
    c->partial = malloc(len);
    if (!c->partial)
        return false;
    memcpy(c->partial, bytes, len);
    c->partial_len = len;
    if (!c->begun)
        atomic_store(&c->deadline, clock_ms() + server->conf->read_timeout_ms);
    c->begun = true;
    return true;
}

/* Brings the partial input, and what has come since, into the worker's buffer. Returns its
 * length; -1 when the peer is gone. `*full`: there may be more than the buffer takes. */
static ssize_t gather(struct worker *worker, struct connection *c, bool *full)
{
    size_t len = c->partial_len;
    if (len > 0)
        memcpy(worker->input, c->partial, len);
    free(c->partial);
    c->partial = NULL;
    c->partial_len = 0;
    ssize_t got = recv(c->fd, worker->input + len, sizeof worker->input - len, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        return -1;
    len += got > 0 ? (size_t)got : 0;
    *full = len == sizeof worker->input;
    return (ssize_t)len;
}

/* Reads off what comes on a lingering connection. False where it can be closed. */
static bool discard(struct worker *worker, struct connection *c)
{
    ssize_t got;
    while ((got = recv(c->fd, worker->input, sizeof worker->input, MSG_DONTWAIT)) > 0) {
        c->discarded += (size_t)got;
        if (c->discarded > DISCARDED_MOST)
            return false;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- requests ---- */

/* Serves the scanned request at the start of `bytes`. `*used` is set to how many of them belong
 * to it. */
static enum served serve_scanned(struct worker *worker, struct connection *c,
                                 const unsigned char *bytes, size_t len,
                                 const struct record_request *scanned, size_t *used)
{
    switch (scanned->verdict) {
    case RECORD_PARTIAL:
    case RECORD_MANAGEMENT: /* the caller answers it */
        return SERVED_PART;
    case RECORD_BAD:
        metrics_connection_dropped(METRICS_DROP_NOT_FASTCGI);
        log_message(LOG_WARN, "closed a connection that does not speak FastCGI");
        return SERVED_LAST;
    case RECORD_ABORTED:
        metrics_connection_dropped(METRICS_DROP_ABORTED);
        log_message(LOG_DEBUG, "the web server aborted a request");
        return SERVED_LAST;
    case RECORD_TOO_LARGE:
        answer_too_large(worker->server, c, scanned->id);
        connection_linger(c);
        return SERVED;
    case RECORD_PARAMS:
        if (scanned->body_len < c->body_wanted && !c->body_late)
            return SERVED_PART;
        break;
    case RECORD_WHOLE:
    case RECORD_BODY_LONG:
        break;
    }
    return request_serve(worker, c, bytes, len, scanned, used);
}

/* Serves the requests in the worker's buffer, and keeps a partial one at its end. */
static enum served serve_input(struct worker *worker, struct connection *c, size_t len)
{
    unsigned char *bytes = worker->input;
    for (;;) {
        size_t used = record_skip(&c->rest, bytes, len);
        c->discarded += used;
        if (c->discarded > DISCARDED_MOST)
            return SERVED_LAST;
        bytes += used;
        len -= used;
        if (len == 0)
            return SERVED;
        struct record_request scanned = record_scan(bytes, len);
        if (scanned.verdict == RECORD_MANAGEMENT) {
            answer_management(worker->server, c, bytes, len, &scanned);
            len -= scanned.management_len;
            continue;
        }
        enum served served = serve_scanned(worker, c, bytes, len, &scanned, &used);
        if (served == SERVED_PART)
            return keep_partial(worker->server, c, bytes, len) ? SERVED : SERVED_LAST;
        if (served != SERVED || c->lingers)
            return served;
        bytes += used;
        len -= used;
    }
}

/* Deals with all that has come by now. */
static enum served serve_all(struct worker *worker, struct connection *c)
{
    bool full = true;
    while (full && !c->lingers) {
        ssize_t len = gather(worker, c, &full);
        enum served served = len < 0 ? SERVED_LAST : serve_input(worker, c, (size_t)len);
        if (served != SERVED)
            return served;
    }
    return !c->lingers || discard(worker, c) ? SERVED : SERVED_LAST;
}

void input_serve(struct worker *worker, struct connection *c)
{
    do {
        switch (serve_all(worker, c)) {
        case SERVED:
            break;
        case SERVED_LATER:
            return;
        case SERVED_PART:
        case SERVED_LAST:
            connection_close(worker->server, c);
            return;
        }
    } while (!connection_release(worker->server, c));
}
