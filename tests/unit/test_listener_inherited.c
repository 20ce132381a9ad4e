/* SPDX-License-Identifier: MIT
 * Sockets that a supervisor hands over. */
#include "listening.h"

/* Puts `fd` at descriptor 0; returns what was there. */
static int put_at_0(int fd)
{
    int saved = dup(STDIN_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    return saved;
}

static void put_back(int saved)
{
    dup2(saved, STDIN_FILENO);
    close(saved);
}

static void test_inherited(void **state)
{
    char path[sizeof unit_folder + 64];
    char why[512];
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("inherited.sock"));
    struct conf theirs = conf_of(path);
    struct listener manager = opened(&theirs);
    assert_int_equal(fcntl(manager.fds[0], F_SETFL, 0), 0); /* as a manager hands it over */
    int saved = put_at_0(manager.fds[0]);

    struct conf conf = conf_of(NULL);
    struct listener listener;
    bool good = listener_open(&listener, &conf, why, sizeof why);
    bool nonblocking = fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK;
    struct listener found = listener;
    listener_close(&listener);
    put_back(saved);

    assert_true(good);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.fds[0], STDIN_FILENO);
    assert_true(found.inherited);
    assert_null(found.path);
    assert_true(nonblocking);
    /* The file is the manager's, who still listens on it. */
    assert_true(connects_unix(path));
    listener_close(&manager);
}

/* A supervisor's socket goes before fcgi.listen. */
static void test_inherited_goes_before_listen(void **state)
{
    char path[sizeof unit_folder + 64];
    char why[512];
    struct listener listener;
    struct stat there;
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("first.sock"));
    struct conf theirs = conf_of(path);
    struct listener manager = opened(&theirs);
    int saved = put_at_0(manager.fds[0]);
    struct conf conf = conf_of(unit_path("second.sock"));
    bool good = listener_open(&listener, &conf, why, sizeof why);
    struct listener found = listener;
    listener_close(&listener);
    put_back(saved);
    listener_close(&manager);
    assert_true(good);
    assert_true(found.inherited);
    assert_int_equal(found.fds[0], STDIN_FILENO);
    assert_int_equal(stat(unit_path("second.sock"), &there), -1);
}

/* sd_listen_fds(3): only where LISTEN_PID names this process. */
static void test_listen_fds(void **state)
{
    char path[sizeof unit_folder + 64];
    char why[512];
    char pid[32];
    struct listener listener;
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("passed.sock"));
    struct conf theirs = conf_of(path);
    struct listener manager = opened(&theirs);
    int saved = dup(3);
    assert_true(manager.fds[0] == 3 || dup2(manager.fds[0], 3) == 3);
    struct conf conf = conf_of(NULL);
    assert_int_equal(fcntl(3, F_SETFD, 0), 0); /* as a supervisor leaves it */
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", "1", 1);
    bool by_another = listener_open(&listener, &conf, why, sizeof why);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("LISTEN_PID", pid, 1);
    bool good = listener_open(&listener, &conf, why, sizeof why);
    int flags = fcntl(3, F_GETFD);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    struct listener found = listener;
    listener_unlink(&manager);
    listener_close(&listener);
    if (manager.fds[0] != 3)
        listener_close(&manager);
    if (saved >= 0) {
        dup2(saved, 3);
        close(saved);
    }
    assert_false(by_another);
    assert_true(good);
    assert_true(found.inherited);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.fds[0], 3);
    assert_int_equal(flags, FD_CLOEXEC);
}

static void test_nothing_inherited(void **state)
{
    int ends[2];
    struct conf conf = conf_of(NULL);
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const int others[] = {open("/dev/null", O_RDONLY), ends[0]};
    for (size_t i = 0; i < COUNT(others); i++) {
        struct listener listener;
        char why[512];
        int saved = put_at_0(others[i]);
        bool good = listener_open(&listener, &conf, why, sizeof why);
        put_back(saved);
        close(others[i]);
        assert_false(good);
        assert_says(why, "standard input: not a listening socket; set fcgi.listen, or start");
    }
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inherited),
        cmocka_unit_test(test_inherited_goes_before_listen),
        cmocka_unit_test(test_listen_fds),
        cmocka_unit_test(test_nothing_inherited),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
