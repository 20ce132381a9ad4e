/* SPDX-License-Identifier: MIT
 * Requests that share one run of a handler. */
#include "http/coalesce.h"

#include <pthread.h>
#include <stdlib.h>

/* The requests for one answer. Free while no batch runs and nobody waits. */
struct coalesce_group {
    handler *handler;
    int64_t id;
    unsigned running;              /* batches */
    int64_t started;               /* when the last of them did */
    struct coalesce_waiter *first; /* waits longest; NULL: nobody waits */
    struct coalesce_waiter **end;  /* where the next one is put */
};

struct coalesce {
    pthread_mutex_t lock;
    struct coalesce_waiter *made; /* out of a batch, to be answered each alone; NULL: none */
    size_t used;                  /* groups that have been in use */
    struct coalesce_group groups[COALESCE_GROUPS];
};

static bool is_free(const struct coalesce_group *group)
{
    return group->running == 0 && !group->first;
}

/* The group of those that ask for the same as this request, or a free one. NULL: there is none. */
static struct coalesce_group *group_of(struct coalesce *coalesce,
                                       const struct coalesce_waiter *waiter)
{
    struct coalesce_group *unused = NULL;
    for (size_t i = 0; i < coalesce->used; i++) {
        struct coalesce_group *group = &coalesce->groups[i];
        if (is_free(group))
            unused = unused ? unused : group;
        else if (group->handler == waiter->handler && group->id == waiter->id)
            return group;
    }
    if (!unused && coalesce->used < COALESCE_GROUPS)
        unused = &coalesce->groups[coalesce->used++];
    if (unused)
        *unused = (struct coalesce_group){
            .handler = waiter->handler, .id = waiter->id, .end = &unused->first};
    return unused;
}

static struct coalesce_waiter *take_all(struct coalesce_group *group)
{
    struct coalesce_waiter *all = group->first;
    group->first = NULL;
    group->end = &group->first;
    return all;
}

/* True where somebody waits and it is time for a batch. */
static bool is_due(const struct coalesce_group *group, int64_t now)
{
    return group->first && (group->running == 0 || now - group->started >= COALESCE_PATIENCE_MS);
}

static struct coalesce_waiter *begin(struct coalesce_group *group, int64_t now)
{
    if (!is_due(group, now))
        return NULL;
    group->running++;
    group->started = now;
    return take_all(group);
}

/* Adds a waiter to its group. */
static void add(struct coalesce_waiter *waiter)
{
    *waiter->group->end = waiter;
    waiter->group->end = &waiter->next;
}

struct coalesce_waiter *coalesce_join(struct coalesce *coalesce, struct coalesce_waiter *waiter,
                                      int64_t now)
{
    struct coalesce_waiter *all = waiter;
    waiter->next = NULL;
    waiter->since = now;
    waiter->made = false;
    pthread_mutex_lock(&coalesce->lock);
    waiter->group = group_of(coalesce, waiter);
    if (waiter->group) {
        add(waiter);
        all = begin(waiter->group, now);
    }
    pthread_mutex_unlock(&coalesce->lock);
    return all;
}

static struct coalesce_waiter *take_made(struct coalesce *coalesce)
{
    struct coalesce_waiter *first = coalesce->made;
    coalesce->made = first->next;
    first->next = NULL;
    return first;
}

struct coalesce_waiter *coalesce_begin(struct coalesce *coalesce, int64_t now, bool *more)
{
    struct coalesce_group *oldest = NULL;
    struct coalesce_waiter *all = NULL;
    size_t due = 0;
    pthread_mutex_lock(&coalesce->lock);
    for (size_t i = 0; i < coalesce->used; i++) {
        struct coalesce_group *group = &coalesce->groups[i];
        if (!is_due(group, now))
            continue;
        due++;
        if (!oldest || group->first->since < oldest->first->since)
            oldest = group;
    }
    if (coalesce->made)
        all = take_made(coalesce);
    else if (oldest)
        all = begin(oldest, now);
    *more = coalesce->made || due > (all && all->group ? 1 : 0);
    pthread_mutex_unlock(&coalesce->lock);
    return all;
}

void coalesce_split(struct coalesce *coalesce, struct coalesce_waiter *batch)
{
    struct coalesce_waiter *rest = batch->next;
    batch->next = NULL;
    for (struct coalesce_waiter *waiter = rest; waiter; waiter = waiter->next) {
        waiter->group = NULL;
        waiter->made = true;
    }
    pthread_mutex_lock(&coalesce->lock);
    struct coalesce_waiter **end = &coalesce->made;
    while (*end)
        end = &(*end)->next;
    *end = rest;
    pthread_mutex_unlock(&coalesce->lock);
}

bool coalesce_end(struct coalesce *coalesce, struct coalesce_group *group)
{
    if (!group)
        return false;
    pthread_mutex_lock(&coalesce->lock);
    group->running--;
    bool waits = group->first != NULL;
    pthread_mutex_unlock(&coalesce->lock);
    return waits;
}

int64_t coalesce_age(struct coalesce *coalesce, int64_t now)
{
    int64_t age = -1;
    pthread_mutex_lock(&coalesce->lock);
    for (const struct coalesce_waiter *waiter = coalesce->made; waiter; waiter = waiter->next)
        age = now - waiter->since > age ? now - waiter->since : age;
    for (size_t i = 0; i < coalesce->used; i++) {
        const struct coalesce_waiter *first = coalesce->groups[i].first;
        if (first && now - first->since > age)
            age = now - first->since;
    }
    pthread_mutex_unlock(&coalesce->lock);
    return age;
}

struct coalesce_waiter *coalesce_clear(struct coalesce *coalesce, int64_t since)
{
    struct coalesce_waiter *all = NULL;
    struct coalesce_waiter **end = &all;
    pthread_mutex_lock(&coalesce->lock);
    for (struct coalesce_waiter **at = &coalesce->made; *at;) {
        struct coalesce_waiter *waiter = *at;
        if (waiter->since > since) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter->next = NULL;
        *end = waiter;
        end = &waiter->next;
    }
    for (size_t i = 0; i < coalesce->used; i++) {
        struct coalesce_group *group = &coalesce->groups[i];
        if (!group->first || group->first->since > since)
            continue;
        struct coalesce_waiter **last = group->end;
        *end = take_all(group);
        end = last;
    }
    pthread_mutex_unlock(&coalesce->lock);
    return all;
}

struct coalesce *coalesce_new(void)
{
    struct coalesce *coalesce = calloc(1, sizeof *coalesce);
    if (coalesce)
        pthread_mutex_init(&coalesce->lock, NULL);
    return coalesce;
}

void coalesce_free(struct coalesce *coalesce)
{
    if (!coalesce)
        return;
    pthread_mutex_destroy(&coalesce->lock);
    free(coalesce);
}
