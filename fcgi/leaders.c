/* SPDX-License-Identifier: MIT
 * Who waits for requests, and who follows. */
#include "leaders.h"

#include <pthread.h>
#include <stdlib.h>

struct thread {
    bool leads;
    bool follows; /* waits to be called */
    pthread_cond_t called;
};

struct leaders {
    pthread_mutex_t lock;
    size_t most; /* that may lead */
    size_t count;
    bool ended;
    size_t size;
    struct thread threads[];
};

struct leaders *leaders_new(size_t threads)
{
    struct leaders *leaders = calloc(1, sizeof *leaders + threads * sizeof *leaders->threads);
    if (!leaders)
        return NULL;
    leaders->most = LEADERS_USUAL;
    leaders->size = threads;
    pthread_mutex_init(&leaders->lock, NULL);
    for (size_t i = 0; i < threads; i++)
        pthread_cond_init(&leaders->threads[i].called, NULL);
    return leaders;
}

void leaders_free(struct leaders *leaders)
{
    if (!leaders)
        return;
    for (size_t i = 0; i < leaders->size; i++)
        pthread_cond_destroy(&leaders->threads[i].called);
    pthread_mutex_destroy(&leaders->lock);
    free(leaders);
}

/* Calls so many of those that follow, the first first. */
static void call(struct leaders *leaders, size_t wanted)
{
    for (size_t i = 0; i < leaders->size && wanted > 0; i++) {
        struct thread *thread = &leaders->threads[i];
        if (!thread->follows)
            continue;
        thread->follows = false;
        pthread_cond_signal(&thread->called);
        wanted--;
    }
}

bool leaders_join(struct leaders *leaders, size_t thread)
{
    struct thread *self = &leaders->threads[thread];
    pthread_mutex_lock(&leaders->lock);
    if (self->leads)
        leaders->count--;
    while (leaders->count >= leaders->most && !leaders->ended) {
        self->leads = false;
        self->follows = true;
        pthread_cond_wait(&self->called, &leaders->lock);
    }
    self->leads = true;
    self->follows = false;
    leaders->count++;
    bool ended = leaders->ended;
    pthread_mutex_unlock(&leaders->lock);
    return !ended;
}

void leaders_step_down(struct leaders *leaders, size_t thread)
{
    pthread_mutex_lock(&leaders->lock);
    if (leaders->threads[thread].leads) {
        leaders->threads[thread].leads = false;
        leaders->count--;
        /* Others are left to follow while one leads: who steps down is mostly soon back. */
        if (leaders->count == 0)
            call(leaders, 1);
    }
    pthread_mutex_unlock(&leaders->lock);
}

void leaders_held_up(struct leaders *leaders, bool some)
{
    pthread_mutex_lock(&leaders->lock);
    leaders->most = some ? leaders->size : LEADERS_USUAL;
    if (some)
        call(leaders, leaders->size);
    pthread_mutex_unlock(&leaders->lock);
}

void leaders_end(struct leaders *leaders)
{
    pthread_mutex_lock(&leaders->lock);
    leaders->ended = true;
    call(leaders, leaders->size);
    pthread_mutex_unlock(&leaders->lock);
}
