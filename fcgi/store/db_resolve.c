/* SPDX-License-Identifier: MIT
 * getaddrinfo(3) in a thread of its own, as it has no deadline. */
#include "store/db_resolve.h"

#include "store/db_thread.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Look-ups under way at once, of all threads. With so many, no name server answers. */
#define LOOKUPS_MAX 16

/* The name service's modules are other people's code. */
#define STACK_SIZE ((size_t)1024 * 1024)

/* Shared by the thread that waits and the one that looks up; the last one frees it. */
struct lookup {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    bool abandoned; /* nobody waits any more */
    int failure;    /* of getaddrinfo */
    struct db_addresses addresses;
    char host[512];
};

static atomic_int lookups;

static void lookup_free(struct lookup *lookup)
{
    pthread_cond_destroy(&lookup->done);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup);
}

static struct lookup *lookup_new(const char *host)
{
    pthread_condattr_t attributes;
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup)
        return NULL;
    pthread_mutex_init(&lookup->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* clock_ms()'s */
    pthread_cond_init(&lookup->done, &attributes);
    pthread_condattr_destroy(&attributes);
    snprintf(lookup->host, sizeof lookup->host, "%s", host);
    return lookup;
}

static void add(struct db_addresses *addresses, const struct addrinfo *info)
{
    char *at = addresses->at[addresses->count];
    if (getnameinfo(info->ai_addr, info->ai_addrlen, at, sizeof addresses->at[0], NULL, 0,
                    NI_NUMERICHOST) == 0)
        addresses->count++;
}

static void look_up(void *argument)
{
    struct lookup *lookup = argument;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct db_addresses found = {0};
    struct addrinfo *list = NULL;
    int failure = getaddrinfo(lookup->host, NULL, &hints, &list);
    for (struct addrinfo *info = list; info && found.count < DB_ADDRESSES_MAX; info = info->ai_next)
        add(&found, info);
    if (list)
        freeaddrinfo(list);

    pthread_mutex_lock(&lookup->lock);
    lookup->is_done = true;
    lookup->failure = failure;
    lookup->addresses = found;
    bool abandoned = lookup->abandoned;
    pthread_cond_signal(&lookup->done);
    pthread_mutex_unlock(&lookup->lock);
    if (abandoned)
        lookup_free(lookup);
}

static bool is_numeric(const char *host)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    bool numeric = getaddrinfo(host, NULL, &hints, &list) == 0;
    if (numeric)
        freeaddrinfo(list);
    return numeric;
}

/* True where the look-up came to an end; else the thread that runs it frees it. */
static bool wait_for(struct lookup *lookup, int64_t deadline)
{
    const struct timespec end = {(time_t)(deadline / 1000), (long)(deadline % 1000) * 1000000};
    int waited = 0;
    pthread_mutex_lock(&lookup->lock);
    while (!lookup->is_done && waited == 0)
        waited = pthread_cond_timedwait(&lookup->done, &lookup->lock, &end);
    bool is_done = lookup->is_done;
    lookup->abandoned = !is_done;
    pthread_mutex_unlock(&lookup->lock);
    return is_done;
}

bool db_resolve(const char *host, int64_t deadline, struct db_addresses *addresses,
                struct error *error)
{
    addresses->count = 0;
    if (*host == '\0' || *host == '/' || *host == '@' || is_numeric(host))
        return true;
    struct lookup *lookup = lookup_new(host);
    if (!lookup)
        return error_out_of_memory(error);
    if (!db_thread_start(&lookups, LOOKUPS_MAX, STACK_SIZE, look_up, lookup)) {
        lookup_free(lookup);
        return error_unavailable(error, "cannot look up \"%s\": too many look-ups under way", host);
    }
    if (!wait_for(lookup, deadline))
        return error_unavailable(error, "cannot look up \"%s\": no answer in time", host);
    int failure = lookup->failure;
    *addresses = lookup->addresses;
    lookup_free(lookup);
    if (addresses->count == 0)
        return error_unavailable(error, "cannot look up \"%s\": %s", host,
                                 failure ? gai_strerror(failure) : "it has no address");
    return true;
}
