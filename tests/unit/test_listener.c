/* SPDX-License-Identifier: MIT
 * The listening socket: what may be asked for, and what is bound. */
#include "listening.h"

/* ---- the check, which opens nothing ---- */

static void test_listen_that_is_fit(void **state)
{
    static const char *const fit[] = {
        "/run/bbm.sock", "./bbm.sock", "run/x",      "127.0.0.1:9000",         "localhost:1",
        "[::1]:9000",    ":9000",      "[::]:65535", "host.example.com:09000",
    };
    char why[512];
    (void)state;
    for (size_t i = 0; i < COUNT(fit); i++) {
        struct conf conf = conf_of(fit[i]);
        if (!listener_check(&conf, why, sizeof why))
            fail_msg("refused: %s", why);
    }
    struct conf conf = conf_of(NULL);
    assert_true(listener_check(&conf, why, sizeof why));
}

static void test_listen_that_is_not(void **state)
{
    static const char *const unfit[] = {
        "",         "9000",     "localhost", "localhost:", "localhost:http",
        "host:-1",  "host:+80", "host: 80",  "host:80x",   "::1:9000",
        "a:b:9000", ":",        "[::1]",     "host:9000 ",
    };
    char why[512];
    (void)state;
    for (size_t i = 0; i < COUNT(unfit); i++) {
        struct conf conf = conf_of(unfit[i]);
        if (listener_check(&conf, why, sizeof why))
            fail_msg("taken: %s", unfit[i]);
        assert_says(why, "neither a path nor host:port; write /run/");
        assert_not_opened(&conf, "neither a path nor host:port");
    }
}

static void test_port_out_of_range(void **state)
{
    static const char *const ports[] = {"host:0", "host:65536", "127.0.0.1:99999",
                                        "host:99999999999999999999"};
    char why[512];
    (void)state;
    for (size_t i = 0; i < COUNT(ports); i++) {
        struct conf conf = conf_of(ports[i]);
        assert_false(listener_check(&conf, why, sizeof why));
        assert_says(why, "the port is not from 1 to 65535; write it as 127.0.0.1:9000");
    }
}

static void test_long_path(void **state)
{
    static char path[200];
    const size_t most = sizeof(struct sockaddr_un) - offsetof(struct sockaddr_un, sun_path) - 1;
    char why[512];
    (void)state;
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[most] = '\0';
    struct conf conf = conf_of(path);
    assert_true(listener_check(&conf, why, sizeof why));
    path[most] = 'x';
    path[most + 1] = '\0';
    assert_false(listener_check(&conf, why, sizeof why));
    assert_says(why, "longer than a socket path can be; choose a shorter one");
}

static void test_group_that_is_none(void **state)
{
    char why[512];
    struct conf conf = conf_of("/run/bbm.sock");
    (void)state;
    conf.fcgi.group = (char[]){"no-such-group-here"};
    assert_false(listener_check(&conf, why, sizeof why));
    assert_says(why, "fcgi.group: there is no group \"no-such-group-here\"; name one");
}

/* ---- a socket file ---- */

static void test_socket_file(void **state)
{
    char path[sizeof unit_folder + 64];
    struct stat there;
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("a.sock"));
    struct conf conf = conf_of(path);
    conf.fcgi.mode = 0604;
    struct listener listener = opened(&conf);
    assert_false(listener.inherited);
    assert_string_equal(listener.path, path);
    assert_int_equal(stat(path, &there), 0);
    assert_true(S_ISSOCK(there.st_mode));
    assert_int_equal(there.st_mode & 07777, 0604);
    assert_true(connects_unix(path));
    listener_close(&listener);
    assert_int_equal(listener.count, 0);
    assert_int_equal(stat(path, &there), -1);
    listener_close(&listener); /* twice does no harm */
}

static void test_group_of_the_socket_file(void **state)
{
    struct stat there;
    const struct group *group = getgrgid(getgid());
    (void)state;
    if (!group)
        skip();
    char path[sizeof unit_folder + 64];
    snprintf(path, sizeof path, "%s", unit_path("group.sock"));
    struct conf conf = conf_of(path);
    conf.fcgi.group = group->gr_name;
    struct listener listener = opened(&conf);
    assert_int_equal(stat(path, &there), 0);
    assert_int_equal(there.st_gid, getgid());
    listener_close(&listener);
}

/* The umask stays as it was, whatever the file's mode. */
static void test_umask(void **state)
{
    struct conf conf = conf_of(unit_path("umask.sock"));
    mode_t before = umask(0027);
    (void)state;
    struct listener listener = opened(&conf);
    mode_t after = umask(before);
    listener_close(&listener);
    assert_int_equal(after, 0027);
}

static void test_stale_socket_file(void **state)
{
    char path[sizeof unit_folder + 64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("stale.sock"));
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_false(connects_unix(path));
    struct conf conf = conf_of(path);
    struct listener listener = opened(&conf);
    assert_true(connects_unix(path));
    listener_close(&listener);
}

/* One that somebody serves is left to them, and keeps serving. */
static void test_live_socket_file(void **state)
{
    char path[sizeof unit_folder + 64];
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("live.sock"));
    struct conf conf = conf_of(path);
    struct listener first = opened(&conf);
    assert_not_opened(&conf, "in use by another process; stop that one");
    assert_true(connects_unix(path));
    listener_close(&first);
}

static void test_other_file_at_the_path(void **state)
{
    char path[sizeof unit_folder + 64];
    struct stat there;
    (void)state;
    snprintf(path, sizeof path, "%s", unit_write("precious.txt", "text"));
    struct conf conf = conf_of(path);
    assert_not_opened(&conf, "exists and is no socket; move it away");
    assert_int_equal(stat(path, &there), 0);
    assert_int_equal(there.st_size, 4);
}

static void test_folder_that_is_none(void **state)
{
    struct conf conf = conf_of(unit_path("missing/x.sock"));
    (void)state;
    assert_not_opened(&conf, "No such file or directory; its folder must exist");
}

/* ---- TCP ---- */

static struct sockaddr_in address_of(const struct listener *listener)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    assert_int_equal(getsockname(listener->fds[0], (struct sockaddr *)&address, &len), 0);
    return address;
}

/* A port that was free a moment ago, as host:port. */
static void free_port(char *listen, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    snprintf(listen, size, "127.0.0.1:%d", ntohs(address.sin_port));
}

static void test_tcp(void **state)
{
    struct listener listener;
    char listen[64];
    char why[512];
    (void)state;
    /* Somebody else may take the port in between. */
    for (int tries = 0;; tries++) {
        free_port(listen, sizeof listen);
        struct conf conf = conf_of(listen);
        if (listener_open(&listener, &conf, why, sizeof why))
            break;
        if (tries == 9)
            fail_msg("not opened: %s", why);
    }
    assert_null(listener.path);
    assert_false(listener.inherited);
    struct sockaddr_in address = address_of(&listener);
    assert_int_equal(address.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_true(connects((struct sockaddr *)&address, sizeof address));

    struct conf conf = conf_of(listen);
    assert_not_opened(&conf, "Address already in use; choose another port or stop its user");
    listener_close(&listener);
    assert_false(connects((struct sockaddr *)&address, sizeof address));
}

/* One of the addresses is another process's: half of a service is none. */
static void test_one_family_in_use(void **state)
{
    char listen_on[32];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(bind(other, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&address, &len), 0);
    snprintf(listen_on, sizeof listen_on, ":%u", (unsigned)ntohs(address.sin_port));
    struct conf conf = conf_of(listen_on);
    assert_not_opened(&conf, "Address already in use; choose another port");
    close(other);
}

static void test_host_that_is_none(void **state)
{
    struct conf conf = conf_of("256.256.256.256:9000");
    (void)state;
    assert_not_opened(&conf, "write it as 127.0.0.1:9000");
}

/* All addresses of the host, in both families. */
static void test_all_addresses(void **state)
{
    struct listener listener;
    char listen[64];
    char why[512];
    (void)state;
    for (int tries = 0;; tries++) {
        char loopback[64];
        free_port(loopback, sizeof loopback);
        snprintf(listen, sizeof listen, ":%s", strrchr(loopback, ':') + 1);
        struct conf conf = conf_of(listen);
        if (listener_open(&listener, &conf, why, sizeof why))
            break;
        if (tries == 9)
            fail_msg("not opened: %s", why);
    }
    in_port_t port = htons((in_port_t)strtol(listen + 1, NULL, 10));
    struct sockaddr_in v4 = {AF_INET, port, {htonl(INADDR_LOOPBACK)}, {0}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    v6.sin6_addr = in6addr_loopback;
    assert_true(connects((struct sockaddr *)&v4, sizeof v4));
    int fd = listener_accept(&listener);
    assert_true(fd >= 0);
    close(fd);
    if (listener.count > 1) { /* the host has IPv6 */
        assert_true(connects((struct sockaddr *)&v6, sizeof v6));
        fd = listener_accept(&listener);
        assert_true(fd >= 0);
        close(fd);
    }
    assert_int_equal(listener_accept(&listener), -1);
    assert_int_equal(errno, EAGAIN);
    listener_close(&listener);
}

static void test_address_of_another_host(void **state)
{
    char why[512];
    struct conf conf = conf_of("192.0.2.1:9000");
    (void)state;
    assert_not_opened(&conf, "Cannot assign requested address; this host has no such address");
    assert_false(listener_try(&conf, why, sizeof why));
    assert_says(why, "this host has no such address");
}

/* ---- trying without opening ---- */

static void test_try(void **state)
{
    char path[sizeof unit_folder + 64];
    char why[512];
    struct stat there;
    (void)state;
    snprintf(path, sizeof path, "%s", unit_path("try.sock"));
    struct conf conf = conf_of(path);
    assert_true(listener_try(&conf, why, sizeof why));
    assert_int_equal(stat(path, &there), -1);

    struct listener served = opened(&conf);
    assert_true(listener_try(&conf, why, sizeof why));
    assert_true(connects_unix(path));
    listener_close(&served);

    conf = conf_of(unit_path("missing/x.sock"));
    assert_false(listener_try(&conf, why, sizeof why));
    assert_says(why, "No such file or directory; its folder must exist");
    conf = conf_of(unit_write("file.txt", "text"));
    assert_false(listener_try(&conf, why, sizeof why));
    assert_says(why, "exists and is no socket");
    conf = conf_of("127.0.0.1:9000");
    assert_true(listener_try(&conf, why, sizeof why));
    conf = conf_of(NULL);
    assert_true(listener_try(&conf, why, sizeof why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_that_is_fit),
        cmocka_unit_test(test_listen_that_is_not),
        cmocka_unit_test(test_port_out_of_range),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_group_that_is_none),
        cmocka_unit_test(test_socket_file),
        cmocka_unit_test(test_group_of_the_socket_file),
        cmocka_unit_test(test_umask),
        cmocka_unit_test(test_stale_socket_file),
        cmocka_unit_test(test_live_socket_file),
        cmocka_unit_test(test_other_file_at_the_path),
        cmocka_unit_test(test_folder_that_is_none),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_one_family_in_use),
        cmocka_unit_test(test_host_that_is_none),
        cmocka_unit_test(test_all_addresses),
        cmocka_unit_test(test_address_of_another_host),
        cmocka_unit_test(test_try),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
