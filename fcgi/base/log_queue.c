/* SPDX-License-Identifier: MIT
 * The queue before stderr, and its thread. */
#include "base/log_queue.h"

#include "base/metrics.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The thread formats one line of its own, and calls nothing deep. */
#define STACK_SIZE ((size_t)64 * 1024)

/* After a write, new lines wait for further ones to be written with them: GATHER_MS milliseconds,
 * or until there are LOG_QUEUE_GATHERED bytes. A wake-up and a write for each line would be a third
 * of the system calls of a request. */
#define GATHER_MS          5
#define LOG_QUEUE_GATHERED (LOG_QUEUE_SIZE / 8)

enum state {
    DIRECT,  /* there is no thread, and lines are written at once */
    HOLDING, /* there is no thread yet */
    RUNNING, /* lines go to the thread */
    ENDING,  /* it shall end when all lines are written */
    ENDED,
    STUCK, /* it did not end in time */
};

/* Two buffers that take turns: one is filled while the other is written. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* there are lines, or the state is another */
    enum state state;
    bool waits;   /* the thread, for lines */
    bool gathers; /* the thread waits for more lines, or for one of the audit log */
    char *filling;
    size_t used; /* of the buffer that is filled */
    uint64_t lost;
    pthread_t thread;
    void (*report)(uint64_t lost);
    char buffers[2][LOG_QUEUE_SIZE];
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- writing ---- */

static size_t count_lines(const char *at, size_t len)
{
    size_t count = 0;
    for (const char *end = at + len; (at = memchr(at, '\n', (size_t)(end - at))); at++)
        count++;
    return count;
}

/* Writes it all, however long the reader takes. Returns how many bytes could be written. */
static size_t write_all(const char *at, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t wrote = write(STDERR_FILENO, at + done, len - done);
        if (wrote > 0) {
            done += (size_t)wrote;
        } else if (wrote < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
            poll(&room, 1, -1);
        } else if (wrote == 0 || errno != EINTR) {
            break;
        }
    }
    return done;
}

/* How many of the first bytes go together: whole lines, as many as a pipe takes in one piece
 * beside another process's; a longer line alone. */
static size_t piece_of(const char *at, size_t len)
{
    if (len <= PIPE_BUF)
        return len;
    const char *end = memrchr(at, '\n', PIPE_BUF);
    if (!end)
        end = memchr(at, '\n', len);
    return (size_t)(end - at) + 1;
}

/* Writes whole lines. Returns how many were lost. */
static size_t write_lines(const char *at, size_t len)
{
    static bool torn; /* the last line that was written has no end; used by one thread at a time */
    while (len > 0) {
        size_t piece = piece_of(at, len);
        if (torn && write_all("\n", 1) < 1)
            break;
        torn = false;
        size_t done = write_all(at, piece);
        if (done < piece) {
            torn = done > 0 && at[done - 1] != '\n';
            return count_lines(at + done, len - done);
        }
        at += piece;
        len -= piece;
    }
    return count_lines(at, len);
}

/* ---- the thread ---- */

/* Lets lines gather, with the lock held. */
static void gather(void)
{
    struct timespec end;
    int error = 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += GATHER_MS * 1000000L;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    queue.gathers = true;
    while (queue.gathers && queue.state == RUNNING && error == 0)
        error = pthread_cond_clockwait(&queue.changed, &queue.lock, CLOCK_MONOTONIC, &end);
    queue.gathers = false;
}

/* Waits for lines and takes them. Returns their length; 0 at the end. */
static size_t take(const char **lines)
{
    static bool wrote; /* used by one thread at a time */
    pthread_mutex_lock(&queue.lock);
    if (wrote)
        gather();
    while (queue.used == 0 && queue.state == RUNNING) {
        queue.waits = true;
        pthread_cond_wait(&queue.changed, &queue.lock);
    }
    queue.waits = false;
    size_t len = queue.used;
    *lines = queue.filling;
    queue.filling = queue.filling == queue.buffers[0] ? queue.buffers[1] : queue.buffers[0];
    queue.used = 0;
    wrote = len > 0;
    if (len == 0) {
        queue.state = ENDED;
        pthread_cond_broadcast(&queue.changed);
    }
    pthread_mutex_unlock(&queue.lock);
    return len;
}

/* Counts further lost lines; to be called with the lock held. */
static void lose(size_t count, bool audit)
{
    queue.lost += count;
    metrics_log_lost(audit, count);
}

/* Reports what was lost, where there is room for one more line. */
static void report_lost(void)
{
    uint64_t lost = 0;
    pthread_mutex_lock(&queue.lock);
    if (queue.used < LOG_QUEUE_SIZE / 2) {
        lost = queue.lost;
        queue.lost = 0;
    }
    pthread_mutex_unlock(&queue.lock);
    if (lost > 0)
        queue.report(lost);
}

static void *work(void *unused)
{
    const char *lines;
    size_t len;
    bool good = true; /* while stderr fails, the report would be lost, too */
    while ((len = take(&lines)) > 0) {
        if (good)
            report_lost();
        size_t lost = write_lines(lines, len);
        good = lost == 0;
        if (good) {
            report_lost();
            continue;
        }
        pthread_mutex_lock(&queue.lock);
        lose(lost, false);
        pthread_mutex_unlock(&queue.lock);
    }
    return unused;
}

void log_queue_hold(void)
{
    queue.filling = queue.buffers[0];
    queue.state = HOLDING;
}

int log_queue_start(void (*report)(uint64_t lost))
{
    pthread_attr_t attributes;
    if (queue.state != HOLDING)
        log_queue_hold();
    queue.report = report;
    queue.state = RUNNING;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = pthread_create(&queue.thread, &attributes, work, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        queue.state = HOLDING;
    return error;
}

bool log_queue_stop(int64_t ms)
{
    struct timespec end;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += ms % 1000 * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&queue.lock);
    if (queue.state == HOLDING) {
        lose(write_lines(queue.filling, queue.used), false);
        queue.used = 0;
        queue.state = DIRECT;
    }
    if (queue.state == RUNNING)
        queue.state = ENDING;
    pthread_cond_broadcast(&queue.changed);
    while (queue.state == ENDING && error == 0)
        error = pthread_cond_timedwait(&queue.changed, &queue.lock, &end);
    bool ended = queue.state == ENDED;
    if (queue.state == ENDING)
        queue.state = STUCK;
    else if (ended)
        queue.state = DIRECT;
    bool good = queue.state == DIRECT;
    pthread_mutex_unlock(&queue.lock);
    if (ended)
        pthread_join(queue.thread, NULL);
    return good;
}

/* ---- the others ---- */

void log_queue_put(const char *lines, size_t len, bool audit)
{
    size_t room = audit ? LOG_QUEUE_SIZE : LOG_QUEUE_SIZE - LOG_QUEUE_AUDIT;
    bool wakes = false;
    pthread_mutex_lock(&queue.lock);
    if (queue.state == DIRECT) {
        lose(write_lines(lines, len), audit);
    } else if (queue.state == STUCK || queue.used + len > room) {
        lose(count_lines(lines, len), audit);
    } else {
        memcpy(queue.filling + queue.used, lines, len);
        queue.used += len;
        wakes = queue.waits || (queue.gathers && (audit || queue.used >= LOG_QUEUE_GATHERED));
        if (wakes)
            queue.waits = queue.gathers = false;
    }
    pthread_mutex_unlock(&queue.lock);
    /* Not before: the thread would wake only to wait for the lock. */
    if (wakes)
        pthread_cond_signal(&queue.changed);
}
