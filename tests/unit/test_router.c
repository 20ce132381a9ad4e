/* SPDX-License-Identifier: MIT
 * Which row of the contract's table a request means, however the web server says it. */
#include "unit.h"

#include "api/actions.h"
#include "api/history.h"
#include "api/jobs.h"
#include "api/list.h"
#include "api/page.h"
#include "api/routes.h"
#include "http/router.h"

#include <stdbool.h>

static const char *const bases[] = {"/v1/gitlab/", "/gitlab/v1/"};
static const char *const prefixes[] = {"", "/registry", "/a/b"};

/* The contract's table, row by row. */
static const struct expected {
    const char *method;
    const char *path;
    enum access access;
    handler *handler;
    int64_t id;
    const char *allow;
} table[] = {
    {"GET", "background-migrations", ACCESS_READ, list_all, 0, "GET, HEAD, OPTIONS"},
    {"GET", "background-migrations/1", ACCESS_READ, list_one, 1, "GET, HEAD, OPTIONS"},
    {"GET", "background-migrations/9223372036854775807", ACCESS_READ, list_one, INT64_MAX,
     "GET, HEAD, OPTIONS"},
    {"POST", "background-migrations/pause", ACCESS_WRITE, actions_pause, 0, "POST, OPTIONS"},
    {"POST", "background-migrations/resume", ACCESS_WRITE, actions_resume, 0, "POST, OPTIONS"},
    {"GET", "bbm/status", ACCESS_READ, list_all, 0, "GET, HEAD, OPTIONS"},
    {"POST", "bbm/pause", ACCESS_WRITE, actions_pause, 0, "POST, OPTIONS"},
    {"POST", "bbm/resume", ACCESS_WRITE, actions_resume, 0, "POST, OPTIONS"},
    {"POST", "restart/7", ACCESS_WRITE, actions_restart, 7, "POST, OPTIONS"},
    {"POST", "background-migrations/12/pause", ACCESS_WRITE, actions_pause, 12, "POST, OPTIONS"},
    {"POST", "background-migrations/12/resume", ACCESS_WRITE, actions_resume, 12, "POST, OPTIONS"},
    {"POST", "background-migrations/9223372036854775807/restart", ACCESS_WRITE, actions_restart,
     INT64_MAX, "POST, OPTIONS"},
    {"GET", "background-migrations/3/jobs", ACCESS_READ, jobs_page, 3, "GET, HEAD, OPTIONS"},
    {"GET", "background-migrations/3/actions", ACCESS_READ, history_actions, 3,
     "GET, HEAD, OPTIONS"},
    {"GET", "bbm/actions", ACCESS_READ, history_actions, 0, "GET, HEAD, OPTIONS"},
    {"GET", "bbm", ACCESS_NONE, page_get, 0, "GET, HEAD, OPTIONS"},
    {"GET", "bbm/page.css", ACCESS_NONE, page_get, 0, "GET, HEAD, OPTIONS"},
    {"GET", "bbm/page.js", ACCESS_NONE, page_get, 0, "GET, HEAD, OPTIONS"},
    {"GET", "bbm/openapi.json", ACCESS_NONE, page_get, 0, "GET, HEAD, OPTIONS"},
};

/* Its rows with an {id}. */
static const struct {
    const char *method;
    const char *format;
} with_id[] = {
    {"GET", "background-migrations/%s"},          {"GET", "background-migrations/%s/jobs"},
    {"POST", "background-migrations/%s/pause"},   {"POST", "background-migrations/%s/resume"},
    {"POST", "background-migrations/%s/restart"}, {"POST", "restart/%s"},
    {"GET", "background-migrations/%s/actions"},
};

/* Writes the path of such a row, with or without its last slash. */
static void path_with_id(char *path, size_t size, size_t row, const char *id, bool slash)
{
    char format[64];
    snprintf(format, sizeof format, "/v1/gitlab/%s%s", with_id[row].format, slash ? "/" : "");
    const char *at = strstr(format, "%s");
    snprintf(path, size, "%.*s%s%s", (int)(at - format), format, id, at + 2);
}

static struct router_match match(const char *prefix, const char *method, const char *script,
                                 const char *info)
{
    struct router_match found;
    memset(&found, 0xA5, sizeof found);
    router_match(&api_routes, prefix, method, script, info, &found);
    return found;
}

/* The whole path in PATH_INFO and nothing of it in SCRIPT_NAME, as nginx gives it. */
static struct router_match plain(const char *method, const char *path)
{
    return match("", method, "", path);
}

static void assert_found(const struct expected *expected, const struct router_match *found)
{
    assert_int_equal(found->verdict, ROUTER_FOUND);
    assert_non_null(found->route);
    assert_string_equal(found->route->method, expected->method);
    assert_int_equal(found->route->access, expected->access);
    assert_ptr_equal(found->route->handler, expected->handler);
    assert_int_equal(found->id, expected->id);
    assert_string_equal(found->allow, expected->allow);
}

static void assert_none(const char *method, const char *path)
{
    struct router_match found = plain(method, path);
    if (found.verdict != ROUTER_NONE)
        fail_msg("%s %s is a route", method, path);
    assert_null(found.route);
    assert_string_equal(found.allow, "");
}

/* Splits `path` after `cut` bytes into SCRIPT_NAME and PATH_INFO. */
static struct router_match mounted(const char *prefix, const char *method, const char *path,
                                   size_t cut)
{
    char script[ROUTER_PATH_SIZE];
    snprintf(script, sizeof script, "%.*s", (int)cut, path);
    return match(prefix, method, script, path + cut);
}

/* One path in every form that a web server may hand over. */
static void assert_all_forms(const struct expected *expected, const char *prefix, size_t base,
                             const char *path)
{
    size_t before_base = strlen(prefix);
    size_t mount = before_base + base - 1; /* the base, without its last slash */
    const struct router_match forms[] = {
        match(prefix, expected->method, "", path),                 /* nginx */
        mounted(prefix, expected->method, path, mount),            /* Apache's ScriptAlias */
        match(prefix, expected->method, path, ""),                 /* mod_proxy_fcgi */
        match(prefix, expected->method, path, path),               /* the whole in both */
        match(prefix, expected->method, "/bbm.fcgi", path),        /* a script's own name */
        mounted(prefix, expected->method, path, before_base),      /* mounted at the prefix */
        mounted(prefix, expected->method, path, before_base + 3),  /* in the base's midst */
        mounted(prefix, expected->method, path, mount + 1),        /* slash in SCRIPT_NAME */
        mounted(prefix, expected->method, path, strlen(path) - 1), /* all but the end */
    };
    for (size_t i = 0; i < COUNT(forms); i++) {
        if (forms[i].verdict != ROUTER_FOUND)
            fail_msg("form %zu of %s \"%s\" (prefix \"%s\") is not found", i, expected->method,
                     path, prefix);
        assert_found(expected, &forms[i]);
        assert_string_equal(forms[i].path, path);
    }
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(table) * COUNT(bases) * COUNT(prefixes) * 2; i++) {
        const struct expected *expected = &table[i % COUNT(table)];
        const char *base = bases[i / COUNT(table) % COUNT(bases)];
        const char *prefix = prefixes[i / COUNT(table) / COUNT(bases) % COUNT(prefixes)];
        const char *slash = i / COUNT(table) / COUNT(bases) / COUNT(prefixes) ? "/" : "";
        char path[ROUTER_PATH_SIZE];
        snprintf(path, sizeof path, "%s%s%s%s", prefix, base, expected->path, slash);
        assert_all_forms(expected, prefix, strlen(base), path);
    }
}

/* ScriptAlias /v1/gitlab/ some.fcgi/ hands over both slashes. */
static void test_mount_with_slash(void **state)
{
    struct router_match found = match("", "GET", "/v1/gitlab/", "/bbm/status/");
    (void)state;
    assert_int_equal(found.verdict, ROUTER_FOUND);
    assert_string_equal(found.path, "/v1/gitlab/bbm/status/");
}

static void test_head_is_get(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        char path[ROUTER_PATH_SIZE];
        snprintf(path, sizeof path, "%s%s/", bases[0], table[i].path);
        struct router_match found = plain("HEAD", path);
        if (strcmp(table[i].method, "GET") == 0)
            assert_found(&table[i], &found);
        else
            assert_int_equal(found.verdict, ROUTER_METHOD);
    }
}

static void test_other_methods(void **state)
{
    static const char *const methods[] = {"GET",     "POST", "PUT",  "DELETE", "PATCH", "TRACE",
                                          "CONNECT", "get",  "Post", "",       "BREW",  "GETS"};
    (void)state;
    for (size_t i = 0; i < COUNT(table) * COUNT(methods); i++) {
        const struct expected *expected = &table[i / COUNT(methods)];
        const char *method = methods[i % COUNT(methods)];
        char path[ROUTER_PATH_SIZE];
        snprintf(path, sizeof path, "%s%s/", bases[1], expected->path);
        struct router_match found = plain(method, path);
        if (strcmp(method, expected->method) == 0) {
            assert_found(expected, &found);
        } else {
            assert_int_equal(found.verdict, ROUTER_METHOD);
            assert_null(found.route);
            assert_string_equal(found.allow, expected->allow);
        }
    }
}

static void test_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        char path[ROUTER_PATH_SIZE];
        snprintf(path, sizeof path, "%s%s", bases[0], table[i].path);
        struct router_match found = plain("OPTIONS", path);
        assert_int_equal(found.verdict, ROUTER_OPTIONS);
        assert_string_equal(found.allow, table[i].allow);
    }
    assert_none("OPTIONS", "/v1/gitlab/bbm/stop/");
    assert_none("OPTIONS", "*");
    /* Neither method nor token comes after the number's size. */
    assert_int_equal(
        plain("OPTIONS", "/v1/gitlab/background-migrations/99999999999999999999/").verdict,
        ROUTER_OPTIONS);
}

static void test_no_route(void **state)
{
    static const char *const paths[] = {
        "",
        "/",
        "//",
        "*",
        "/v1",
        "/v1/gitlab",
        "/v1/gitlab/",
        "/gitlab/v1",
        "/gitlab/v1/",
        "/v2/",
        "v1/gitlab/bbm/status",
        "//v1/gitlab/bbm/status",
        "/v1//gitlab/bbm/status",
        "/v1/gitlab//bbm/status",
        "/v1/gitlab/bbm//status",
        "/v1/gitlab/bbm/status//",
        "/v1/gitlab/bbm/status/x",
        "/v1/gitlab/bbm/statu",
        "/v1/gitlab/bbm/statuses",
        "/v1/gitlab/bbm/page.html",
        "/v1/gitlab/bbm/bare.html",
        "/v1/gitlab/BBM/status",
        "/V1/gitlab/bbm/status",
        "/v1/gitlab/bbm/status?",
        "/v1/gitlab/bbm/status/?n=1",
        "/v1/gitlab/./bbm/status",
        "/v1/gitlab/../gitlab/bbm/status",
        "/v1/gitlab/%62bm/status",
        "/v1/gitlab/bbm/1",
        "/v1/gitlab/bbm/1/pause",
        "/v1/gitlab/bbm/restart",
        "/v1/gitlab/restart",
        "/v1/gitlab/restart/",
        "/v1/gitlab/restart/1/2",
        "/v1/gitlab/restart/1/pause",
        "/v1/gitlab/background-migrations/restart",
        "/v1/gitlab/background-migrations/jobs",
        "/v1/gitlab/background-migrations//pause",
        "/v1/gitlab/background-migrations/1/status",
        "/v1/gitlab/background-migrations/1/jobs/2",
        "/v1/gitlab/background-migrations/1pause",
        "/v1/gitlab/background-migrations/1//pause",
        "/v1/gitlab/background-migrations/pause/1",
        "/v1/gitlab/background-migrations/pauses",
        "/v1/gitlab/background-migrations/pause/7x",
        "/v1/gitlabbbm/status",
        "/v1/gitlab-bbm/status",
        "/v1/gitlab/v1/gitlab/bbm/status",
        "/gitlab/v1/gitlab/bbm/status",
        "/x/v1/gitlab/bbm/status",
        "/v1/gitlab/{id}",
        "/v1/gitlab/background-migrations/{id}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(paths); i++) {
        assert_none("GET", paths[i]);
        assert_none("POST", paths[i]);
    }
}

static void test_ids_that_are_none(void **state)
{
    static const char *const ids[] = {"0",   "00",   "01",  "-1",  "+1",       " 1",        "1 ",
                                      "1a",  "a1",   "1.0", "0x1", "1e3",      "%31",       "1;",
                                      "1,2", "null", "1\t", "1\n", "\xD9\xA1", "1\xC2\xA0", "*"};
    (void)state;
    for (size_t i = 0; i < COUNT(ids) * COUNT(with_id) * 2; i++) {
        char path[ROUTER_PATH_SIZE];
        size_t row = i / 2 % COUNT(with_id);
        path_with_id(path, sizeof path, row, ids[i / 2 / COUNT(with_id)], i % 2);
        assert_none(with_id[row].method, path);
    }
}

static void test_ids(void **state)
{
    static const struct {
        const char *digits;
        enum router_verdict verdict;
        int64_t id;
    } ids[] = {
        {"7", ROUTER_FOUND, 7},
        {"10", ROUTER_FOUND, 10},
        {"2147483648", ROUTER_FOUND, 2147483648},
        {"9007199254740993", ROUTER_FOUND, 9007199254740993},
        {"9223372036854775806", ROUTER_FOUND, INT64_MAX - 1},
        {"9223372036854775807", ROUTER_FOUND, INT64_MAX},
        {"9223372036854775808", ROUTER_ID_INVALID, 0},
        {"18446744073709551617", ROUTER_ID_INVALID, 0},
        {"99999999999999999999999999999999999999", ROUTER_ID_INVALID, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(ids) * COUNT(with_id) * 2; i++) {
        char path[ROUTER_PATH_SIZE];
        size_t row = i / 2 % COUNT(with_id);
        size_t id = i / 2 / COUNT(with_id);
        path_with_id(path, sizeof path, row, ids[id].digits, i % 2);
        struct router_match found = plain(with_id[row].method, path);
        assert_int_equal(found.verdict, ids[id].verdict);
        /* Its access is asked before the id is judged. */
        assert_non_null(found.route);
        assert_int_equal(found.route->access,
                         strcmp(with_id[row].method, "GET") == 0 ? ACCESS_READ : ACCESS_WRITE);
        if (found.verdict == ROUTER_FOUND)
            assert_int_equal(found.id, ids[id].id);
        assert_int_equal(plain("DELETE", path).verdict, ROUTER_METHOD);
    }
}

static void test_prefix_is_needed(void **state)
{
    static const char *const paths[] = {
        "/v1/gitlab/bbm/status",           "/registryv1/gitlab/bbm/status",
        "/reg/v1/gitlab/bbm/status",       "/registry/x/v1/gitlab/bbm/status",
        "/v1/gitlab/registry/bbm/status",  "/Registry/v1/gitlab/bbm/status",
        "/registry//v1/gitlab/bbm/status",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(paths); i++) {
        assert_int_equal(match("/registry", "GET", "", paths[i]).verdict, ROUTER_NONE);
        assert_int_equal(match("/registry", "GET", paths[i], "").verdict, ROUTER_NONE);
    }
    assert_none("GET", "/registry/v1/gitlab/bbm/status");
}

/* A web server's rule on /-/ must not be passed by way of a mount. */
static void test_operational_under_a_mount(void **state)
{
    static const char *const paths[] = {"/-/liveness", "/-/readiness", "/-/metrics"};
    static const char *const scripts[] = {"/registry", "/x",          "/v1/gitlab/x",
                                          "/",         "/registry/-", "/-/liveness/x",
                                          "/-x",       "-",           "/v1/gitlab/bbm/status"};
    (void)state;
    for (size_t i = 0; i < COUNT(paths) * COUNT(scripts) * COUNT(prefixes); i++) {
        const char *path = paths[i % COUNT(paths)];
        const char *script = scripts[i / COUNT(paths) % COUNT(scripts)];
        const char *prefix = prefixes[i / COUNT(paths) / COUNT(scripts)];
        assert_int_equal(match(prefix, "GET", script, path).verdict, ROUTER_NONE);
        assert_int_equal(match(prefix, "GET", "", path).verdict, ROUTER_FOUND);
        assert_int_equal(match(prefix, "GET", path, path).verdict, ROUTER_FOUND);
        assert_int_equal(match(prefix, "GET", path, "").verdict, ROUTER_FOUND);
        assert_int_equal(match(prefix, "GET", "/-", path + 2).verdict, ROUTER_FOUND);
    }
}

/* Under a base there is nothing operational, also where the mount has taken the base off
 * and what is left reads like it. */
static void test_operational_under_a_base(void **state)
{
    static const char *const paths[] = {"/-/liveness", "/-/readiness", "/-/metrics"};
    (void)state;
    for (size_t i = 0; i < COUNT(paths) * COUNT(bases) * COUNT(prefixes); i++) {
        const char *base = bases[i % COUNT(bases)];
        const char *prefix = prefixes[i / COUNT(bases) % COUNT(prefixes)];
        const char *rest = paths[i / COUNT(bases) / COUNT(prefixes)];
        char mount[ROUTER_PATH_SIZE];
        char whole[ROUTER_PATH_SIZE * 2];
        snprintf(mount, sizeof mount, "%s%s", prefix, base);
        snprintf(whole, sizeof whole, "%s%s", mount, rest + 1);
        assert_int_equal(match(prefix, "GET", mount, rest).verdict, ROUTER_NONE);
        mount[strlen(mount) - 1] = '\0';
        struct router_match found = match(prefix, "GET", mount, rest);
        assert_int_equal(found.verdict, ROUTER_NONE);
        assert_string_equal(found.path, whole);
        assert_int_equal(match(prefix, "GET", "", whole).verdict, ROUTER_NONE);
        assert_int_equal(match(prefix, "GET", whole, "").verdict, ROUTER_NONE);
    }
}

/* Nor where the base was taken off behind a prefix that is not the configured one. */
static void test_operational_under_another_prefix(void **state)
{
    (void)state;
    struct router_match found = match("", "GET", "/x/v1/gitlab", "/-/metrics");
    assert_int_equal(found.verdict, ROUTER_NONE);
    assert_string_equal(found.path, "/x/v1/gitlab/-/metrics");
    found = match("/registry", "GET", "/gitlab/v1/", "/-/liveness");
    assert_int_equal(found.verdict, ROUTER_NONE);
    assert_string_equal(found.path, "/gitlab/v1/-/liveness");
}

/* A mount at a path that is no base's end has taken no base off. */
static void test_mount_beside_the_api(void **state)
{
    (void)state;
    assert_int_equal(match("", "GET", "/cgi-bin/bbm.fcgi", "/v1/gitlab/bbm/status").verdict,
                     ROUTER_FOUND);
    assert_string_equal(match("", "GET", "/cgi-bin/bbm.fcgi", "/v1/gitlab/bbm/status").path,
                        "/v1/gitlab/bbm/status");
    assert_int_equal(match("", "GET", "/cgi-bin/bbm.fcgi", "/bbm/status").verdict, ROUTER_NONE);
    assert_int_equal(match("", "GET", "", "/bbm/status").verdict, ROUTER_NONE);
    assert_int_equal(match("/registry", "GET", "/v1/gitlab", "/bbm/status").verdict, ROUTER_NONE);
}

static void test_too_long(void **state)
{
    static char path[4096];
    static const char start[] = "/v1/gitlab/background-migrations/1";
    (void)state;
    /* The longest that there is room for, with its closing zero. */
    memset(path, '0', sizeof path - 1);
    memcpy(path, start, sizeof start - 1);
    path[ROUTER_PATH_SIZE - 1] = '\0';
    assert_int_equal(plain("GET", path).verdict, ROUTER_ID_INVALID);

    path[ROUTER_PATH_SIZE - 1] = '0';
    for (size_t len = ROUTER_PATH_SIZE; len < sizeof path; len += 511) {
        path[len] = '\0';
        const struct router_match forms[] = {
            plain("GET", path),
            match("", "GET", path, ""),
            match("", "GET", path, path),
            mounted("", "GET", path, strlen("/v1/gitlab")),
        };
        path[len] = '0';
        for (size_t i = 0; i < COUNT(forms); i++) {
            assert_int_equal(forms[i].verdict, ROUTER_NONE);
            assert_int_equal(strlen(forms[i].path), ROUTER_PATH_SIZE - 1);
            assert_memory_equal(forms[i].path, path, ROUTER_PATH_SIZE - 1);
        }
    }
}

/* Neither a mount of any length nor one that the path has nothing to do with. */
static void test_long_mount(void **state)
{
    static char script[4096];
    (void)state;
    memset(script, 'x', sizeof script - 1);
    struct router_match found = match("", "GET", script, "/v1/gitlab/bbm/status");
    assert_int_equal(found.verdict, ROUTER_FOUND);
    assert_string_equal(found.path, "/v1/gitlab/bbm/status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_mount_with_slash),
        cmocka_unit_test(test_head_is_get),
        cmocka_unit_test(test_other_methods),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_no_route),
        cmocka_unit_test(test_ids_that_are_none),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_prefix_is_needed),
        cmocka_unit_test(test_operational_under_a_mount),
        cmocka_unit_test(test_operational_under_a_base),
        cmocka_unit_test(test_operational_under_another_prefix),
        cmocka_unit_test(test_mount_beside_the_api),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_long_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
