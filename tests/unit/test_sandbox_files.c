/* SPDX-License-Identifier: MIT
 * What Landlock leaves of the file system. It cannot be taken back, so each test looks at it from a
 * process of its own. */
#include "unit.h"

#include "base/sandbox.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Exit codes of that process. */
enum {
    ALL_GOOD = 0,
    NO_LANDLOCK = 100,
};

/* The folders of the test, below the one that unit.h removes. */
static char trusted[300];
static char other[300];
static char sockets[300];

static struct conf conf;
static char bundle[320];
static char socket_path[320];

static void make_file(const char *folder, const char *name)
{
    char path[340];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs("text", file) >= 0);
    fclose(file);
}

static void make_folder(char *path, const char *name)
{
    snprintf(path, 300, "%s/%s", unit_folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file(path, "file");
}

static int setup(void **state)
{
    assert_int_equal(unit_folder_make(state), 0);
    make_folder(trusted, "trusted");
    make_folder(other, "other");
    make_folder(sockets, "sockets");
    snprintf(bundle, sizeof bundle, "%s/file", trusted);
    snprintf(socket_path, sizeof socket_path, "%s/file", sockets);
    conf.token.rootcertbundle = bundle;
    unsetenv("HOME");
    return 0;
}

static int teardown(void **state)
{
    char command[400];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", unit_folder);
    return system(command);
}

/* The path of a file in a folder; in static storage. */
static const char *in(const char *folder, const char *name)
{
    static char path[340];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* 0, or the errno of opening it. */
static int open_error(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

/* Looks around in a process that is confined. `look` returns 0, or the line where it failed. */
static void confined(const char *socket_file, int (*look)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* "" is no path: taken for one, it would allow the folder that the process is in. */
        if (chdir(other) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
            _exit(NO_LANDLOCK);
        _exit(sandbox_restrict_files(&conf, socket_file) ? look() : NO_LANDLOCK);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_LANDLOCK)
        skip();
    if (WEXITSTATUS(status) != ALL_GOOD)
        fail_msg("the look at line %d", WEXITSTATUS(status));
}

/* For `look`: the line where something is not so; cmocka's process is another. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

static int look_for_reading(void)
{
    MUST(open_error(bundle, O_RDONLY) == 0);
    MUST(open_error(trusted, O_RDONLY | O_DIRECTORY) == 0);
    MUST(open_error("/etc/passwd", O_RDONLY) == 0);
    MUST(open_error("/dev/urandom", O_RDONLY) == 0);
    MUST(open_error("/proc/self/status", O_RDONLY) == 0);
    MUST(open_error(in(other, "file"), O_RDONLY) == EACCES);
    MUST(open_error(other, O_RDONLY | O_DIRECTORY) == EACCES);
    MUST(open_error("/proc/1/status", O_RDONLY) == EACCES);
    return ALL_GOOD;
}

static void test_reads_only_what_is_needed(void **state)
{
    (void)state;
    confined(NULL, look_for_reading);
}

static int look_for_writing(void)
{
    MUST(open_error(bundle, O_WRONLY) == EACCES);
    MUST(open_error(bundle, O_RDONLY | O_TRUNC) == EACCES);
    MUST(open_error(in(trusted, "new"), O_WRONLY | O_CREAT) == EACCES);
    MUST(open_error(in(other, "new"), O_WRONLY | O_CREAT) == EACCES);
    MUST(open_error("/dev/null", O_WRONLY) == EACCES);
    MUST(mkdir(in(trusted, "folder"), 0700) == -1 && errno == EACCES);
    MUST(symlink("/etc/passwd", in(trusted, "link")) == -1 && errno == EACCES);
    MUST(unlink(bundle) == -1 && errno == EACCES);
    return ALL_GOOD;
}

static void test_writes_nothing(void **state)
{
    (void)state;
    confined(NULL, look_for_writing);
}

/* The socket file is removed at the end. Nothing else can be done in its folder. */
static int look_for_the_socket(void)
{
    MUST(open_error(socket_path, O_RDONLY) == EACCES);
    MUST(open_error(in(sockets, "new"), O_WRONLY | O_CREAT) == EACCES);
    MUST(unlink(socket_path) == 0);
    return ALL_GOOD;
}

static int look_for_another_socket(void)
{
    MUST(unlink(socket_path) == -1 && errno == EACCES);
    return ALL_GOOD;
}

static void test_removes_its_socket(void **state)
{
    (void)state;
    confined(NULL, look_for_another_socket);
    confined(socket_path, look_for_the_socket);
}

/* The bundle is replaced by a rename, or it is a link that leads elsewhere, as in a volume of
 * Kubernetes. */
static char link_folder[300];

static int look_behind_a_link(void)
{
    MUST(open_error(conf.token.rootcertbundle, O_RDONLY) == 0);
    MUST(open_error(in(trusted, "replaced"), O_RDONLY) == 0);
    MUST(open_error(in(other, "file"), O_RDONLY) == EACCES);
    return ALL_GOOD;
}

static void test_follows_a_link(void **state)
{
    char path[340];
    (void)state;
    make_folder(link_folder, "links");
    make_file(trusted, "replaced");
    snprintf(path, sizeof path, "%s/bundle.pem", link_folder);
    assert_int_equal(symlink(bundle, path), 0);
    conf.token.rootcertbundle = path;
    confined(NULL, look_behind_a_link);
    conf.token.rootcertbundle = bundle;
}

/* The files of libpq: those of the configuration, the environment's, and the home folder's. */
static int look_for_tls_files(void)
{
    MUST(open_error(in(other, "file"), O_RDONLY) == 0);
    return ALL_GOOD;
}

static void test_reads_the_databases_files(void **state)
{
    char **const settings[] = {&conf.database.sslcert, &conf.database.sslkey,
                               &conf.database.sslrootcert};
    static const char *const variables[] = {"PGPASSFILE",    "PGSSLCERT", "PGSSLKEY",
                                            "PGSSLROOTCERT", "PGSSLCRL",  "PGSSLCRLDIR"};
    char path[340];
    (void)state;
    snprintf(path, sizeof path, "%s/file", other);
    for (size_t i = 0; i < COUNT(settings); i++) {
        *settings[i] = path;
        confined(NULL, look_for_tls_files);
        *settings[i] = NULL;
    }
    for (size_t i = 0; i < COUNT(variables); i++) {
        setenv(variables[i], path, 1);
        confined(NULL, look_for_tls_files);
        setenv(variables[i], "", 1);
        confined(NULL, look_for_reading);
        unsetenv(variables[i]);
    }
}

static int look_at_home(void)
{
    MUST(open_error(in(other, ".pgpass"), O_RDONLY) == 0);
    MUST(open_error(in(other, ".postgresql/root.crt"), O_RDONLY) == 0);
    MUST(open_error(in(other, "file"), O_RDONLY) == EACCES);
    return ALL_GOOD;
}

static void test_reads_only_libpqs_files_at_home(void **state)
{
    char folder[300];
    (void)state;
    make_file(other, ".pgpass");
    make_folder(folder, "other/.postgresql");
    make_file(folder, "root.crt");
    setenv("HOME", other, 1);
    confined(NULL, look_at_home);
    unsetenv("HOME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_only_what_is_needed),
        cmocka_unit_test(test_writes_nothing),
        cmocka_unit_test(test_removes_its_socket),
        cmocka_unit_test(test_follows_a_link),
        cmocka_unit_test(test_reads_the_databases_files),
        cmocka_unit_test(test_reads_only_libpqs_files_at_home),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
