/* SPDX-License-Identifier: MIT
 * Worker threads on one epoll set, and the thread that watches over them. */
#include "server/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/leader_pool.h"
#include "server/record.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* How often the watching thread looks for passed deadlines. */
#define TICK_MS 500

/* A thread that is at one request for so long is held up. */
#define HELD_UP_MS 100

/* After so long without a request, what a load has left behind is not waiting for the next. */
#define REST_MS 500

/* How often the reserve looks whether it is needed, while any worker is at work, and how often
 * more before it sleeps. */
#define RESERVE_MS    100
#define RESERVE_LOOKS 5

/* At a stop, a connection without a request is kept this long: a request may be on its
 * way on it, sent before the web server could know. */
#define QUIET_MS 100

/* What a thread needs: libpq, OpenSSL and getaddrinfo are the deep ones. */
#define STACK_SIZE ((size_t)512 * 1024)

/* After an answer that left a body unread, how much of it is read off before the
 * connection is closed; closed at once, the peer's kernel could drop the answer. */
#define LINGER_BYTES ((size_t)64 * 1024 * 1024)
#define LINGER_MS    5000

/* A connection's owner is the one thread that set BUSY. Events that others see meanwhile
 * leave PENDING, and the owner looks again before it lets go. The upper half counts the
 * slot's uses, so that an event for an earlier connection finds nobody. */
#define BUSY    UINT64_C(1)
#define PENDING UINT64_C(2)

#define NO_SLOT UINT32_MAX

/* epoll's data for what is not a connection; no slot has this number. */
#define EVENT_LISTENER (UINT64_MAX - 1)
#define EVENT_CANARY   (UINT64_MAX - 2)
#define EVENT_WAKE     (UINT64_MAX - 3)
#define EVENT_QUIT     UINT64_MAX

struct connection {
    _Atomic uint64_t state;
    _Atomic int64_t deadline; /* clock_ms(); passed: closed, or cut where it is BUSY */
    _Atomic int64_t touched;  /* when it was last let go of */
    int fd;                   /* from here on the owner's alone; set and closed under `table` */
    bool in_epoll;
    bool served;             /* a request has been answered */
    bool begun;              /* a part of a request is held, and its time runs */
    bool linger;             /* answered for good; what still comes is discarded */
    size_t discarded;        /* bytes so far */
    struct record_rest rest; /* what may still come of the request that was answered last */
    size_t body_wanted;      /* bytes that the held request's answer needs; 0: not asked yet */
    bool body_late;          /* and they have not come in time */
    unsigned char *held;     /* the part of a request that has come; NULL: none */
    size_t held_len;
    uint32_t next_free;
};

struct server {
    char *why; /* where it could not start */
    size_t why_size;
    const struct conf_fcgi *conf;
    const struct server_calls *calls;
    struct listener *listener;
    int epoll;
    int quit; /* an eventfd that wakes all threads for good */
    /* An eventfd that queues for a worker as requests do, to tell how long that takes. */
    int canary;
    _Atomic int64_t canary_since;    /* clock_ms(); 0: not in the queue */
    int wake;                        /* an eventfd that calls one worker (server_calls.wake) */
    int alarm;                       /* an eventfd that wakes the reserve */
    atomic_bool reserve_sleeps;      /* until a worker is at work */
    struct worker *workers;          /* conf->threads, and the reserve */
    struct leader_pool *leader_pool; /* which of them wait on `epoll` */
    atomic_bool stopping;

    pthread_mutex_t table; /* guards the next four, and closing against cutting and handing over */
    struct connection *connections;
    uint32_t free;        /* the first of those that were used and are free */
    _Atomic int64_t used; /* how many have been used; the others are not set up yet */
    unsigned open;
    bool listening; /* the listener is in the epoll set */
};

struct worker {
    struct server *server;
    void *thread;                   /* the caller's */
    struct server_request *request; /* the one it is at, or the next */
    struct server_request *spare;   /* in its place where that one is kept; NULL: none yet */
    int feed[2]; /* a pipe through which libfcgi is given a request that has come whole */
    pthread_t id;
    _Atomic int64_t since; /* clock_ms() when it took up what it is at; 0: it is free */
    char *body;            /* server_calls.body_most + 1 bytes */
    unsigned char bytes[RECORD_REQUEST_MOST];
};

/* ---- the table of connections ---- */

static uint64_t event_of(const struct server *server, const struct connection *c)
{
    uint64_t use = atomic_load(&c->state) >> 32;
    return use << 32 | (uint64_t)(c - server->connections);
}

static bool epoll_add(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool has_room(const struct server *server)
{
    return server->free != NO_SLOT || atomic_load(&server->used) < server->conf->connections;
}

/* Takes a free slot, or the next that has not been used yet; there is room. */
static struct connection *take_slot(struct server *server)
{
    struct connection *c;
    if (server->free != NO_SLOT) {
        c = &server->connections[server->free];
        server->free = c->next_free;
        return c;
    }
    c = &server->connections[atomic_load(&server->used)];
    c->fd = -1;
    atomic_init(&c->state, BUSY);
    atomic_init(&c->deadline, INT64_MAX);
    atomic_fetch_add(&server->used, 1);
    return c;
}

/* Listening pauses while nothing more can be accepted: epoll would report the waiting
 * ones over and over. To be called with the table locked. */
static void listen_again(struct server *server)
{
    if (server->listening || atomic_load(&server->stopping) || !has_room(server))
        return;
    server->listening = listener_watch(server->listener, server->epoll, EVENT_LISTENER);
}

static void listen_pause(struct server *server)
{
    if (!server->listening)
        return;
    listener_unwatch(server->listener, server->epoll);
    server->listening = false;
}

/* A slot for a new connection, owned by the caller and without a descriptor as yet. NULL:
 * all are taken. */
static struct connection *connection_new(struct server *server)
{
    struct connection *c = NULL;
    pthread_mutex_lock(&server->table);
    if (has_room(server)) {
        c = take_slot(server);
        server->open++;
        metrics_connections(1);
        c->in_epoll = false;
        c->served = false;
        c->begun = false;
        c->linger = false;
        c->discarded = 0;
        c->rest = (struct record_rest){0};
        c->body_wanted = 0;
        c->body_late = false;
        /* What has come whole may still have to wait for a thread. */
        atomic_store(&c->deadline,
                     clock_ms() + server->conf->read_timeout_ms + server->conf->queue_timeout_ms);
        atomic_store(&c->state, (atomic_load(&c->state) >> 32) << 32 | BUSY);
    }
    if (!has_room(server))
        listen_pause(server);
    pthread_mutex_unlock(&server->table);
    return c;
}

/* Closes an owned connection. Its slot stays BUSY under the next use's number, so that
 * no late event can claim it while it is free. */
static void connection_close(struct server *server, struct connection *c)
{
    pthread_mutex_lock(&server->table);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->held);
    c->held = NULL;
    c->held_len = 0;
    atomic_store(&c->deadline, INT64_MAX);
    atomic_store(&c->state, ((atomic_load(&c->state) >> 32) + 1) << 32 | BUSY);
    c->next_free = server->free;
    server->free = (uint32_t)(c - server->connections);
    server->open--;
    metrics_connections(-1);
    listen_again(server);
    pthread_mutex_unlock(&server->table);
}

/* Becomes the owner, unless the slot has another use by now or another owner, who is
 * then told to look again. */
static bool connection_claim(struct connection *c, uint64_t use)
{
    uint64_t state = atomic_load(&c->state);
    while (state >> 32 == use) {
        uint64_t wanted = state | (state & BUSY ? PENDING : BUSY);
        if (atomic_compare_exchange_weak(&c->state, &state, wanted))
            return !(state & BUSY);
    }
    return false;
}

/* Lets go of an owned connection. False where something came meanwhile, and the caller
 * is still the owner. */
static bool connection_release(struct server *server, struct connection *c)
{
    atomic_store(&c->touched, clock_ms());
    if (!c->in_epoll) {
        /* Edge-triggered: each arrival is reported once. Level-triggered or re-armed, a
         * half-sent request would be reported for ever. */
        c->in_epoll =
            epoll_add(server->epoll, c->fd, EPOLLIN | EPOLLRDHUP | EPOLLET, event_of(server, c));
        if (!c->in_epoll) {
            connection_close(server, c);
            return true;
        }
    }
    uint64_t state = atomic_load(&c->state);
    do {
        if (state & PENDING) {
            atomic_fetch_and(&c->state, ~PENDING);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&c->state, &state, state & ~BUSY));
    return true;
}

/* Lets go of an owned connection in favour of the workers: set anew, epoll reports to
 * one of them what is there by now. Under `table`, so that one who claims it at once cannot
 * close it before that is done: its number could by then be another connection's. */
static void hand_over(struct server *server, struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
                                .data.u64 = event_of(server, c)};
    /* A body that is late is answered without input. */
    if (c->body_late)
        event.events |= EPOLLOUT;
    int operation = c->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int fd = c->fd;
    c->in_epoll = true;
    atomic_store(&c->touched, clock_ms());
    pthread_mutex_lock(&server->table);
    atomic_fetch_and(&c->state, ~(BUSY | PENDING));
    epoll_ctl(server->epoll, operation, fd, &event);
    pthread_mutex_unlock(&server->table);
}

/* ---- refusing ---- */

/* The one answer that is given without libfcgi, which would not survive the question. */
static void refuse_large(struct connection *c, uint16_t id)
{
    static const char answer[] =
        "Status: 431 Request Header Fields Too Large\r\n"
        "Content-Type: application/json\r\n\r\n"
        "{\"errors\":[{\"code\":\"SIZE_INVALID\","
        "\"message\":\"the request's headers are larger than this service takes\"}]}";
    unsigned char records[sizeof answer + 32];
    size_t len = record_answer(id, answer, records);
    if (send(c->fd, records, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
        log_message(LOG_DEBUG, "a refused peer did not take its answer");
    log_message(LOG_WARN, "refused a request whose parameters pass %zu bytes or %d entries",
                RECORD_REQUEST_MOST, RECORD_PARAMS_MOST);
}

/* No further request is taken on this connection; what the peer still sends is read
 * off, for a while. */
static void start_linger(struct connection *c)
{
    shutdown(c->fd, SHUT_WR);
    c->linger = true;
    atomic_store(&c->deadline, clock_ms() + LINGER_MS);
}

/* False when the connection is done for. */
static bool discard(struct worker *worker, struct connection *c)
{
    ssize_t got;
    while ((got = recv(c->fd, worker->bytes, sizeof worker->bytes, MSG_DONTWAIT)) > 0) {
        c->discarded += (size_t)got;
        if (c->discarded > LINGER_BYTES)
            return false;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- libfcgi ---- */

static void feed_close(struct worker *worker)
{
    for (int i = 0; i < 2; i++) {
        if (worker->feed[i] >= 0)
            close(worker->feed[i]);
        worker->feed[i] = -1;
    }
}

/* A pipe that takes any request whole, so that neither end ever waits. False with errno. */
static bool feed_open(struct worker *worker)
{
    if (worker->feed[0] >= 0)
        return true;
    if (pipe2(worker->feed, O_CLOEXEC) != 0)
        return false;
    if (fcntl(worker->feed[1], F_SETPIPE_SZ, (int)RECORD_REQUEST_MOST) >= 0)
        return true;
    int error = errno;
    feed_close(worker);
    errno = error;
    return false;
}

/* Has libfcgi read the request's parameters. They come through a pipe and not from the
 * connection: from there libfcgi would read on into whatever follows, and would close
 * the connection, after waiting for the peer, where it dislikes what it reads. */
static bool parse(struct worker *worker, const unsigned char *bytes, size_t len)
{
    FCGX_Request *request = &worker->request->fcgx;
    if (!feed_open(worker)) {
        log_message(LOG_ERROR, "cannot make a thread's pipe: %s", strerror(errno));
        return false;
    }
    FCGX_InitRequest(request, -1, 0);
    request->ipcFd = worker->feed[0];
    FCGX_Detach(request);
    request->keepConnection = 1;
    if (write(worker->feed[1], bytes, len) == (ssize_t)len && FCGX_Accept_r(request) == 0) {
        FCGX_FreeStream(&request->in); /* no route reads a body */
        return true;
    }
    log_message(LOG_ERROR, "libfcgi refused a request");
    /* It has closed its end, or left something in it: a new pipe has neither. */
    if (request->ipcFd != worker->feed[0])
        worker->feed[0] = -1;
    feed_close(worker);
    return false;
}

static void report_unread_answer(void)
{
    metrics_connection_dropped(METRICS_DROP_ANSWER_TIMEOUT);
    log_message(LOG_WARN, "closed a connection whose answer was not made or not read in time");
}

/* Sends what is left of the answer, in libfcgi's own order: the last stream closed ends the
 * request. Closing the descriptor stays with us. False where it could not be sent. */
static bool finish(struct server_request *request)
{
    FCGX_Request *fcgx = &request->fcgx;
    bool sent = FCGX_FClose(fcgx->err) == 0;
    sent = FCGX_FClose(fcgx->out) == 0 && sent;
    /* After SO_SNDTIMEO; a peer that has gone is another error. */
    if (!sent && FCGX_GetError(fcgx->out) == EAGAIN)
        report_unread_answer();
    FCGX_Free(fcgx, 0);
    return sent;
}

/* True where nothing that the peer left unread delays an answer that comes later, from a
 * thread that other requests wait for. */
static bool may_wait(const struct worker *worker, const struct connection *c)
{
    int unread = 0;
    return worker->spare && ioctl(c->fd, SIOCOUTQ, &unread) == 0 && unread == 0;
}

static struct server_request *request_new(struct server *server)
{
    struct server_request *request = calloc(1, sizeof *request + server->calls->own_size);
    if (request)
        request->server = server;
    return request;
}

enum served {
    SERVED,
    SERVED_LATER, /* the connection has passed to the thread that answers */
    SERVED_PART,  /* not without more of the body */
    SERVED_LAST,  /* the connection cannot be used further */
};

static enum server_body body_state(const struct connection *c, enum record_verdict verdict)
{
    if (verdict == RECORD_WHOLE)
        return SERVER_BODY_WHOLE;
    if (verdict == RECORD_BODY_LONG)
        return SERVER_BODY_LONG;
    return c->body_late ? SERVER_BODY_LATE : SERVER_BODY_MORE;
}

/* Ends an answered request. False where the connection cannot be used further. Where more of
 * the request may come, it lingers: closed at once, the peer's kernel could drop the answer. */
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
    if (!finish(request))
        return false;
    if (!keep && !c->rest.ended)
        start_linger(c);
    return keep || c->linger;
}

/* Has the request at the start of `bytes` answered, and sets `*used` to how many of them
 * belong to it. */
static enum served serve(struct worker *worker, struct connection *c, const unsigned char *bytes,
                         size_t len, const struct record_request *scanned, size_t *used)
{
    const struct server *server = worker->server;
    struct server_request *request = worker->request;
    struct record_rest rest = {.id = scanned->id};
    int64_t deadline = atomic_load(&c->deadline);
    if (!parse(worker, bytes, scanned->params_len))
        return SERVED_LAST;
    if (!worker->spare)
        worker->spare = request_new(worker->server);
    *used = scanned->body_at + record_skip(&rest, bytes + scanned->body_at, len - scanned->body_at);
    request->fcgx.ipcFd = c->fd; /* the answer goes to the connection */
    request->connection = c;
    request->worker = worker;
    request->body_state = body_state(c, scanned->verdict);
    request->body = worker->body;
    request->body_len = record_body(bytes, scanned, worker->body, server->calls->body_most + 1);
    request->may_wait = *used == len && may_wait(worker, c);
    c->rest = rest;
    atomic_store(&c->deadline,
                 clock_ms() + server->conf->timeout_ms + server->conf->read_timeout_ms);
    atomic_store(&worker->since, clock_ms());
    /* What the peer has left unread may delay the answer, and what it has sent besides waits
     * for this thread alone. */
    if (!request->may_wait)
        server_step_down(request);
    switch (server->calls->answer(worker->thread, request)) {
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

/* ---- one connection's input ---- */

/* Keeps the part of a request that has come until more does. From its first byte on, a
 * request has a limited time to arrive. */
static bool hold(const struct server *server, struct connection *c, const unsigned char *bytes,
                 size_t len)
{
    unsigned char *held = realloc(c->held, len + 1);
    if (!held)
        return false;
    memcpy(held, bytes, len);
    c->held = held;
    c->held_len = len;
    if (!c->begun)
        atomic_store(&c->deadline, clock_ms() + server->conf->read_timeout_ms);
    c->begun = true;
    return true;
}

/* Brings what is held, and what has come since, into the worker's buffer. Returns its
 * length; -1 when the peer is gone. `more`: the buffer is full and there may be more. */
static ssize_t gather(struct worker *worker, struct connection *c, bool *more)
{
    size_t len = c->held_len;
    if (len > 0)
        memcpy(worker->bytes, c->held, len);
    free(c->held);
    c->held = NULL;
    c->held_len = 0;
    ssize_t got = recv(c->fd, worker->bytes + len, sizeof worker->bytes - len, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        return -1;
    len += got > 0 ? (size_t)got : 0;
    *more = len == sizeof worker->bytes;
    return (ssize_t)len;
}

/* Answers a management record and takes it out of the input. */
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

/* Deals with the scanned request at the start of `bytes`, and sets `*used` to how many of
 * them belong to it. */
static enum served consume_request(struct worker *worker, struct connection *c,
                                   const unsigned char *bytes, size_t len,
                                   const struct record_request *scanned, size_t *used)
{
    switch (scanned->verdict) {
    case RECORD_PARTIAL:
    case RECORD_MANAGEMENT: /* the caller's */
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
        metrics_connection_dropped(METRICS_DROP_PARAMS_TOO_LARGE);
        refuse_large(c, scanned->id);
        start_linger(c);
        return SERVED;
    case RECORD_PARAMS:
        if (scanned->body_len < c->body_wanted && !c->body_late)
            return SERVED_PART;
        break;
    case RECORD_WHOLE:
    case RECORD_BODY_LONG:
        break;
    }
    return serve(worker, c, bytes, len, scanned, used);
}

/* Serves the requests in the buffer as far as their parts have come, and holds what is left. */
static enum served consume(struct worker *worker, struct connection *c, size_t len)
{
    unsigned char *bytes = worker->bytes;
    for (;;) {
        size_t used = record_skip(&c->rest, bytes, len);
        c->discarded += used;
        if (c->discarded > LINGER_BYTES)
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
        enum served served = consume_request(worker, c, bytes, len, &scanned, &used);
        if (served == SERVED_PART)
            return hold(worker->server, c, bytes, len) ? SERVED : SERVED_LAST;
        if (served != SERVED || c->linger)
            return served;
        bytes += used;
        len -= used;
    }
}

/* Deals with all that has come on an owned connection. */
static enum served step(struct worker *worker, struct connection *c)
{
    bool more = true;
    while (more && !c->linger) {
        ssize_t len = gather(worker, c, &more);
        enum served served = len < 0 ? SERVED_LAST : consume(worker, c, (size_t)len);
        if (served != SERVED)
            return served;
    }
    return !c->linger || discard(worker, c) ? SERVED : SERVED_LAST;
}

/* Serves an owned connection until it has nothing more to say. */
static void attend(struct worker *worker, struct connection *c)
{
    do {
        switch (step(worker, c)) {
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

void server_answered(struct server_request *request)
{
    struct server *server = request->server;
    struct connection *c = request->connection;
    bool good = end_request(request, c);
    free(request);
    if (!good)
        connection_close(server, c);
    else if (!connection_release(server, c))
        hand_over(server, c);
}

static size_t number_of(const struct worker *worker)
{
    return (size_t)(worker - worker->server->workers);
}

static void step_down(const struct worker *worker)
{
    leader_pool_step_down(worker->server->leader_pool, number_of(worker));
}

void server_step_down(struct server_request *request)
{
    step_down(request->worker);
}

/* Makes an eventfd readable. False where that fails. */
static bool signal_event(int event)
{
    const uint64_t one = 1;
    ssize_t wrote;
    while ((wrote = write(event, &one, sizeof one)) < 0 && errno == EINTR)
        continue;
    return wrote >= 0;
}

void server_wake(struct server *server)
{
    signal_event(server->wake);
}

/* Nothing was accepted into the slot. */
static void accept_none(struct server *server, struct connection *c, int why)
{
    connection_close(server, c);
    if (why != EMFILE && why != ENFILE && why != ENOBUFS && why != ENOMEM)
        return;
    log_message(LOG_ERROR, "cannot accept: %s; trying again shortly", strerror(why));
    pthread_mutex_lock(&server->table);
    listen_pause(server);
    pthread_mutex_unlock(&server->table);
}

/* Takes one connection, for the caller to own. NULL: there is none, or no room for it. The
 * room is taken first: what has been accepted cannot wait for its turn any more. */
static struct connection *accept_one(struct server *server)
{
    const int on = 1;
    const struct timeval patience = {.tv_sec = server->conf->read_timeout_ms / 1000 + 1};
    struct connection *c = connection_new(server);
    if (!c)
        return NULL;
    int fd = listener_accept(server->listener);
    if (fd < 0) {
        accept_none(server, c, errno);
        return NULL;
    }
    pthread_mutex_lock(&server->table);
    c->fd = fd;
    pthread_mutex_unlock(&server->table);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return c;
}

/* ---- worker threads ---- */

/* The connection of an event, for the caller to own; NULL: none, or it has an owner. The
 * listener is level-triggered, so others see to its rest. */
static struct connection *connection_of(struct server *server, uint64_t event)
{
    if (event == EVENT_LISTENER)
        return accept_one(server);
    if (event == EVENT_CANARY) {
        atomic_store(&server->canary_since, 0);
        return NULL;
    }
    if (event == EVENT_WAKE) /* seen by the reserve, which looks anyway */
        return NULL;
    struct connection *c = &server->connections[(uint32_t)event];
    return connection_claim(c, event >> 32) ? c : NULL;
}

static void set_busy(struct worker *worker)
{
    struct server *server = worker->server;
    metrics_threads_busy(1);
    atomic_store(&worker->since, clock_ms());
    if (atomic_load(&server->reserve_sleeps) && atomic_exchange(&server->reserve_sleeps, false))
        signal_event(server->alarm);
}

static void set_free(struct worker *worker)
{
    if (atomic_exchange(&worker->since, 0) != 0)
        metrics_threads_busy(-1);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct server *server = worker->server;
    for (;;) {
        struct epoll_event event;
        set_free(worker);
        if (!leader_pool_join(server->leader_pool, number_of(worker)))
            return NULL;
        if (epoll_wait(server->epoll, &event, 1, -1) < 1)
            continue;
        if (event.data.u64 == EVENT_QUIT)
            return NULL;
        set_busy(worker);
        if (event.data.u64 == EVENT_WAKE) {
            step_down(worker);
            server->calls->wake(worker->thread, server);
            continue;
        }
        struct connection *c = connection_of(server, event.data.u64);
        if (c)
            attend(worker, c);
    }
}

/* ---- the reserve ---- */

static bool is_any_free(struct server *server)
{
    for (int64_t i = 0; i < server->conf->threads; i++) {
        if (atomic_load(&server->workers[i].since) == 0)
            return true;
    }
    return false;
}

/* True where no worker has come to an end of anything since `then`. */
static bool are_all_stuck(struct server *server, int64_t then)
{
    for (int64_t i = 0; i < server->conf->threads; i++) {
        int64_t since = atomic_load(&server->workers[i].since);
        if (since == 0 || since > then)
            return false;
    }
    return true;
}

/* What the reserve looks for at each turn: requests that wait for others' answers, and workers that
 * are held up, in whose place all others may lead. Returns whether any worker is at work. */
static bool look(struct worker *reserve)
{
    struct server *server = reserve->server;
    int64_t now = clock_ms();
    bool busy = false;
    bool held_up = false;
    server->calls->look(reserve->thread, server);
    for (int64_t i = 0; i < server->conf->threads; i++) {
        int64_t since = atomic_load(&server->workers[i].since);
        busy |= since != 0;
        held_up |= since != 0 && now - since >= HELD_UP_MS;
    }
    leader_pool_held_up(server->leader_pool, held_up);
    return busy;
}

/* Serves in the workers' place: what has waited for longer than the canary, which is what
 * has waited too long; and whatever comes, while the workers are stuck. epoll hands out
 * first what was ready first. */
static void shed(struct worker *reserve)
{
    struct server *server = reserve->server;
    int64_t patience = server->conf->queue_timeout_ms;
    log_message(LOG_WARN, "requests wait for a thread for more than %d ms: answering 503",
                (int)patience);
    while (atomic_load(&server->canary_since) != 0 ||
           are_all_stuck(server, clock_ms() - patience)) {
        struct epoll_event event;
        look(reserve);
        if (epoll_wait(server->epoll, &event, 1, RESERVE_MS) < 1)
            continue;
        if (event.data.u64 == EVENT_QUIT)
            return;
        bool late = is_any_free(server);
        struct connection *c = connection_of(server, event.data.u64);
        if (c && late)
            hand_over(server, c);
        else if (c)
            attend(reserve, c);
        if (late)
            return;
    }
}

/* While no worker is free, new connections are taken from the listener into the epoll set,
 * where all wait in one queue, and the canary is sent after them. */
static void queue_up(struct server *server)
{
    struct connection *c;
    while ((c = accept_one(server)))
        hand_over(server, c);
    if (atomic_load(&server->canary_since) == 0) {
        atomic_store(&server->canary_since, clock_ms());
        if (!signal_event(server->canary))
            atomic_store(&server->canary_since, 0);
    }
}

/* Waits for the next turn: while nothing is to be done, until a worker is at work again. False
 * at the end. */
static bool wait_turn(struct server *server, bool sleep)
{
    struct pollfd events[] = {{.fd = server->quit, .events = POLLIN},
                              {.fd = server->alarm, .events = POLLIN}};
    uint64_t count;
    atomic_store(&server->reserve_sleeps, sleep);
    /* One may have begun just before. */
    for (int64_t i = 0; sleep && i < server->conf->threads; i++)
        sleep = atomic_load(&server->workers[i].since) == 0;
    poll(events, 2, sleep ? -1 : RESERVE_MS);
    atomic_store(&server->reserve_sleeps, false);
    if (events[1].revents && read(server->alarm, &count, sizeof count) < 0)
        return true;
    return !events[0].revents;
}

static void *stand_by(void *argument)
{
    struct worker *reserve = argument;
    struct server *server = reserve->server;
    int quiet = 0;
    while (wait_turn(server, quiet > RESERVE_LOOKS)) {
        quiet = look(reserve) ? 0 : quiet + 1;
        int64_t since = atomic_load(&server->canary_since);
        if (since != 0 && clock_ms() - since >= server->conf->queue_timeout_ms)
            shed(reserve);
        else if (!is_any_free(server) && !atomic_load(&server->stopping))
            queue_up(server);
    }
    return NULL;
}

static void worker_free(struct worker *worker)
{
    worker->server->calls->thread_free(worker->thread);
    free(worker->request);
    free(worker->spare);
    free(worker->body);
    feed_close(worker);
}

/* One line that says why the start failed. Returns false. */
static bool fail(struct server *server, const char *what, int error, const char *remedy)
{
    snprintf(server->why, server->why_size, "%s: %s%s", what, strerror(error), remedy);
    return false;
}

static bool worker_init(struct worker *worker, bool reserve)
{
    struct server *server = worker->server;
    worker->feed[0] = worker->feed[1] = -1;
    worker->thread = server->calls->thread_new(server->calls->shared, reserve);
    worker->request = request_new(server);
    worker->body = malloc(server->calls->body_most + 1);
    if (!worker->thread || !worker->request || !worker->body)
        return fail(server, "cannot start a thread", ENOMEM, "");
    return feed_open(worker) || fail(server, "cannot make a thread's pipe", errno, "");
}

static bool start_worker(struct worker *worker, void *(*body)(void *))
{
    pthread_attr_t attributes;
    char what[64];
    if (!worker_init(worker, body == stand_by)) {
        worker_free(worker);
        return false;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = pthread_create(&worker->id, &attributes, body, worker);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        return true;
    worker_free(worker);
    snprintf(what, sizeof what, "cannot start thread %zu of %d", number_of(worker) + 1,
             (int)worker->server->conf->threads + 1);
    return fail(worker->server, what, error,
                error == EAGAIN ? "; lower fcgi.threads or raise the limit of threads" : "");
}

/* ---- the watching thread ---- */

/* Says why a connection is closed at its deadline; the caller owns it. */
static void report_deadline(const struct connection *c)
{
    if (c->linger) {
        metrics_connection_dropped(METRICS_DROP_LINGER_TIMEOUT);
        log_message(LOG_INFO, "closed a connection that its peer did not close after an answer");
    } else if (c->served && !c->begun) {
        metrics_connection_dropped(METRICS_DROP_IDLE_TIMEOUT);
        log_message(LOG_DEBUG, "closed a connection without a request within fcgi.idletimeout");
    } else {
        metrics_connection_dropped(METRICS_DROP_READ_TIMEOUT);
        log_message(LOG_WARN, "closed a connection without a whole request within "
                              "fcgi.readtimeout");
    }
}

/* At the deadline of a connection that nobody is at. A request that lacks its body is
 * answered by a worker; if that fails, too, the connection is closed. */
static void expire(struct server *server, struct connection *c, int64_t now)
{
    if (c->body_wanted > 0 && !c->body_late) {
        c->body_late = true;
        metrics_connection_dropped(METRICS_DROP_BODY_TIMEOUT);
        atomic_store(&c->deadline, now + server->conf->read_timeout_ms);
        hand_over(server, c);
        return;
    }
    report_deadline(c);
    connection_close(server, c);
}

/* At the deadline of a connection that a thread is at: shut down, so that the thread ends. */
static void cut(struct server *server, struct connection *c, int64_t now)
{
    pthread_mutex_lock(&server->table);
    /* Asked again: the slot may be another connection's by now. */
    int64_t deadline = atomic_load(&c->deadline);
    bool late = c->fd >= 0 && now >= deadline &&
                atomic_compare_exchange_strong(&c->deadline, &deadline, INT64_MAX);
    if (late)
        shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&server->table);
    if (late)
        report_unread_answer();
}

static void enforce_deadline(struct server *server, struct connection *c, int64_t now)
{
    uint64_t state = atomic_load(&c->state);
    if (now < atomic_load(&c->deadline))
        return;
    if (state & BUSY)
        cut(server, c, now);
    else if (connection_claim(c, state >> 32))
        expire(server, c, now);
}

/* Something has come that nobody has looked at yet, or not to its end. */
static bool has_input(const struct connection *c)
{
    char byte;
    return !c->linger && (c->held_len > 0 || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
}

/* At a stop: closed once it has been quiet for a moment. One with a request on it, or
 * half of one, is left to the workers and its deadline. */
static void close_quiet(struct server *server, struct connection *c, int64_t now)
{
    uint64_t state = atomic_load(&c->state);
    if (state & BUSY || now < atomic_load(&c->touched) + QUIET_MS ||
        !connection_claim(c, state >> 32))
        return;
    if (!has_input(c)) {
        connection_close(server, c);
        return;
    }
    hand_over(server, c);
}

static void sweep(struct server *server)
{
    int64_t now = clock_ms();
    bool stopping = atomic_load(&server->stopping);
    int64_t used = atomic_load(&server->used);
    for (int64_t i = 0; i < used; i++) {
        enforce_deadline(server, &server->connections[i], now);
        if (stopping)
            close_quiet(server, &server->connections[i], now);
    }
    pthread_mutex_lock(&server->table);
    /* A sibling on the same socket may have died with the one wake-up that a connection
     * causes (EPOLLEXCLUSIVE). Set anew, epoll reports what waits. */
    if (server->listener->inherited)
        listen_pause(server);
    listen_again(server);
    pthread_mutex_unlock(&server->table);
}

static unsigned count_open(struct server *server)
{
    pthread_mutex_lock(&server->table);
    unsigned open = server->open;
    pthread_mutex_unlock(&server->table);
    return open;
}

/* Waits for a signal or `ms`; returns the signal, or 0. */
static int wait_signal(const sigset_t *signals, long ms)
{
    const struct timespec patience = {ms / 1000, ms % 1000 * 1000000};
    int signal = sigtimedwait(signals, NULL, &patience);
    return signal < 0 ? 0 : signal;
}

/* When the last request was done with. */
static int64_t last_touched(struct server *server)
{
    int64_t last = 0;
    int64_t used = atomic_load(&server->used);
    for (int64_t i = 0; i < used; i++) {
        int64_t touched = atomic_load(&server->connections[i].touched);
        last = touched > last ? touched : last;
    }
    return last;
}

/* True where some worker is free, or is at a request that may take so long. */
static bool makes_progress(const struct server *server, int64_t now)
{
    int64_t most = server->conf->timeout_ms + 2 * server->conf->read_timeout_ms;
    for (int64_t i = 0; i < server->conf->threads; i++) {
        int64_t since = atomic_load(&server->workers[i].since);
        if (since == 0 || now - since <= most)
            return true;
    }
    return false;
}

static void watch(struct server *server, const sigset_t *signals)
{
    int64_t rested = clock_ms();
    int64_t next = clock_ms() + TICK_MS;
    for (;;) {
        int64_t left = next - clock_ms();
        int signal = left > 0 ? wait_signal(signals, left) : 0;
        if (signal == SIGHUP)
            server->calls->reload(server->calls->shared);
        else if (signal != 0)
            return;
        if (clock_ms() < next)
            continue;
        int64_t now = clock_ms();
        int64_t last = last_touched(server);
        next = now + TICK_MS;
        sweep(server);
        server->calls->tick(server->calls->shared, makes_progress(server, now));
        if (last > rested && now >= last + REST_MS) {
            server->calls->rest(server->calls->shared);
            rested = now;
        }
    }
}

/* ---- starting and stopping ---- */

/* Stops taking connections. Those waiting are taken first: a socket of our own has nobody
 * else to answer them, and of an inherited one that is not known (under mod_fcgid there is
 * none). Then it is let go at once, while what was taken is still being answered: whoever
 * connects later is to find another taker, or to be refused and try elsewhere, not to wait
 * in a queue that ends with this process. Its number stays taken, since a worker may just
 * be about to accept from it. */
static void stop_listening(struct server *server)
{
    struct connection *c;
    pthread_mutex_lock(&server->table);
    listen_pause(server);
    pthread_mutex_unlock(&server->table);
    listener_unlink(server->listener);
    while ((c = accept_one(server)))
        hand_over(server, c);
    listener_replace(server->listener);
}

/* Lets the threads finish what is under way. True when all of it was. */
static bool drain(struct server *server, const sigset_t *signals)
{
    int64_t end = clock_ms() + server->conf->drain_timeout_ms;
    while (count_open(server) > 0) {
        if (clock_ms() >= end)
            return false;
        wait_signal(signals, 10);
        sweep(server);
    }
    return true;
}

static void server_destroy(struct server *server)
{
    const int descriptors[] = {server->epoll, server->quit, server->canary, server->wake,
                               server->alarm};
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++) {
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    }
    free(server->workers);
    free(server->connections);
    leader_pool_free(server->leader_pool);
    pthread_mutex_destroy(&server->table);
}

/* An eventfd; with `data` in the epoll set, under that name. */
static bool open_event(struct server *server, int *event, uint32_t events, uint64_t data)
{
    *event = eventfd(0, EFD_CLOEXEC);
    return (*event >= 0 && (events == 0 || epoll_add(server->epoll, *event, events, data))) ||
           fail(server, "cannot make an eventfd", errno, "");
}

static bool server_init(struct server *server)
{
    const struct conf_fcgi *conf = server->conf;
    pthread_mutex_init(&server->table, NULL);
    server->quit = server->canary = server->wake = server->alarm = -1;
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        return fail(server, "cannot make an epoll set", errno, "");
    server->connections = calloc((size_t)conf->connections, sizeof *server->connections);
    server->leader_pool = leader_pool_new((size_t)conf->threads + 1); /* the reserve never leads */
    server->workers = calloc((size_t)conf->threads + 1, sizeof *server->workers);
    if (!server->connections || !server->leader_pool || !server->workers)
        return fail(server, "cannot start", ENOMEM, "");
    server->free = NO_SLOT;
    return open_event(server, &server->quit, EPOLLIN, EVENT_QUIT) &&
           open_event(server, &server->canary, EPOLLIN | EPOLLET, EVENT_CANARY) &&
           open_event(server, &server->wake, EPOLLIN | EPOLLET, EVENT_WAKE) &&
           open_event(server, &server->alarm, 0, 0);
}

/* What the watching thread alone waits for. */
static void signals_of_server(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGQUIT);
    sigaddset(signals, SIGUSR1);
    sigaddset(signals, SIGHUP);
}

void server_block_signals(void)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t signals;
    signals_of_server(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* libfcgi's own handlers, if they ever ran, would end all its reading for good. */
static void init_libfcgi(void)
{
    server_block_signals();
    FCGX_Init(); /* sets handlers, SIGPIPE's among them */
    server_block_signals();
}

static void stop_workers(struct server *server, int64_t count)
{
    leader_pool_end(server->leader_pool);
    signal_event(server->quit);
    for (int64_t i = 0; i < count; i++) {
        pthread_join(server->workers[i].id, NULL);
        worker_free(&server->workers[i]);
    }
}

static void stop(struct server *server, const sigset_t *signals)
{
    log_message(LOG_INFO, "stopping: no new connections, finishing what is under way");
    server->calls->stopping(server->calls->shared);
    atomic_store(&server->stopping, true);
    stop_listening(server);
    if (drain(server, signals))
        return;
    /* Threads that still wait for the database are not waited for: the process ends, and
     * they and their memory with it. */
    log_message(LOG_WARN, "stopped with %u connections still open", count_open(server));
    log_stop(SERVER_LOG_STOP_MS);
    _exit(EXIT_SUCCESS);
}

static bool start_listening(struct server *server)
{
    pthread_mutex_lock(&server->table);
    errno = 0;
    listen_again(server);
    bool listening = server->listening;
    int error = errno;
    pthread_mutex_unlock(&server->table);
    return listening || fail(server, "cannot wait for connections", error, "");
}

/* Runs until a signal ends it. False where it could not start. */
static bool run(struct server *server, const sigset_t *signals)
{
    int64_t started = 0;
    for (; started <= server->conf->threads; started++) {
        struct worker *worker = &server->workers[started];
        worker->server = server;
        if (!start_worker(worker, started < server->conf->threads ? work : stand_by))
            break;
    }
    bool good = started == server->conf->threads + 1 && start_listening(server);
    if (good) {
        server->calls->started(server->calls->shared);
        watch(server, signals);
        stop(server, signals);
    }
    stop_workers(server, started);
    return good;
}

bool server_run(const struct conf_fcgi *conf, struct listener *listener,
                const struct server_calls *calls, char *why, size_t why_size)
{
    struct server server = {
        .why = why, .why_size = why_size, .conf = conf, .calls = calls, .listener = listener};
    sigset_t signals;
    signals_of_server(&signals);
    init_libfcgi();
    bool good = server_init(&server) && run(&server, &signals);
    server_destroy(&server);
    return good;
}
