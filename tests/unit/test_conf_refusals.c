/* SPDX-License-Identifier: MIT
 * What a wrong configuration file is refused with. */
#include "conf.h"

static void test_keys_given_twice(void **state)
{
    (void)state;
    assert_refused("database: {host: db1, user: bbm, dbname: registry}\n" AUTH
                   "database:\n  host: x\n",
                   ":3: database: ", "the key stands twice, first on line 1; remove one");
    assert_refused("database:\n  host: a\n  user: u\n  host: b\n  dbname: d\n" AUTH,
                   ":4: host: ", "the key stands twice, first on line 2");
    assert_refused(LEAST "fcgi: {threads: 1, threads: 1}\n", ":3: threads: ", "first on line 3");
    /* In a section that is not ours, the registry itself refuses the file. */
    assert_refused(LEAST "storage:\n  s3: {a: 1}\n  s3: {b: 2}\n", ":5: s3: ", "first on line 4");
}

static void test_wrong_values(void **state)
{
    static const struct {
        const char *yaml;
        const char *place;
        const char *expected;
    } cases[] = {
        {LEAST "log: {level: loud}\n",
         ":3: log.level: ", "expected one of debug, info, warn, error, trace; found \"loud\""},
        {LEAST "log:\n  formatter: logstash\n",
         ":4: log.formatter: ", "expected one of text, json; found \"logstash\""},
        {WITH_DATABASE("port: 0"), ":1: database.port: ", "from 1 to 65535; found \"0\""},
        {WITH_DATABASE("port: 65536"), ":1: database.port: ", "found \"65536\""},
        {WITH_DATABASE("port: -1"), ":1: database.port: ", "found \"-1\""},
        {WITH_DATABASE("port: 5432x"), ":1: database.port: ", "found \"5432x\""},
        {WITH_DATABASE("port: 54.32"), ":1: database.port: ", "found \"54.32\""},
        {WITH_DATABASE("port: \"\""), ":1: database.port: ", "found \"\""},
        {WITH_DATABASE("port: \" 5432\""), ":1: database.port: ", "found \" 5432\""},
        {WITH_DATABASE("port: 99999999999999999999"),
         ":1: database.port: ", "expected a whole number"},
        {WITH_DATABASE("port: [5432]"),
         ":1: database.port: ", "expected a single value; found a list"},
        {WITH_DATABASE("port: {a: b}"),
         ":1: database.port: ", "expected a single value; found a section"},
        {WITH_DATABASE("sslmode: on"), ":1: database.sslmode: ",
         "expected one of disable, allow, prefer, require, verify-ca, verify-full; found \"on\""},
        {WITH_DATABASE("password: \"a\\0b\""), ":1: database.password: ", "found a zero byte"},
        {DATABASE "auth: {token: {autoredirect: maybe}}\n",
         ":2: auth.token.autoredirect: ", "expected true or false; found \"maybe\""},
        {LEAST "http: {prefix: [a]}\n",
         ":3: http.prefix: ", "expected a single value; found a list"},
        {LEAST "fcgi:\n  threads: 0\n", ":4: fcgi.threads: ", "from 1 to 256; found \"0\""},
        {LEAST "fcgi:\n  threads: 257\n", ":4: fcgi.threads: ", "from 1 to 256"},
        {LEAST "fcgi:\n\n  connections: many\n", ":5: fcgi.connections: ", "from 1 to 65536"},
        {LEAST "fcgi: {mode: 0888}\n",
         ":3: fcgi.mode: ", "octal, such as \"0660\"; found \"0888\""},
        {LEAST "fcgi: {mode: 1777}\n", ":3: fcgi.mode: ", "octal"},
        {LEAST "fcgi: {mode: u=rw}\n", ":3: fcgi.mode: ", "octal"},
        {LEAST "fcgi: {challenge: all}\n",
         ":3: fcgi.challenge: ", "expected one of action, *; found \"all\""},
        {LEAST "fcgi: {timeout: 99ms}\n", ":3: fcgi.timeout: ", "from 100ms to 1h; found \"99ms\""},
        {LEAST "fcgi: {idletimeout: 25h}\n", ":3: fcgi.idletimeout: ", "to 24h; found \"25h\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refused(cases[i].yaml, cases[i].place, cases[i].expected);
}

static void test_wrong_durations(void **state)
{
    static const char *const texts[] = {
        "-5",     "\"\"",
        "s",      "5 s",
        "5sec",   "5S",
        "-5s",    "+5s",
        "1m 30s", "\" 5s\"",
        "5s ,",   "five",
        "1d",     ".s",
        "1..5s",  "5s5",
        "61m",    "1h1ms",
        "inf",    "nan",
        "nans",   "0x",
        "5,5s",   "1e",
        "1ss",    "9999999999999999h",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "database:\n  connecttimeout: %s\n" AUTH, texts[i]);
        assert_refused(yaml, ":2: database.connecttimeout: ",
                       "expected a duration such as \"5s\" or \"1m30s\", from 0ms to 1h");
    }
}

/* Spellings of C's numbers that are none of Go's durations. */
static void test_durations_of_c(void **state)
{
    static const char *const texts[] = {"1e3s", "0x10s", "1E1s", "0x1p3s"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "database:\n  connecttimeout: %s\n" AUTH, texts[i]);
        assert_refused(yaml, ":2: database.connecttimeout: ", "expected a duration");
    }
}

static void test_missing(void **state)
{
    static const struct {
        const char *yaml;
        const char *place;
        const char *variable;
    } cases[] = {
        {"", ": database.host: ", "REGISTRY_DATABASE_HOST"},
        {AUTH, ": database.host: ", "REGISTRY_DATABASE_HOST"},
        {"database: {host: \"\", user: u, dbname: d}\n" AUTH,
         ": database.host: ", "REGISTRY_DATABASE_HOST"},
        {"database: {host: h, user: ~, dbname: d}\n" AUTH,
         ": database.user: ", "REGISTRY_DATABASE_USER"},
        {"database: {host: h, user: u}\n" AUTH, ": database.dbname: ", "REGISTRY_DATABASE_DBNAME"},
        {DATABASE, ": auth.token.realm: ", "REGISTRY_AUTH_TOKEN_REALM"},
        {DATABASE "auth: {token: {realm: r}}\n",
         ": auth.token.service: ", "REGISTRY_AUTH_TOKEN_SERVICE"},
        {DATABASE "auth: {token: {realm: r, service: s}}\n",
         ": auth.token.issuer: ", "REGISTRY_AUTH_TOKEN_ISSUER"},
        {DATABASE "auth: {token: {realm: r, service: s, issuer: i}}\n",
         ": auth.token.rootcertbundle: ", "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_refused(cases[i].yaml, cases[i].place, "missing");
        assert_refused(cases[i].yaml, cases[i].place, cases[i].variable);
    }
}

static void test_unknown_own_keys(void **state)
{
    (void)state;
    assert_refused(LEAST "fcgi:\n  threads: 2\n  thread: 2\n", ":5: fcgi.thread: ",
                   "unknown key; fcgi takes listen, mode, group, threads, connections, "
                   "timeout, queuetimeout, readtimeout, idletimeout, draintimeout, recount, "
                   "challenge, sandbox");
    assert_refused(LEAST "fcgi: {Threads: 2}\n", ":3: fcgi.Threads: ", "unknown key");
    assert_refused(LEAST "fcgi: {threads.x: 2}\n", ":3: fcgi.threads.x: ", "unknown key");
    assert_refused(LEAST "fcgi: {\"\": 2}\n", ":3: fcgi.: ", "unknown key");
    assert_refused(LEAST "fcgi:\n  ? [a]\n  : b\n", ":4: fcgi.: ", "unknown key");
}

/* What the file holds cannot make the message two lines. */
static void test_unknown_key_with_line_end(void **state)
{
    (void)state;
    assert_refused(LEAST "fcgi: {\"a\\nb\": 2}\n", ":3: fcgi.", "unknown key");
}

static void test_wrong_shapes(void **state)
{
    static const struct {
        const char *yaml;
        const char *place;
    } cases[] = {
        {"database: postgres\n" AUTH, ":1: database: "},
        {"\ndatabase: [a]\n" AUTH, ":2: database: "},
        {DATABASE "auth: {token: silly}\n", ":2: auth.token: "},
        {DATABASE "auth: {token: [realm, r]}\n", ":2: auth.token: "},
        {LEAST "fcgi: 9000\n", ":3: fcgi: "},
        {LEAST "fcgi:\n- listen\n", ":4: fcgi: "},
        {"- a\n- b\n", ":1: the file: "},
        {"just words\n", ":1: the file: "},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refused(cases[i].yaml, cases[i].place, "expected a section");
}

static void test_not_yaml(void **state)
{
    (void)state;
    assert_refused(LEAST "log: {level: info\n", ":4: not valid YAML: ", "expected");
    assert_refused("database:\n\thost: a\n", ":2: not valid YAML: ", "");
    assert_refused(LEAST "x: *nowhere\n", ":3: not valid YAML: ", "undefined alias");
    assert_refused("a: \"\xFF\"\n", ":1: not valid YAML: ", "UTF-8");
}

static void test_no_file(void **state)
{
    struct conf conf;
    char why[512];
    (void)state;
    assert_false(conf_load(&conf, unit_path("missing.yml"), no_environment, why, sizeof why));
    assert_says(why, unit_path("missing.yml"));
    assert_says(why, "No such file or directory");
    assert_says(why, "-c");
    conf_free(&conf);
    assert_false(conf_load(&conf, unit_folder, no_environment, why, sizeof why));
    assert_says(why, unit_folder);
    conf_free(&conf);
}

/* Merges that name each other, or go on for ever, do not hang the start. */
static void test_endless_merges(void **state)
{
    struct conf conf;
    char why[512];
    (void)state;
    const char *path =
        unit_write("endless.yml", "database: &a {<<: *a, host: h, user: u, dbname: d}\n" AUTH);
    if (!conf_load(&conf, path, no_environment, why, sizeof why))
        assert_says(why, path);
    conf_free(&conf);
}

/* A message that does not fit is cut, and still closed. */
static void test_short_why(void **state)
{
    struct conf conf;
    char why[24];
    (void)state;
    memset(why, 'x', sizeof why);
    assert_false(conf_load(&conf, unit_write("config.yml", "log: {level: loud}\n"), no_environment,
                           why, sizeof why));
    assert_non_null(memchr(why, '\0', sizeof why));
    conf_free(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_given_twice),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_wrong_durations),
        cmocka_unit_test(test_durations_of_c),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_unknown_own_keys),
        cmocka_unit_test(test_unknown_key_with_line_end),
        cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_not_yaml),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_endless_merges),
        cmocka_unit_test(test_short_why),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
