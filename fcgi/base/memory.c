/* SPDX-License-Identifier: MIT
 * Memory that is given back. */
#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Drops the segments of one object that nobody writes to: they are what its file holds. */
static int drop_segments(struct dl_phdr_info *info, size_t size, void *unused)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
            continue;
        uintptr_t begin = (info->dlpi_addr + segment->p_vaddr + page - 1) / page * page;
        uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz) / page * page;
        if (begin < end)
            /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
            madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void memory_drop_code(void)
{
    dl_iterate_phdr(drop_segments, NULL);
}

void memory_trim_heap(void)
{
    malloc_trim(0);
}
