/* SPDX-License-Identifier: MIT
 * Fault injection inside of libraries: makes the allocation fail that a test chooses.
 *
 * The program's own malloc replaces the C library's for all callers: json-c, libpq, libjwt,
 * libcrypto, libfcgi, and the C library itself. The return address says which library calls. Calls
 * from fcgi/ pass; they fail by fail.c.
 *
 * Not under ThreadSanitizer, which replaces malloc itself. */
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

/* This may run before a sanitizer is initialized. */
#define UNWATCHED __attribute__((no_sanitize("address"), no_sanitize("undefined")))

UNWATCHED static bool fails_inside(const void *caller)
{
    Dl_info info;
    if (!plan || !atomic_load(&plan->inside) || atomic_load(&plan->countdown) <= 0)
        return false;
    bool ours = (const char *)caller >= __executable_start && (const char *)caller < etext;
    /* Once memory has run out, all allocations fail. */
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

/* The next definition: the C library's, or a sanitizer's. */
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

/* Not by the C library's strdup, which would be the caller of malloc then. */
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
