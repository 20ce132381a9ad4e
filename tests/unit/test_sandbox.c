/* SPDX-License-Identifier: MIT
 * sandbox: what a thread may still do. The kernel confines the thread that asks for it, and no
 * other; so each test has a thread of its own. What ends the process is in
 * tests/http/test_sandbox.py. */
#include "base/sandbox.h"

#include "base/log.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Sanitizers and valgrind make calls of their own. */
static bool is_watched(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
#endif
}

static void run(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* 0, or the errno of opening the file. */
static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

/* ---- files ---- */

/* A bundle in one folder, a socket in another, and a file in a third. */
struct files {
    char bundle[512];
    char socket[512];
    char other[512];
    bool restricted; /* false: this kernel has no Landlock */
    int read_bundle, write_bundle, read_system, read_other, remove_socket, remove_other;
};

static void *try_files(void *argument)
{
    struct files *files = argument;
    const struct conf conf = {.token = {.rootcertbundle = files->bundle}};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    files->restricted = sandbox_restrict_files(&conf, files->socket);
    files->read_bundle = try_open(files->bundle, O_RDONLY);
    files->write_bundle = try_open(files->bundle, O_WRONLY);
    files->read_system = try_open("/etc/passwd", O_RDONLY);
    files->read_other = try_open(files->other, O_RDONLY);
    files->remove_socket = unlink(files->socket) == 0 ? 0 : errno;
    files->remove_other = unlink(files->other) == 0 ? 0 : errno;
    return NULL;
}

/* A file in a new folder below the test's. */
static void make_file(const char *folder, char *path, size_t size)
{
    snprintf(path, size, "%s", unit_path(folder));
    assert_int_equal(mkdir(path, 0700), 0);
    size_t len = strlen(path);
    snprintf(path + len, size - len, "/file");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void remove_file(char *path)
{
    unlink(path);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
}

static void test_files(void **state)
{
    struct files files = {.restricted = false};
    (void)state;
    if (is_watched())
        skip();
    make_file("bundle", files.bundle, sizeof files.bundle);
    make_file("socket", files.socket, sizeof files.socket);
    make_file("other", files.other, sizeof files.other);
    run(try_files, &files);
    remove_file(files.bundle);
    remove_file(files.socket);
    remove_file(files.other);
    if (!files.restricted)
        skip();
    assert_int_equal(files.read_bundle, 0);
    assert_int_equal(files.write_bundle, EACCES);
    assert_int_equal(files.read_system, 0);
    assert_int_equal(files.read_other, EACCES);
    assert_int_equal(files.remove_socket, 0);
    assert_int_equal(files.remove_other, EACCES);
    /* The other threads are as free as before. */
    assert_int_equal(try_open("/dev/null", O_WRONLY), 0);
}

/* ---- privileges ---- */

/* They belong to the whole process, so another one gives them up. Exit codes of that. */
enum {
    ALL_GIVEN_UP,
    NOT_ENTERED,
    STILL_PRIVILEGED,
    STILL_DUMPABLE,
    STILL_WRITES_A_CORE,
};

static int enter_and_look(void)
{
    const struct conf conf = {.fcgi = {.sandbox = CONF_SANDBOX_LOG}};
    const struct rlimit some = {4096, 4096};
    struct rlimit core = {1, 1};
    char why[256];
    setrlimit(RLIMIT_CORE, &some); /* fails where there is none to give up */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (!sandbox_enter(&conf, NULL, why, sizeof why))
        return NOT_ENTERED;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return STILL_PRIVILEGED;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return STILL_DUMPABLE;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0)
        return STILL_WRITES_A_CORE;
    return ALL_GIVEN_UP;
}

/* Neither a file that it runs, nor a tracer, nor a core file gets at what it has in its memory. */
static void test_privileges(void **state)
{
    int status;
    (void)state;
#ifdef BBM_NO_SANDBOX
    skip();
#endif
    if (is_watched())
        skip();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(enter_and_look());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ALL_GIVEN_UP);
}

/* ---- system calls ---- */

struct calls {
    bool log_only;
    bool filtered;
    char why[256];
    int make_folder, local_socket, packet_socket, netlink_socket, read_file;
};

/* 0, or the errno of making a socket. */
static int try_socket(int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static void *try_calls(void *argument)
{
    struct calls *calls = argument;
    calls->filtered = sandbox_filter_calls(calls->log_only, calls->why, sizeof calls->why);
    calls->read_file = try_open("/dev/null", O_RDONLY);
    calls->local_socket = try_socket(AF_UNIX);
    calls->netlink_socket = try_socket(AF_NETLINK);
    calls->packet_socket = try_socket(AF_PACKET);
    errno = 0;
    calls->make_folder = mkdir(unit_path("made"), 0700) == 0 ? 0 : errno;
    return NULL;
}

static void test_calls(void **state)
{
    struct calls calls = {.log_only = false};
    (void)state;
    if (is_watched())
        skip();
    log_setup(LOG_INFO, LOG_TEXT);
    unit_stderr_begin();
    run(try_calls, &calls);
    char *text = unit_stderr_end();
    assert_true(calls.filtered);
    bool none = strstr(text, "this kernel has no seccomp filters");
    if (none) {
        free(text);
        rmdir(unit_path("made"));
        skip();
    }
    assert_int_equal(calls.read_file, 0);
    assert_int_equal(calls.local_socket, 0);
    assert_int_equal(calls.netlink_socket, EAFNOSUPPORT);
    assert_int_equal(calls.packet_socket, EPERM);
    assert_int_equal(calls.make_folder, EPERM);
    assert_non_null(strstr(text, "sandbox: the system call mkdir"));
    assert_non_null(strstr(text, "sandbox: the system call socket"));
    assert_null(strstr(text, "the process ends"));
    free(text);
}

/* Where they are only logged, which the kernel does, all pass. */
static void test_calls_that_are_logged(void **state)
{
    struct calls calls = {.log_only = true};
    (void)state;
    if (is_watched())
        skip();
    run(try_calls, &calls);
    assert_true(calls.filtered);
    assert_int_equal(calls.make_folder, 0);
    assert_int_equal(rmdir(unit_path("made")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_privileges),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_calls_that_are_logged),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
