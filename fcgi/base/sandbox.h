/* SPDX-License-Identifier: MIT
 *
 * sandbox: what the process gives up before it reads the first byte of the network, so that a fault
 * in a parser is worth little to an attacker.
 *
 * - no new privileges, no core file, not readable by ptrace or /proc (prctl(2))
 * - Landlock, where the kernel has it: the file system is read-only, and of it only what is still
 *   needed is readable: the trust bundle, TLS files, name service files and libraries
 * - a seccomp filter (libseccomp): system calls that no mount of this program needs fail. A program
 * that is made to run another one, to fork, to trace, or to open a file for writing is ended.
 *
 * Each denied call is logged with its name.
 */
#ifndef BBM_SANDBOX_H
#define BBM_SANDBOX_H

#include "base/conf.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit code of a process that the sandbox ends (sysexits(3), EX_NOPERM). */
#define SANDBOX_EXIT 77

/* Enters the sandbox as fcgi.sandbox says. `socket_path` is the socket file that is removed at the
 * end; NULL: none. Called once, after the listener is open and before threads start. False with one
 * line in `why` where the kernel refuses; what the kernel lacks is logged and left out. */
bool sandbox_enter(const struct conf *conf, const char *socket_path, char *why, size_t why_size);

/* Installs the seccomp filter; internal to sandbox*.c. `log_only`: denied calls pass, and the
 * kernel logs them. */
bool sandbox_filter_calls(bool log_only, char *why, size_t why_size);

/* Restricts the file system; internal likewise. False where the kernel has no Landlock. */
bool sandbox_restrict_files(const struct conf *conf, const char *socket_path);

#endif
