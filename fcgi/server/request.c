/* SPDX-License-Identifier: MIT
 * One request: libfcgi reads its parameters, the callback answers it, libfcgi sends the answer. */
#include "server/server_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- the request pipe ---- */

void request_pipe_close(struct worker *worker)
{
    for (int i = 0; i < 2; i++) {
        if (worker->pipe[i] >= 0)
            close(worker->pipe[i]);
        worker->pipe[i] = -1;
    }
}

/* It takes the largest request as a whole, so that neither end ever waits. */
bool request_pipe_open(struct worker *worker)
{
    if (worker->pipe[0] >= 0)
        return true;
    if (pipe2(worker->pipe, O_CLOEXEC) != 0)
        return false;
    if (fcntl(worker->pipe[1], F_SETPIPE_SZ, (int)RECORD_REQUEST_MOST) >= 0)
        return true;
    int error = errno;
    request_pipe_close(worker);
    errno = error;
    return false;
}

/* Has libfcgi read the request's parameters. They come through a pipe and not from the
 * connection: from there libfcgi would read on into the next request, and where it cannot parse
 * what it reads it would wait for the peer and close the connection. */
static bool parse(struct worker *worker, const unsigned char *bytes, size_t len)
{
    FCGX_Request *request = &worker->request->fcgx;
    if (!request_pipe_open(worker)) {
        log_message(LOG_ERROR, "cannot make a thread's pipe: %s", strerror(errno));
        return false;
    }
    FCGX_InitRequest(request, -1, 0);
    request->ipcFd = worker->pipe[0];
    FCGX_Detach(request);
    request->keepConnection = 1;
    if (write(worker->pipe[1], bytes, len) == (ssize_t)len && FCGX_Accept_r(request) == 0) {
        FCGX_FreeStream(&request->in); /* the body does not go through libfcgi */
        return true;
    }
    log_message(LOG_ERROR, "libfcgi refused a request");
    /* It has closed its end, or left something in the pipe; a new pipe is opened next time. */
    if (request->ipcFd != worker->pipe[0])
        worker->pipe[0] = -1;
    request_pipe_close(worker);
    return false;
}

/* ---- the end of an answer ---- */

void report_unread_answer(void)
{
    metrics_connection_dropped(METRICS_DROP_ANSWER_TIMEOUT);
    log_message(LOG_WARN, "closed a connection whose answer was not made or not read in time");
}

/* Sends what is left of the answer, in libfcgi's own order: closing the second stream ends the
 * request. The descriptor stays open. False where the answer could not be sent. */
static bool send_rest(FCGX_Request *fcgx)
{
    bool sent = FCGX_FClose(fcgx->err) == 0;
    sent = FCGX_FClose(fcgx->out) == 0 && sent;
    /* After SO_SNDTIMEO; a peer that has gone is another error. */
    if (!sent && FCGX_GetError(fcgx->out) == EAGAIN)
        report_unread_answer();
    FCGX_Free(fcgx, 0);
    return sent;
}

/* Ends an answered request. False where the connection is to be closed. */
static bool end_request(struct server_request *request, struct connection *c)
{
    const struct server *server = request->server;
    bool keep = request->fcgx.keepConnection != 0 && request->body_state != SERVER_BODY_LATE &&
                !atomic_load(&server->stopping);
    c->served = true;
    c->begun = false;
    c->body_wanted = 0;
    c->discarded = 0;
    atomic_store(&c->deadline, clock_ms() + server->conf->idle_timeout_ms);
    if (!send_rest(&request->fcgx))
        return false;
    if (!keep && !c->rest.ended)
        connection_linger(c);
    return keep || c->lingers;
}

void server_answered(struct server_request *request)
{
    struct server *server = request->server;
    struct connection *c = request->connection;
    bool good = end_request(request, c);
    free(request);
    if (!good)
        connection_close(server, c);
    else if (!connection_release(server, c))
        connection_hand_over(server, c);
}

/* ---- the request ---- */

struct server_request *request_new(struct server *server)
{
    struct server_request *request = calloc(1, sizeof *request + server->calls->own_size);
    if (request)
        request->server = server;
    return request;
}

/* True where an answer by another thread does not delay that thread: the peer has read all that
 * was sent before. */
static bool may_be_kept(const struct worker *worker, const struct connection *c)
{
    int unread = 0;
    return worker->spare && ioctl(c->fd, SIOCOUTQ, &unread) == 0 && unread == 0;
}

static enum server_body body_state(const struct connection *c, enum record_verdict verdict)
{
    if (verdict == RECORD_WHOLE)
        return SERVER_BODY_WHOLE;
    if (verdict == RECORD_BODY_LONG)
        return SERVER_BODY_LONG;
    return c->body_late ? SERVER_BODY_LATE : SERVER_BODY_MORE;
}

/* Has the callback answer the worker's request, or keep it, or say what it lacks. */
static enum served call_answer(struct worker *worker, struct connection *c)
{
    const struct server *server = worker->server;
    struct server_request *request = worker->request;
    int64_t deadline = atomic_load(&c->deadline);
    atomic_store(&c->deadline,
                 clock_ms() + server->conf->timeout_ms + server->conf->read_timeout_ms);
    atomic_store(&worker->busy_since, clock_ms());
    /* Other input of this connection waits for this thread alone, and a peer that does not read
     * may block it. */
    if (!request->may_be_kept)
        server_may_block(request);
    switch (server->calls->answer(worker->context, request)) {
    case SERVER_KEPT:
        worker->request = worker->spare;
        worker->spare = NULL;
        return SERVED_LATER;
    case SERVER_NEEDS_BODY:
        FCGX_Free(&request->fcgx, 0);
        c->rest = (struct record_rest){0};
        c->body_wanted = request->body_wanted;
        atomic_store(&c->deadline, deadline);
        return request->body_state == SERVER_BODY_MORE ? SERVED_PART : SERVED_LAST;
    case SERVER_ANSWERED:
        break;
    }
    return end_request(request, c) ? SERVED : SERVED_LAST;
}

enum served request_serve(struct worker *worker, struct connection *c, const unsigned char *bytes,
                          size_t len, const struct record_request *scanned, size_t *used)
{
    struct server_request *request = worker->request;
    struct record_rest rest = {.id = scanned->id};
    if (!parse(worker, bytes, scanned->params_len))
        return SERVED_LAST;
    if (!worker->spare)
        worker->spare = request_new(worker->server);
    *used = scanned->body_at + record_skip(&rest, bytes + scanned->body_at, len - scanned->body_at);
    c->rest = rest;
    request->fcgx.ipcFd = c->fd; /* the answer goes to the connection */
    request->connection = c;
    request->worker = worker;
    request->body_state = body_state(c, scanned->verdict);
    request->body = worker->body;
    request->body_len =
        record_body(bytes, scanned, worker->body, worker->server->calls->body_most + 1);
    request->may_be_kept = *used == len && may_be_kept(worker, c);
    return call_answer(worker, c);
}
