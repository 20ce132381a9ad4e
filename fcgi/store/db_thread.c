/* SPDX-License-Identifier: MIT
 * Detached threads, counted. */
#include "store/db_thread.h"

#include "base/clock.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

/* Of all kinds together. */
static atomic_int under_way;

struct task {
    void (*body)(void *);
    void *argument;
    atomic_int *count;
};

static void *run(void *argument)
{
    struct task task = *(struct task *)argument;
    free(argument);
    task.body(task.argument);
    atomic_fetch_sub(task.count, 1);
    atomic_fetch_sub(&under_way, 1);
    return NULL;
}

static bool start(struct task *task, size_t stack_size)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_size);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attributes, run, task) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

bool db_thread_start(atomic_int *count, int max, size_t stack_size, void (*body)(void *),
                     void *argument)
{
    struct task *task = malloc(sizeof *task);
    atomic_fetch_add(&under_way, 1);
    bool fits = atomic_fetch_add(count, 1) < max;
    if (task)
        *task = (struct task){body, argument, count};
    if (task && fits && start(task, stack_size))
        return true;
    free(task);
    atomic_fetch_sub(count, 1);
    atomic_fetch_sub(&under_way, 1);
    return false;
}

bool db_thread_settle(int64_t deadline)
{
    while (atomic_load(&under_way) > 0) {
        if (clock_ms() >= deadline)
            return false;
        poll(NULL, 0, 10);
    }
    return true;
}
