/* SPDX-License-Identifier: MIT
 * Leaders and followers. */
#include "server/leader_pool.h"

#include <pthread.h>
#include <stdlib.h>

struct thread {
    bool leads;
    bool follows; /* sleeps until it is called */
    pthread_cond_t called;
};

struct leader_pool {
    pthread_mutex_t lock;
    size_t most; /* how many may lead */
    size_t count;
    bool ended;
    size_t size;
    struct thread threads[];
};

struct leader_pool *leader_pool_new(size_t threads)
{
    struct leader_pool *leader_pool =
        calloc(1, sizeof *leader_pool + threads * sizeof *leader_pool->threads);
    if (!leader_pool)
        return NULL;
    leader_pool->most = LEADER_POOL_LEADERS;
    leader_pool->size = threads;
    pthread_mutex_init(&leader_pool->lock, NULL);
    for (size_t i = 0; i < threads; i++)
        pthread_cond_init(&leader_pool->threads[i].called, NULL);
    return leader_pool;
}

void leader_pool_free(struct leader_pool *leader_pool)
{
    if (!leader_pool)
        return;
    for (size_t i = 0; i < leader_pool->size; i++)
        pthread_cond_destroy(&leader_pool->threads[i].called);
    pthread_mutex_destroy(&leader_pool->lock);
    free(leader_pool);
}

/* Wakes up to `wanted` followers, those with the lowest numbers first. */
static void call(struct leader_pool *leader_pool, size_t wanted)
{
    for (size_t i = 0; i < leader_pool->size && wanted > 0; i++) {
        struct thread *thread = &leader_pool->threads[i];
        if (!thread->follows)
            continue;
        thread->follows = false;
        pthread_cond_signal(&thread->called);
        wanted--;
    }
}

bool leader_pool_join(struct leader_pool *leader_pool, size_t thread)
{
    struct thread *self = &leader_pool->threads[thread];
    pthread_mutex_lock(&leader_pool->lock);
    if (self->leads)
        leader_pool->count--;
    while (leader_pool->count >= leader_pool->most && !leader_pool->ended) {
        self->leads = false;
        self->follows = true;
        pthread_cond_wait(&self->called, &leader_pool->lock);
    }
    self->leads = true;
    self->follows = false;
    leader_pool->count++;
    bool ended = leader_pool->ended;
    pthread_mutex_unlock(&leader_pool->lock);
    return !ended;
}

void leader_pool_step_down(struct leader_pool *leader_pool, size_t thread)
{
    pthread_mutex_lock(&leader_pool->lock);
    if (leader_pool->threads[thread].leads) {
        leader_pool->threads[thread].leads = false;
        leader_pool->count--;
        /* While one leads, the others sleep: the thread that steps down is mostly back soon. */
        if (leader_pool->count == 0)
            call(leader_pool, 1);
    }
    pthread_mutex_unlock(&leader_pool->lock);
}

void leader_pool_set_blocked(struct leader_pool *leader_pool, bool any)
{
    pthread_mutex_lock(&leader_pool->lock);
    leader_pool->most = any ? leader_pool->size : LEADER_POOL_LEADERS;
    if (any)
        call(leader_pool, leader_pool->size);
    pthread_mutex_unlock(&leader_pool->lock);
}

void leader_pool_end(struct leader_pool *leader_pool)
{
    pthread_mutex_lock(&leader_pool->lock);
    leader_pool->ended = true;
    call(leader_pool, leader_pool->size);
    pthread_mutex_unlock(&leader_pool->lock);
}
