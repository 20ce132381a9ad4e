/* SPDX-License-Identifier: MIT
 * Entering the sandbox, step by step. */
#include "base/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* Sanitizers, valgrind and coverage map, trace and write as a sandboxed process must not: make says
 * which builds those are, where the compiler does not. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(BBM_NO_SANDBOX)
#define UNCONFINED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define UNCONFINED 1
#endif
#endif
#ifndef UNCONFINED
#define UNCONFINED 0
#endif

static bool drop_privileges(char *why, size_t size)
{
    const struct rlimit no_core = {0, 0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
        setrlimit(RLIMIT_CORE, &no_core) == 0)
        return true;
    snprintf(why, size, "fcgi.sandbox: %s; set it to off", strerror(errno));
    return false;
}

bool sandbox_enter(const struct conf *conf, const char *socket_path, char *why, size_t why_size)
{
    if (conf->fcgi.sandbox == CONF_SANDBOX_OFF)
        return true;
    if (UNCONFINED) {
        log_message(LOG_INFO, "sandbox: off in a build for tests of memory or coverage");
        return true;
    }
    bool log_only = conf->fcgi.sandbox == CONF_SANDBOX_LOG;
    if (!drop_privileges(why, why_size))
        return false;
    /* Landlock has no mode that only logs. */
    if (!log_only && !sandbox_restrict_files(conf, socket_path))
        log_message(LOG_INFO, "sandbox: this kernel has no Landlock, files are not restricted");
    return sandbox_filter_calls(log_only, why, why_size);
}
