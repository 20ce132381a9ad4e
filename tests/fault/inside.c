/* SPDX-License-Identifier: MIT
 * Has the allocation fail that a test asks for, inside of a library.
 *
 * The program's own malloc takes the place of the C library's for everybody: json-c, libpq, libjwt,
 * libcrypto, libfcgi, and the C library itself, whose streams grow by it. Who has called is told by
 * the return address. Those of fcgi/ pass: fail.c sees to them.
 *
 * Not under ThreadSanitizer, which has to be everybody's malloc itself. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#include "plan.h"

#ifndef __SANITIZE_THREAD__

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const char __executable_start[];
extern const char etext[];

/* All this may run before a sanitizer is ready to watch it. */
#define UNWATCHED __attribute__((no_sanitize("address"), no_sanitize("undefined")))

UNWATCHED static bool fails_inside(const void *caller)
{
    Dl_info info;
    if (!plan || !atomic_load(&plan->inside) || atomic_load(&plan->countdown) <= 0)
        return false;
    bool ours = (const char *)caller >= __executable_start && (const char *)caller < etext;
    /* Where memory has run out, it has for all. */
    if (ours && !(atomic_load(&plan->on) && atomic_load(&plan->fired)))
        return false;
    const char *file = dladdr(caller, &info) && info.dli_fname ? info.dli_fname : "?";
    const char *slash = strrchr(file, '/');
    if (!plan_hits(slash ? slash + 1 : file))
        return false;
    errno = ENOMEM;
    return true;
}

static __typeof__(malloc) *real_malloc;
static __typeof__(calloc) *real_calloc;
static __typeof__(realloc) *real_realloc;

/* What comes next behind us: the C library's, or a sanitizer's. */
UNWATCHED static void find(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

#define NEXT(name) (real_##name ? (void)0 : find(&real_##name, #name), real_##name)

UNWATCHED void *malloc(size_t size)
{
    return fails_inside(__builtin_return_address(0)) ? NULL : NEXT(malloc)(size);
}

UNWATCHED void *calloc(size_t count, size_t size)
{
    return fails_inside(__builtin_return_address(0)) ? NULL : NEXT(calloc)(count, size);
}

UNWATCHED void *realloc(void *old, size_t size)
{
    return fails_inside(__builtin_return_address(0)) ? NULL : NEXT(realloc)(old, size);
}

/* Not the C library's, in whose name it would call malloc. */
UNWATCHED static char *copy(const char *s, size_t len, const void *caller)
{
    char *to = fails_inside(caller) ? NULL : NEXT(malloc)(len + 1);
    if (to) {
        memcpy(to, s, len);
        to[len] = '\0';
    }
    return to;
}

UNWATCHED char *strdup(const char *s)
{
    return copy(s, strlen(s), __builtin_return_address(0));
}

UNWATCHED char *strndup(const char *s, size_t len)
{
    return copy(s, strnlen(s, len), __builtin_return_address(0));
}

#endif
