/* SPDX-License-Identifier: MIT
 * The configuration file: what it may say. */
#include "conf.h"

static void test_defaults(void **state)
{
    struct conf conf = loaded(LEAST, no_environment);
    (void)state;
    assert_string_equal(conf.file, unit_path("config.yml"));
    assert_int_equal(conf.log_level, LOG_INFO);
    assert_int_equal(conf.log_format, LOG_JSON);
    assert_string_equal(conf.database.host, "db1");
    assert_int_equal(conf.database.port, 5432);
    assert_string_equal(conf.database.user, "bbm");
    assert_null(conf.database.password);
    assert_string_equal(conf.database.dbname, "registry");
    assert_string_equal(conf.database.sslmode, "prefer");
    assert_null(conf.database.sslcert);
    assert_null(conf.database.sslkey);
    assert_null(conf.database.sslrootcert);
    assert_int_equal(conf.database.connect_timeout_ms, 5000);
    assert_null(conf.database.primary);
    assert_false(conf.token.autoredirect);
    assert_string_equal(conf.http_prefix, "");
    assert_null(conf.fcgi.listen);
    assert_int_equal(conf.fcgi.mode, 0660);
    assert_null(conf.fcgi.group);
    assert_int_equal(conf.fcgi.threads, 8);
    assert_int_equal(conf.fcgi.connections, 1024);
    assert_int_equal(conf.fcgi.timeout_ms, 10000);
    assert_int_equal(conf.fcgi.read_timeout_ms, 10000);
    assert_int_equal(conf.fcgi.idle_timeout_ms, 300000);
    assert_int_equal(conf.fcgi.drain_timeout_ms, 10000);
    assert_int_equal(conf.fcgi.recount_ms, 600000);
    assert_int_equal(conf.fcgi.challenge, CONF_CHALLENGE_ACTION);
    conf_free(&conf);
    assert_null(conf.file);
    assert_null(conf.database.host);
}

static void test_everything(void **state)
{
    struct conf conf =
        loaded("version: 0.1\n"
               "log:\n  level: debug\n  formatter: text\n"
               "database:\n  enabled: true\n  host: /run/postgresql\n  port: 6432\n"
               "  user: \"the user\"\n  password: 'p: #\"w'\n  dbname: r\xC3\xA9gistre\n"
               "  sslmode: verify-full\n  sslcert: /c\n  sslkey: /k\n  sslrootcert: /r\n"
               "  connecttimeout: 1m30s\n  primary: db9\n"
               "auth:\n  token:\n    realm: https://r/\n    service: s\n    issuer: i\n"
               "    rootcertbundle: /b\n    autoredirect: true\n"
               "http:\n  addr: :5000\n  prefix: /registry/\n"
               "fcgi:\n  listen: 127.0.0.1:9000\n  mode: \"0600\"\n  group: www-data\n"
               "  threads: 3\n  connections: 77\n  timeout: 2s\n  readtimeout: 3s\n"
               "  idletimeout: 4m\n  draintimeout: 0\n  recount: 2h\n  challenge: \"*\"\n",
               no_environment);
    (void)state;
    assert_int_equal(conf.log_level, LOG_DEBUG);
    assert_int_equal(conf.log_format, LOG_TEXT);
    assert_string_equal(conf.database.host, "/run/postgresql");
    assert_int_equal(conf.database.port, 6432);
    assert_string_equal(conf.database.user, "the user");
    assert_string_equal(conf.database.password, "p: #\"w");
    assert_string_equal(conf.database.dbname, "r\xC3\xA9gistre");
    assert_string_equal(conf.database.sslmode, "verify-full");
    assert_string_equal(conf.database.sslcert, "/c");
    assert_string_equal(conf.database.sslkey, "/k");
    assert_string_equal(conf.database.sslrootcert, "/r");
    assert_int_equal(conf.database.connect_timeout_ms, 90000);
    assert_string_equal(conf.database.primary, "db9");
    assert_string_equal(conf.token.realm, "https://r/");
    assert_string_equal(conf.token.service, "s");
    assert_string_equal(conf.token.issuer, "i");
    assert_string_equal(conf.token.rootcertbundle, "/b");
    assert_true(conf.token.autoredirect);
    assert_string_equal(conf.http_prefix, "/registry");
    assert_string_equal(conf.fcgi.listen, "127.0.0.1:9000");
    assert_int_equal(conf.fcgi.mode, 0600);
    assert_string_equal(conf.fcgi.group, "www-data");
    assert_int_equal(conf.fcgi.threads, 3);
    assert_int_equal(conf.fcgi.connections, 77);
    assert_int_equal(conf.fcgi.timeout_ms, 2000);
    assert_int_equal(conf.fcgi.read_timeout_ms, 3000);
    assert_int_equal(conf.fcgi.idle_timeout_ms, 240000);
    assert_int_equal(conf.fcgi.drain_timeout_ms, 0);
    assert_int_equal(conf.fcgi.recount_ms, 7200000);
    assert_int_equal(conf.fcgi.challenge, CONF_CHALLENGE_ALL);
    conf_free(&conf);
}

/* What a registry's own file holds beside, wherever it stands and whatever shape it has. */
static void test_other_keys_are_ignored(void **state)
{
    struct conf conf = loaded("version: 0.1\n" LEAST "storage: inmemory\n"
                              "redis: [a, {b: c}]\n"
                              "health: {storagedriver: {enabled: true}}\n"
                              "http: {addr: \":5000\", headers: {X-A: [b]}, host: h}\n"
                              "log: {fields: {service: registry}, accesslog: {disabled: false}}\n"
                              "7: seven\n? [a, b]\n: list\n",
                              no_environment);
    (void)state;
    assert_string_equal(conf.database.host, "db1");
    conf_free(&conf);

    conf = loaded("database: {host: h, user: u, dbname: d, enabled: maybe, pool: {maxidle: 5}, "
                  "fcgi: {nonsense: 1}}\n" AUTH,
                  no_environment);
    assert_string_equal(conf.database.host, "h");
    conf_free(&conf);
}

static void test_null_is_not_given(void **state)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    (void)state;
    for (size_t i = 0; i < COUNT(nulls); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml,
                 LEAST "log:\n  level: %s\nhttp: %s\nfcgi:\n  threads: %s\n"
                       "  listen: %s\n",
                 nulls[i], nulls[i], nulls[i], nulls[i]);
        struct conf conf = loaded(yaml, no_environment);
        assert_int_equal(conf.log_level, LOG_INFO);
        assert_string_equal(conf.http_prefix, "");
        assert_int_equal(conf.fcgi.threads, 8);
        assert_null(conf.fcgi.listen);
        conf_free(&conf);
    }
    /* In quotes they are words. */
    struct conf conf = loaded(WITH_DATABASE("password: \"null\""), no_environment);
    assert_string_equal(conf.database.password, "null");
    conf_free(&conf);
    conf = loaded(LEAST "fcgi:\n", no_environment);
    assert_int_equal(conf.fcgi.threads, 8);
    conf_free(&conf);
}

static void test_merge_keys(void **state)
{
    struct conf conf = loaded("base: &base {host: far, user: bbm, dbname: registry, port: 1}\n"
                              "near: &near {<<: *base, host: near}\n"
                              "database: {<<: *near, port: 6432}\n"
                              "own: &own {threads: 5}\nfcgi: {<<: *own, timeout: 3s}\n" AUTH,
                              no_environment);
    (void)state;
    assert_string_equal(conf.database.host, "near");
    assert_string_equal(conf.database.user, "bbm");
    assert_int_equal(conf.database.port, 6432);
    assert_int_equal(conf.fcgi.threads, 5);
    assert_int_equal(conf.fcgi.timeout_ms, 3000);
    conf_free(&conf);

    conf =
        loaded("x: &host db7\ndatabase: {host: *host, user: u, dbname: d}\n" AUTH, no_environment);
    assert_string_equal(conf.database.host, "db7");
    conf_free(&conf);
}

static void test_prefixes(void **state)
{
    static const char *const spellings[][2] = {
        {"\"\"", ""},
        {"/", ""},
        {"//", ""},
        {"registry", "/registry"},
        {"/registry", "/registry"},
        {"/registry/", "/registry"},
        {"//registry//", "/registry"},
        {"registry/", "/registry"},
        {"/a/b/", "/a/b"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(spellings); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, LEAST "http: {prefix: %s}\n", spellings[i][0]);
        struct conf conf = loaded(yaml, no_environment);
        assert_string_equal(conf.http_prefix, spellings[i][1]);
        conf_free(&conf);
    }
}

static void test_booleans(void **state)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},     {"false", false}, {"True", true}, {"FALSE", false},
                 {"yes", true},      {"no", false},    {"on", true},   {"off", false},
                 {"\"true\"", true}, {"1", true},      {"0", false}};
    (void)state;
    for (size_t i = 0; i < COUNT(words); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml,
                 DATABASE "auth: {token: {realm: r, service: s, issuer: i, rootcertbundle: b, "
                          "autoredirect: %s}}\n",
                 words[i].word);
        struct conf conf = loaded(yaml, no_environment);
        assert_int_equal(conf.token.autoredirect, words[i].value);
        conf_free(&conf);
    }
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } durations[] = {
        {"0", 0},
        {"0s", 0},
        {"5s", 5000},
        {"100ms", 100},
        {"1m", 60000},
        {"1h", 3600000},
        {"1m30s", 90000},
        {"59m59s999ms", 3599999},
        {"1.5s", 1500},
        {".5s", 500},
        {"1.s", 1000},
        {"0.25m", 15000},
        {"2000us", 2},
        {"2000\xC2\xB5s", 2},
        {"3000000ns", 3},
        {"1s1s", 2000},
        {"1us", 0},
        {"00005s", 5000},
        /* A bare integer is nanoseconds, as the registry reads it. */
        {"5000000", 5},
        {"\"2000000000\"", 2000},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(durations); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, WITH_DATABASE("connecttimeout: %s"), durations[i].text);
        struct conf conf = loaded(yaml, no_environment);
        if (conf.database.connect_timeout_ms != durations[i].ms)
            fail_msg("%s came out as %lld ms", durations[i].text,
                     (long long)conf.database.connect_timeout_ms);
        conf_free(&conf);
    }
}

static void test_bounds(void **state)
{
    struct conf conf = loaded(
        WITH_DATABASE("port: 1, connecttimeout: 1h") "fcgi: {threads: 1, connections: 65536, mode: "
                                                     "0, timeout: 100ms, idletimeout: 24h}\n",
        no_environment);
    (void)state;
    assert_int_equal(conf.database.port, 1);
    assert_int_equal(conf.database.connect_timeout_ms, 3600000);
    assert_int_equal(conf.fcgi.threads, 1);
    assert_int_equal(conf.fcgi.connections, 65536);
    assert_int_equal(conf.fcgi.mode, 0);
    assert_int_equal(conf.fcgi.timeout_ms, 100);
    assert_int_equal(conf.fcgi.idle_timeout_ms, 86400000);
    conf_free(&conf);
    conf =
        loaded(WITH_DATABASE("port: 65535") "fcgi: {threads: 256, mode: 0777}\n", no_environment);
    assert_int_equal(conf.database.port, 65535);
    assert_int_equal(conf.fcgi.threads, 256);
    assert_int_equal(conf.fcgi.mode, 0777);
    conf_free(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_other_keys_are_ignored),
        cmocka_unit_test(test_null_is_not_given),
        cmocka_unit_test(test_merge_keys),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_booleans),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
