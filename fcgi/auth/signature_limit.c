/* SPDX-License-Identifier: MIT
 * At most half of the threads verify signatures at the same time. */
#include "auth/signature_limit.h"

#include <pthread.h>
#include <stdlib.h>

struct signature_limit {
    unsigned flood;       /* this many refused tokens in a row are a flood */
    pthread_mutex_t lock; /* guards the next two */
    unsigned free;        /* threads that may still begin */
    unsigned refused;     /* tokens in a row, up to now; counted up to `flood` */
    pthread_cond_t ended; /* a thread has ended */
};

struct signature_limit *signature_limit_new(unsigned threads)
{
    struct signature_limit *limit = calloc(1, sizeof *limit);
    if (!limit)
        return NULL;
    limit->free = threads > 1 ? threads / 2 : 1;
    /* More than a few clients with a bad token send, and less than a flood sends in a moment. */
    limit->flood = 2 * limit->free + 8;
    pthread_mutex_init(&limit->lock, NULL);
    pthread_cond_init(&limit->ended, NULL);
    return limit;
}

void signature_limit_free(struct signature_limit *limit)
{
    if (!limit)
        return;
    pthread_cond_destroy(&limit->ended);
    pthread_mutex_destroy(&limit->lock);
    free(limit);
}

bool signature_limit_begin(struct signature_limit *limit)
{
    pthread_mutex_lock(&limit->lock);
    while (limit->free == 0 && limit->refused < limit->flood)
        pthread_cond_wait(&limit->ended, &limit->lock);
    bool may = limit->free > 0;
    if (may)
        limit->free--;
    pthread_mutex_unlock(&limit->lock);
    return may;
}

void signature_limit_end(struct signature_limit *limit, bool good)
{
    pthread_mutex_lock(&limit->lock);
    limit->free++;
    limit->refused = good ? 0 : limit->refused + (limit->refused < limit->flood);
    /* Wakes all: none goes on waiting when a flood begins. */
    pthread_cond_broadcast(&limit->ended);
    pthread_mutex_unlock(&limit->lock);
}
