/* SPDX-License-Identifier: MIT
 * Lists that share a statement. */
#include "rounds.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

struct rounds {
    pthread_mutex_t lock;
    unsigned under_way;
    int64_t begun;              /* the last of them */
    struct rounds_asker *first; /* of those that wait */
    struct rounds_asker **end;  /* where the next is put */
};

static struct rounds_asker *take_all(struct rounds *rounds)
{
    struct rounds_asker *all = rounds->first;
    rounds->first = NULL;
    rounds->end = &rounds->first;
    return all;
}

/* Begins a round, if it is time for one and anybody waits. */
static struct rounds_asker *begin(struct rounds *rounds, int64_t now)
{
    if (!rounds->first ||
        (rounds->under_way >= ROUNDS_USUAL && now - rounds->begun < ROUNDS_PATIENCE))
        return NULL;
    rounds->under_way++;
    rounds->begun = now;
    return take_all(rounds);
}

struct rounds_asker *rounds_join(struct rounds *rounds, struct rounds_asker *asker, int64_t now)
{
    *asker = (struct rounds_asker){.since = now};
    pthread_mutex_lock(&rounds->lock);
    *rounds->end = asker;
    rounds->end = &asker->next;
    struct rounds_asker *all = begin(rounds, now);
    pthread_mutex_unlock(&rounds->lock);
    return all;
}

struct rounds_asker *rounds_begin(struct rounds *rounds, int64_t now)
{
    pthread_mutex_lock(&rounds->lock);
    struct rounds_asker *all = begin(rounds, now);
    pthread_mutex_unlock(&rounds->lock);
    return all;
}

bool rounds_end(struct rounds *rounds)
{
    pthread_mutex_lock(&rounds->lock);
    rounds->under_way--;
    bool waits = rounds->first != NULL;
    pthread_mutex_unlock(&rounds->lock);
    return waits;
}

int64_t rounds_age(struct rounds *rounds, int64_t now)
{
    pthread_mutex_lock(&rounds->lock);
    int64_t age = rounds->first ? now - rounds->first->since : -1;
    pthread_mutex_unlock(&rounds->lock);
    return age;
}

struct rounds_asker *rounds_clear(struct rounds *rounds)
{
    pthread_mutex_lock(&rounds->lock);
    struct rounds_asker *all = take_all(rounds);
    pthread_mutex_unlock(&rounds->lock);
    return all;
}

struct rounds *rounds_new(void)
{
    struct rounds *rounds = calloc(1, sizeof *rounds);
    if (!rounds)
        return NULL;
    pthread_mutex_init(&rounds->lock, NULL);
    rounds->end = &rounds->first;
    return rounds;
}

void rounds_free(struct rounds *rounds)
{
    if (!rounds)
        return;
    pthread_mutex_destroy(&rounds->lock);
    free(rounds);
}
