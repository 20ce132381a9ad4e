/* SPDX-License-Identifier: MIT
 * What the kernel knows of this process. */
#include "base/metrics.h"

#include "base/buffer.h"
#include "base/metrics_counters.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Descriptors that are looked at: more than any configuration opens; and how many in one call. */
#define DESCRIPTORS 131072
#define AT_ONCE     1024

/* How many of the descriptors from `first` on are open. poll() says so of many in one call. */
static unsigned count_open(int first, int count)
{
    struct pollfd each[AT_ONCE];
    unsigned open = 0;
    for (int i = 0; i < count; i++)
        each[i] = (struct pollfd){.fd = first + i};
    if (poll(each, (nfds_t)count, 0) < 0)
        return 0;
    for (int i = 0; i < count; i++)
        open += !(each[i].revents & POLLNVAL);
    return open;
}

/* Asks for each descriptor: /proc/self/fd is closed to a process that is not dumpable. A new one
 * gets the lowest free number, so behind many that are free there is none. */
static unsigned count_descriptors(void)
{
    struct rlimit limit = {0};
    unsigned count = 0;
    unsigned open = 1;
    getrlimit(RLIMIT_NOFILE, &limit);
    int most = limit.rlim_cur < DESCRIPTORS ? (int)limit.rlim_cur : DESCRIPTORS;
    for (int first = 0; first < most && open > 0; first += AT_ONCE) {
        open = count_open(first, most - first < AT_ONCE ? most - first : AT_ONCE);
        count += open;
    }
    return count;
}

/* Fields 22 (start, in ticks since boot) to 24 (resident pages) of proc(5)'s stat. */
static bool read_stat(unsigned long long *start, unsigned long *virtual, long *pages)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t len = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[len] = '\0';
    const char *rest = strrchr(line, ')'); /* the name may hold anything */
    return rest && sscanf(rest,            /* NOLINT(cert-err34-c): the kernel's own numbers */
                          ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                          "%*d %*d %llu %lu %ld",
                          start, virtual, pages) == 3;
}

/* When the machine started, in seconds since the Unix epoch. */
static double boot_time(void)
{
    struct timespec now;
    struct timespec up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9;
}

void metrics_process_print(struct buffer *out)
{
    struct rusage usage;
    unsigned long long start;
    unsigned long virtual;
    long pages;
    getrusage(RUSAGE_SELF, &usage);
    metrics_family(out, "process_cpu_seconds_total", "counter", "CPU time of this process.");
    buffer_format(out, "process_cpu_seconds_total %.6f\n",
                  (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    metrics_print_integer(out, "process_open_fds", "gauge", "Open file descriptors.",
                          count_descriptors());
    if (!read_stat(&start, &virtual, &pages))
        return;
    metrics_family(out, "process_start_time_seconds", "gauge",
                   "When this process started, in seconds since the Unix epoch.");
    buffer_format(out, "process_start_time_seconds %.2f\n",
                  boot_time() + (double)start / (double)sysconf(_SC_CLK_TCK));
    metrics_print_integer(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", virtual);
    metrics_print_integer(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                          (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE));
}
