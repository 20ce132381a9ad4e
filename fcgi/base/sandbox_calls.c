/* SPDX-License-Identifier: MIT
 * The part of the sandbox that filters system calls (seccomp(2), by libseccomp). */
#include "base/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What the program, libfcgi, libpq, OpenSSL, glibc's name lookup and its allocator call, under
 * every mount, until the process ends. */
static const char *const allowed[] = {
    /* descriptors */
    "read",
    "readv",
    "pread64",
    "write",
    "writev",
    "close",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "fcntl64",
    "ioctl",
    "lseek",
    "_llseek",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "select",
    "_newselect",
    "pselect6",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    /* sockets; socket() is below */
    "connect",
    "accept",
    "accept4",
    "bind",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "shutdown",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendto",
    "sendmsg",
    "sendmmsg",
    /* files, to read; open() and openat() are below */
    "access",
    "faccessat",
    "faccessat2",
    "fstat",
    "fstat64",
    "fstatfs",
    "lstat",
    "lstat64",
    "stat",
    "stat64",
    "statx",
    "newfstatat",
    "fstatat64",
    "readlink",
    "readlinkat",
    "getcwd",
    "getdents",
    "getdents64",
    "unlink",
    "unlinkat",
    /* memory */
    "brk",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "munmap",
    "madvise",
    /* threads; clone() is below */
    "futex",
    "futex_time64",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "membarrier",
    "sched_yield",
    "sched_getaffinity",
    "set_tid_address",
    "gettid",
    "tgkill",
    "prctl",
    /* time */
    "clock_gettime",
    "clock_gettime64",
    "clock_getres",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "nanosleep",
    "gettimeofday",
    "time",
    /* signals */
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigreturn",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_sigpending",
    "rt_sigsuspend",
    "sigaltstack",
    "restart_syscall",
    /* the process */
    "getpid",
    "getppid",
    "getuid",
    "getuid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getegid",
    "getegid32",
    "uname",
    "sysinfo",
    "getrlimit",
    "ugetrlimit",
    "getrusage",
    "times",
    "getrandom",
    "exit",
    "exit_group",
};

/* A process that calls one of these is not ours any more. */
static const char *const fatal[] = {"execve", "execveat",         "fork", "vfork", "ptrace",
                                    "creat",  "process_vm_writev"};

/* The families that the program needs. */
static const int families[] = {AF_UNIX, AF_INET, AF_INET6};

/* Of open()'s flags, those that lead to writing. */
#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))

/* More than any machine has. */
#define CALLS 512

/* The time in which the log may write its last lines. */
#define LAST_LINES_MS 1000

/* ---- denied calls ---- */

/* Whether the process ends: its allowed uses pass the filter, so what arrives here starts a program
 * or another process, or writes a file. */
static bool is_fatal(const char *name)
{
    static const char *const by_arguments[] = {"clone", "open", "openat"};
    for (size_t i = 0; i < COUNT(fatal); i++) {
        if (strcmp(fatal[i], name) == 0)
            return true;
    }
    for (size_t i = 0; i < COUNT(by_arguments); i++) {
        if (strcmp(by_arguments[i], name) == 0)
            return true;
    }
    return false;
}

/* Has the interrupted call fail with EPERM. False on a machine whose registers are not known here.
 */
static bool fail_call(void *context)
{
#if defined(__x86_64__)
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
    return true;
#elif defined(__aarch64__)
    ((ucontext_t *)context)->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
    return true;
#else
    (void)context;
    return false;
#endif
}

/* The names of this machine's calls, by number; NULL: none. Made before the filter is in force. */
static char *names[CALLS];

static void resolve_names(void)
{
    for (int i = 0; i < CALLS; i++)
        names[i] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
}

/* Runs in the thread that made the call. It may hold the allocator's locks (fork does), so nothing
 * is allocated here; it holds none of the log's, as all that the log calls is allowed. */
static void on_denied(int signal_number, siginfo_t *info, void *context)
{
    int saved = errno;
    int number = info->si_syscall;
    const char *name = number >= 0 && number < CALLS && names[number] ? names[number] : "unknown";
    bool ends = is_fatal(name) || !fail_call(context);
    (void)signal_number;
    log_message(LOG_ERROR, "sandbox: the system call %s (%d) is denied%s", name, number,
                ends ? "; the process ends" : "");
    if (ends) {
        log_stop(LAST_LINES_MS);
        _exit(SANDBOX_EXIT);
    }
    errno = saved;
}

static bool install_handler(void)
{
    struct sigaction action = {.sa_sigaction = on_denied, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigset_t denied;
    sigemptyset(&action.sa_mask);
    sigemptyset(&denied);
    sigaddset(&denied, SIGSYS);
    return sigaction(SIGSYS, &action, NULL) == 0 && sigprocmask(SIG_UNBLOCK, &denied, NULL) == 0;
}

/* ---- the filter ---- */

/* A rule for a call that this machine does not have is none. */
static bool allow_names(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < COUNT(allowed); i++) {
        int number = seccomp_syscall_resolve_name(allowed[i]);
        if (number != __NR_SCMP_ERROR && number >= 0 &&
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0) != 0)
            return false;
    }
    return true;
}

/* Files are opened for reading, threads are made but no processes, and sockets are of three
 * families. Lists of interfaces (AF_NETLINK), which getaddrinfo likes to have, are refused without
 * a line. clone3 hides its flags in memory: glibc then uses clone. */
static bool allow_by_arguments(scmp_filter_ctx filter)
{
    bool good = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                                 SCMP_A1(SCMP_CMP_MASKED_EQ, WRITING, 0)) == 0 &&
                seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                                 SCMP_A2(SCMP_CMP_MASKED_EQ, WRITING, 0)) == 0 &&
                seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) == 0 &&
                seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0 &&
                seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                 SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0)) == 0 &&
                /* The limits of this process may be read. */
                seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
                                 SCMP_A2(SCMP_CMP_EQ, 0, 0)) == 0;
    for (size_t i = 0; good && i < COUNT(families); i++)
        good = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0)) == 0;
    return good;
}

bool sandbox_filter_calls(bool log_only, char *why, size_t why_size)
{
    scmp_filter_ctx filter = seccomp_init(log_only ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
    int result = filter && allow_names(filter) && allow_by_arguments(filter) ? 0 : -ENOMEM;
    resolve_names();
    if (result == 0 && !install_handler())
        result = -errno;
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result == -EINVAL || result == -ENOSYS) {
        log_message(LOG_INFO, "sandbox: this kernel has no seccomp filters");
        return true;
    }
    if (result != 0)
        snprintf(why, why_size, "fcgi.sandbox: no filter for system calls: %s; set it to off",
                 strerror(-result));
    return result == 0;
}
