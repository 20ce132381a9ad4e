/* SPDX-License-Identifier: MIT
 * Requests that share one run of a handler. */
#include "http/coalesce.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

struct coalesce {
    pthread_mutex_t lock;
    unsigned running;              /* batches */
    int64_t started;               /* when the last of them did */
    struct coalesce_waiter *first; /* waits longest; NULL: nobody waits */
    struct coalesce_waiter **end;  /* where the next one is put */
};

static struct coalesce_waiter *take_all(struct coalesce *coalesce)
{
    struct coalesce_waiter *all = coalesce->first;
    coalesce->first = NULL;
    coalesce->end = &coalesce->first;
    return all;
}

/* Starts a batch, if somebody waits and it is time. */
static struct coalesce_waiter *begin(struct coalesce *coalesce, int64_t now)
{
    if (!coalesce->first ||
        (coalesce->running > 0 && now - coalesce->started < COALESCE_PATIENCE_MS))
        return NULL;
    coalesce->running++;
    coalesce->started = now;
    return take_all(coalesce);
}

struct coalesce_waiter *coalesce_join(struct coalesce *coalesce, struct coalesce_waiter *waiter,
                                      int64_t now)
{
    *waiter = (struct coalesce_waiter){.since = now};
    pthread_mutex_lock(&coalesce->lock);
    *coalesce->end = waiter;
    coalesce->end = &waiter->next;
    struct coalesce_waiter *all = begin(coalesce, now);
    pthread_mutex_unlock(&coalesce->lock);
    return all;
}

struct coalesce_waiter *coalesce_begin(struct coalesce *coalesce, int64_t now)
{
    pthread_mutex_lock(&coalesce->lock);
    struct coalesce_waiter *all = begin(coalesce, now);
    pthread_mutex_unlock(&coalesce->lock);
    return all;
}

bool coalesce_end(struct coalesce *coalesce)
{
    pthread_mutex_lock(&coalesce->lock);
    coalesce->running--;
    bool waits = coalesce->first != NULL;
    pthread_mutex_unlock(&coalesce->lock);
    return waits;
}

int64_t coalesce_age(struct coalesce *coalesce, int64_t now)
{
    pthread_mutex_lock(&coalesce->lock);
    int64_t age = coalesce->first ? now - coalesce->first->since : -1;
    pthread_mutex_unlock(&coalesce->lock);
    return age;
}

struct coalesce_waiter *coalesce_clear(struct coalesce *coalesce)
{
    pthread_mutex_lock(&coalesce->lock);
    struct coalesce_waiter *all = take_all(coalesce);
    pthread_mutex_unlock(&coalesce->lock);
    return all;
}

struct coalesce *coalesce_new(void)
{
    struct coalesce *coalesce = calloc(1, sizeof *coalesce);
    if (!coalesce)
        return NULL;
    pthread_mutex_init(&coalesce->lock, NULL);
    coalesce->end = &coalesce->first;
    return coalesce;
}

void coalesce_free(struct coalesce *coalesce)
{
    if (!coalesce)
        return;
    pthread_mutex_destroy(&coalesce->lock);
    free(coalesce);
}
