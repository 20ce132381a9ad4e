/* SPDX-License-Identifier: MIT
 * The last list's text, and the rows it was made from. */
#include "rendered.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct rendering {
    atomic_uint holders;
    struct migrations migrations;
    size_t len;
    char text[];
};

struct rendered {
    pthread_mutex_t lock;
    struct rendering *last; /* NULL: none yet */
};

static bool same_span(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static bool same_maybe(struct maybe a, struct maybe b)
{
    return a.given == b.given && (!a.given || a.value == b.value);
}

/* Every field: one left out here would be one that is told wrong. */
static bool same_migration(const struct migration *a, const struct migration *b)
{
    return a->id == b->id && same_span(a->name, b->name) && a->status == b->status &&
           same_span(a->job_signature_name, b->job_signature_name) &&
           same_span(a->table_name, b->table_name) && same_span(a->column_name, b->column_name) &&
           a->batch_size == b->batch_size && same_maybe(a->sub_batch_size, b->sub_batch_size) &&
           a->min_value == b->min_value && a->max_value == b->max_value &&
           same_span(a->batching_strategy, b->batching_strategy) &&
           same_maybe(a->total_tuple_count, b->total_tuple_count) &&
           same_maybe(a->failure_error_code, b->failure_error_code) &&
           same_maybe(a->created_at, b->created_at) && same_maybe(a->updated_at, b->updated_at) &&
           same_maybe(a->started_at, b->started_at) && same_maybe(a->finished_at, b->finished_at) &&
           a->finished_jobs == b->finished_jobs && a->failed_jobs == b->failed_jobs &&
           same_maybe(a->pace, b->pace);
}

static bool same_rows(const struct migrations *a, const struct migrations *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_migration(&a->rows[i], &b->rows[i]);
    return same;
}

struct rendering *rendered_find(struct rendered *rendered, const struct migrations *migrations)
{
    pthread_mutex_lock(&rendered->lock);
    struct rendering *last = rendered->last;
    if (last)
        atomic_fetch_add(&last->holders, 1);
    pthread_mutex_unlock(&rendered->lock);
    if (!last || same_rows(&last->migrations, migrations))
        return last;
    rendering_drop(last);
    return NULL;
}

size_t rendered_len(struct rendered *rendered)
{
    pthread_mutex_lock(&rendered->lock);
    size_t len = rendered->last ? rendered->last->len : 0;
    pthread_mutex_unlock(&rendered->lock);
    return len;
}

struct rendering *rendered_keep(struct rendered *rendered, struct migrations *migrations,
                                const char *text, size_t len)
{
    struct rendering *fresh = malloc(sizeof *fresh + len);
    if (!fresh)
        return NULL;
    atomic_init(&fresh->holders, 2); /* the caller and `last` */
    fresh->migrations = *migrations;
    *migrations = (struct migrations){0};
    fresh->len = len;
    memcpy(fresh->text, text, len);

    pthread_mutex_lock(&rendered->lock);
    struct rendering *old = rendered->last;
    rendered->last = fresh;
    pthread_mutex_unlock(&rendered->lock);
    rendering_drop(old);
    return fresh;
}

const char *rendering_text(const struct rendering *rendering, size_t *len)
{
    *len = rendering->len;
    return rendering->text;
}

struct rendering *rendering_hold(struct rendering *rendering)
{
    if (rendering)
        atomic_fetch_add(&rendering->holders, 1);
    return rendering;
}

void rendering_drop(struct rendering *rendering)
{
    if (!rendering || atomic_fetch_sub(&rendering->holders, 1) != 1)
        return;
    store_migrations_free(&rendering->migrations);
    free(rendering);
}

struct rendered *rendered_new(void)
{
    struct rendered *rendered = calloc(1, sizeof *rendered);
    if (rendered)
        pthread_mutex_init(&rendered->lock, NULL);
    return rendered;
}

void rendered_free(struct rendered *rendered)
{
    if (!rendered)
        return;
    rendering_drop(rendered->last);
    pthread_mutex_destroy(&rendered->lock);
    free(rendered);
}
