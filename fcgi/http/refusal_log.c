/* SPDX-License-Identifier: MIT
 * Refusals of one kind, counted by address. */
#include "http/refusal_log.h"

#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kinds that are counted at once, in sets of a few: a kind's set follows from its hash. A new kind
 * takes the place of the oldest of its set. */
#define SETS 64
#define WAYS 4

struct kind {
    char address[64]; /* cut to fit; "" where the place is free */
    char reason[96];
    int64_t since; /* when the period began */
    int64_t count; /* refusals in the period */
};

struct refusal_log {
    pthread_mutex_t lock;
    struct kind kinds[SETS][WAYS];
};

struct refusal_log *refusal_log_new(void)
{
    struct refusal_log *refusals = calloc(1, sizeof *refusals);
    if (refusals)
        pthread_mutex_init(&refusals->lock, NULL);
    return refusals;
}

/* Logs the sum of what had no line of its own, and frees the place. */
static void end_period(struct kind *kind)
{
    const struct log_field fields[] = {
        {"remote_ip", LOG_STRING, kind->address, 0},
        {"reason", LOG_STRING, kind->reason, 0},
        {"count", LOG_INTEGER, NULL, kind->count - REFUSAL_LOG_LINES},
    };
    if (kind->count > REFUSAL_LOG_LINES)
        log_event(LOG_WARN, "more refusals", fields, sizeof fields / sizeof fields[0]);
    *kind = (struct kind){.count = 0};
}

static bool is_over(const struct kind *kind, int64_t now)
{
    return kind->address[0] && now - kind->since >= REFUSAL_LOG_PERIOD;
}

/* FNV-1a. An attacker who makes kinds collide loses counts of their own alone. */
static unsigned hash(const char *address, const char *reason)
{
    uint32_t value = 2166136261U;
    for (const char *text = address; *text; text++)
        value = (value ^ (unsigned char)*text) * 16777619U;
    for (const char *text = reason; *text; text++)
        value = (value ^ (unsigned char)*text) * 16777619U;
    return value % SETS;
}

/* The place of this kind, free or its own. */
static struct kind *find(struct kind *set, const char *address, const char *reason)
{
    struct kind *oldest = set;
    for (struct kind *kind = set; kind < set + WAYS; kind++) {
        if (strcmp(kind->address, address) == 0 && strcmp(kind->reason, reason) == 0)
            return kind;
        if (kind->since < oldest->since)
            oldest = kind;
    }
    end_period(oldest);
    return oldest;
}

bool refusal_log_admit(struct refusal_log *refusals, const char *address, const char *reason,
                       int64_t now)
{
    char cut_address[sizeof((struct kind *)0)->address];
    char cut_reason[sizeof((struct kind *)0)->reason];
    snprintf(cut_address, sizeof cut_address, "%s", *address ? address : "unknown");
    snprintf(cut_reason, sizeof cut_reason, "%s", reason);
    pthread_mutex_lock(&refusals->lock);
    struct kind *kind =
        find(refusals->kinds[hash(cut_address, cut_reason)], cut_address, cut_reason);
    if (is_over(kind, now))
        end_period(kind);
    if (kind->count == 0) {
        memcpy(kind->address, cut_address, sizeof cut_address);
        memcpy(kind->reason, cut_reason, sizeof cut_reason);
        kind->since = now;
    }
    bool admitted = ++kind->count <= REFUSAL_LOG_LINES;
    pthread_mutex_unlock(&refusals->lock);
    return admitted;
}

static void flush(struct refusal_log *refusals, int64_t now, bool all)
{
    pthread_mutex_lock(&refusals->lock);
    for (size_t set = 0; set < SETS; set++) {
        for (size_t way = 0; way < WAYS; way++) {
            struct kind *kind = &refusals->kinds[set][way];
            if (all || is_over(kind, now))
                end_period(kind);
        }
    }
    pthread_mutex_unlock(&refusals->lock);
}

void refusal_log_flush(struct refusal_log *refusals, int64_t now)
{
    flush(refusals, now, false);
}

void refusal_log_free(struct refusal_log *refusals)
{
    if (!refusals)
        return;
    flush(refusals, 0, true);
    pthread_mutex_destroy(&refusals->lock);
    free(refusals);
}
