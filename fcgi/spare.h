/* SPDX-License-Identifier: MIT
 *
 * spare: memory for libraries that do not survive a want of it.
 *
 * libfcgi ends the process where malloc fails (its own assert), and json-c's parser reads
 * through the NULL that strdup has given it. So it is looked first whether there is enough.
 * What has just been free on this thread most likely is so in a moment: a thread has its own
 * part of the heap, and what is given back to it stays. Not more than likely, though.
 */
#ifndef BBM_SPARE_H
#define BBM_SPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static inline bool spare_memory(size_t size)
{
    void *volatile probe = malloc(size); /* volatile: or the compiler leaves out both calls */
    bool there = probe != NULL;
    free(probe);
    return there;
}

#endif
