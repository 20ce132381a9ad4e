/* SPDX-License-Identifier: MIT
 * Who waits for requests, and who follows. */
#include "leaders.h"

void leaders_init(struct leaders *leaders, unsigned most)
{
    *leaders = (struct leaders){.most = most};
    pthread_mutex_init(&leaders->lock, NULL);
    pthread_cond_init(&leaders->vacancy, NULL);
}

void leaders_destroy(struct leaders *leaders)
{
    pthread_cond_destroy(&leaders->vacancy);
    pthread_mutex_destroy(&leaders->lock);
}

bool leaders_join(struct leaders *leaders, bool *leads)
{
    pthread_mutex_lock(&leaders->lock);
    while (!*leads && !leaders->ended) {
        if (leaders->count < leaders->most) {
            leaders->count++;
            *leads = true;
        } else {
            pthread_cond_wait(&leaders->vacancy, &leaders->lock);
        }
    }
    bool ended = leaders->ended;
    pthread_mutex_unlock(&leaders->lock);
    return !ended;
}

void leaders_step_down(struct leaders *leaders, bool *leads)
{
    pthread_mutex_lock(&leaders->lock);
    if (*leads) {
        *leads = false;
        leaders->count--;
        /* Others are left to follow while one leads: who steps down is soon back. */
        if (leaders->count == 0)
            pthread_cond_signal(&leaders->vacancy);
    }
    pthread_mutex_unlock(&leaders->lock);
}

void leaders_end(struct leaders *leaders)
{
    pthread_mutex_lock(&leaders->lock);
    leaders->ended = true;
    pthread_cond_broadcast(&leaders->vacancy);
    pthread_mutex_unlock(&leaders->lock);
}
