/* SPDX-License-Identifier: MIT
 * Lists that share a statement. */
#include "http/coalesce.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

struct coalesce {
    pthread_mutex_t lock;
    unsigned under_way;
    int64_t begun;                 /* the last of them */
    struct coalesce_waiter *first; /* of those that wait */
    struct coalesce_waiter **end;  /* where the next is put */
};

static struct coalesce_waiter *take_all(struct coalesce *coalesce)
{
    struct coalesce_waiter *all = coalesce->first;
    coalesce->first = NULL;
    coalesce->end = &coalesce->first;
    return all;
}

/* Begins a round, if it is time for one and anybody waits. */
static struct coalesce_waiter *begin(struct coalesce *coalesce, int64_t now)
{
    if (!coalesce->first || (coalesce->under_way >= COALESCE_CONCURRENT &&
                             now - coalesce->begun < COALESCE_PATIENCE_MS))
        return NULL;
    coalesce->under_way++;
    coalesce->begun = now;
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
    coalesce->under_way--;
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
