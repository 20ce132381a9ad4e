/* SPDX-License-Identifier: MIT
 * Messages to a supervisor, read at the other end of its socket. */
#include "unit.h"

#include "base/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

/* A supervisor's socket in the folder; its path goes into NOTIFY_SOCKET. */
static int supervise(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const char *path = unit_path("notify");
    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    return fd;
}

static void assert_received(int fd, const char *expected)
{
    char text[1024];
    ssize_t len = recv(fd, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

/* Before notify_open, and without NOTIFY_SOCKET, nothing happens. */
static void test_without_supervisor(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify_open();
    notify_ready("x");
    notify_watchdog();
    assert_int_equal(notify_watchdog_ms(), 0);
}

static void test_messages(void **state)
{
    char pid[32];
    char text[128];
    int fd = supervise();
    (void)state;
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_USEC", "30000000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    notify_open();
    assert_int_equal(notify_watchdog_ms(), 15000);
    notify_ready("database answers");
    assert_received(fd, "READY=1\nSTATUS=database answers");
    notify_status("one line\nREADY=0");
    assert_received(fd, "STATUS=one line");
    notify_stopping();
    assert_received(fd, "STOPPING=1");
    notify_watchdog();
    assert_received(fd, "WATCHDOG=1");
    notify_reloading();
    ssize_t len = recv(fd, text, sizeof text - 1, 0);
    assert_true(len > 0);
    text[len] = '\0';
    assert_int_equal(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    assert_true(strtoll(text + 27, NULL, 10) > 0);
    close(fd);
    notify_watchdog(); /* nobody listens any more: no harm */
}

/* An address without a file, whose name starts with a zero byte (unix(7)). */
static void test_abstract_address(void **state)
{
    char name[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)state;
    snprintf(name, sizeof name, "@bbm-unit-%ld", (long)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_open();
    notify_stopping();
    assert_received(fd, "STOPPING=1");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_supervisor),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_abstract_address),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
