/* SPDX-License-Identifier: MIT
 * The part of the sandbox that restricts files (landlock(7)). */
#include "base/sandbox.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

/* Rights that a rule may give to a file that is no folder. */
#define FILE_RIGHTS                                                                                \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE)

/* Rights of the first version; later ones are added as the kernel knows them. */
#define ALL_RIGHTS ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

/* In headers newer than those of Debian 12. */
#define RIGHT_REFER     (UINT64_C(1) << 13) /* version 2 */
#define RIGHT_TRUNCATE  (UINT64_C(1) << 14) /* version 3 */
#define RIGHT_IOCTL_DEV (UINT64_C(1) << 15) /* version 5 */

/* Name service and OpenSSL read their files when they need them, and follow changes; libraries are
 * loaded late. Folders, because files in them are replaced. */
static const char *const system_paths[] = {"/etc",         "/usr",      "/lib",      "/lib64",
                                           "/proc/self",   "/dev/null", "/dev/zero", "/dev/random",
                                           "/dev/urandom", "/run/nscd"};

/* Adds a rule; a path that is not there needs none. */
static void allow(int ruleset, const char *path, uint64_t rights)
{
    struct stat status;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0) {
        const struct landlock_path_beneath_attr rule = {
            .allowed_access = S_ISDIR(status.st_mode) ? rights : rights & FILE_RIGHTS,
            .parent_fd = fd};
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    close(fd);
}

static void allow_folder_of(int ruleset, const char *path, uint64_t rights)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    allow(ruleset, dirname(copy), rights);
}

/* A file that may be replaced by another of its name, or be a link that changes. */
static void allow_reading(int ruleset, const char *path)
{
    char real[PATH_MAX];
    if (!path || !*path)
        return;
    allow_folder_of(ruleset, path, READ_RIGHTS);
    if (realpath(path, real))
        allow_folder_of(ruleset, real, READ_RIGHTS);
}

/* The files that libpq looks for by itself. */
static void allow_libpq_files(int ruleset)
{
    static const char *const variables[] = {"PGPASSFILE",    "PGSSLCERT", "PGSSLKEY",
                                            "PGSSLROOTCERT", "PGSSLCRL",  "PGSSLCRLDIR"};
    char path[PATH_MAX];
    const char *home = getenv("HOME");
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        allow_reading(ruleset, getenv(variables[i]));
    if (!home)
        return;
    snprintf(path, sizeof path, "%s/.pgpass", home);
    allow(ruleset, path, READ_RIGHTS);
    snprintf(path, sizeof path, "%s/.postgresql", home);
    allow(ruleset, path, READ_RIGHTS);
}

static uint64_t rights_of(long version)
{
    return ALL_RIGHTS | (version >= 2 ? RIGHT_REFER : 0) | (version >= 3 ? RIGHT_TRUNCATE : 0) |
           (version >= 5 ? RIGHT_IOCTL_DEV : 0);
}

bool sandbox_restrict_files(const struct conf *conf, const char *socket_path)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    const struct landlock_ruleset_attr attributes = {.handled_access_fs =
                                                         version > 0 ? rights_of(version) : 0};
    int ruleset = version > 0 ? (int)syscall(SYS_landlock_create_ruleset, &attributes,
                                             sizeof attributes.handled_access_fs, 0)
                              : -1;
    if (ruleset < 0)
        return false;
    for (size_t i = 0; i < sizeof system_paths / sizeof system_paths[0]; i++)
        allow(ruleset, system_paths[i], READ_RIGHTS);
    allow_reading(ruleset, "/etc/resolv.conf"); /* often a link into /run */
    allow_reading(ruleset, conf->token.rootcertbundle);
    allow_reading(ruleset, conf->database.sslcert);
    allow_reading(ruleset, conf->database.sslkey);
    allow_reading(ruleset, conf->database.sslrootcert);
    allow_libpq_files(ruleset);
    if (socket_path)
        allow_folder_of(ruleset, socket_path, LANDLOCK_ACCESS_FS_REMOVE_FILE);
    bool good = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return good;
}
