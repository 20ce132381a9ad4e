/* SPDX-License-Identifier: MIT
 * The configuration: what is taken, from where, and what each refusal says. */
#include "unit.h"

#include "base/conf.h"

#include <stdbool.h>

#define DATABASE "database: {host: db1, user: bbm, dbname: registry}\n"
#define AUTH                                                                                       \
    "auth: {token: {realm: https://gitlab.example.com/jwt/auth, service: container_registry, "     \
    "issuer: gitlab-issuer, rootcertbundle: /etc/bundle.pem}}\n"
/* The least that there must be: two lines. */
#define LEAST DATABASE AUTH

/* The least with more in its database section. */
#define WITH_DATABASE(more) "database: {host: db1, user: bbm, dbname: registry, " more "}\n" AUTH

static char *const no_environment[] = {NULL};

static struct conf loaded(const char *yaml, char *const *environment)
{
    struct conf conf;
    char why[512];
    memset(&conf, 0xA5, sizeof conf);
    if (!conf_load(&conf, unit_write("config.yml", yaml), environment, why, sizeof why))
        fail_msg("refused: %s", why);
    assert_string_equal(why, "");
    return conf;
}

static void assert_says(const char *why, const char *expected)
{
    if (!strstr(why, expected))
        fail_msg("\"%s\" does not say \"%s\"", why, expected);
}

/* One line that begins with the file's path, `place`, and says `expected`. */
static void assert_refused_with(const char *yaml, char *const *environment, const char *place,
                                const char *expected)
{
    struct conf conf;
    char why[512];
    char start[sizeof unit_folder + 160];
    const char *path = unit_write("config.yml", yaml);
    bool good = conf_load(&conf, path, environment, why, sizeof why);
    snprintf(start, sizeof start, "%s%s", path, place);
    conf_free(&conf);
    if (good)
        fail_msg("taken, and not refused with \"%s\": %s", expected, yaml);
    if (strncmp(why, start, strlen(start)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", why, start);
    assert_says(why, expected);
    assert_null(strchr(why, '\n'));
}

static void assert_refused(const char *yaml, const char *place, const char *expected)
{
    assert_refused_with(yaml, no_environment, place, expected);
}

/* ---- what is taken ---- */

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
    assert_false(conf.fcgi.challenge_all);
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
    assert_true(conf.fcgi.challenge_all);
    conf_free(&conf);
}

/* What a registry's own file holds beside, wherever it stands and whatever shape it has. */
static void test_other_keys_are_passed_over(void **state)
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

/* ---- the environment ---- */

static void test_environment_overrides(void **state)
{
    static char *const environment[] = {
        "REGISTRY_LOG_LEVEL=warn",
        "REGISTRY_LOG_FORMATTER=text",
        "REGISTRY_DATABASE_HOST=other",
        "REGISTRY_DATABASE_PORT=6432",
        "REGISTRY_DATABASE_USER=u2",
        "REGISTRY_DATABASE_PASSWORD=pa=ss:{word}",
        "REGISTRY_DATABASE_DBNAME=d2",
        "REGISTRY_DATABASE_SSLMODE=require",
        "REGISTRY_DATABASE_CONNECTTIMEOUT=7s",
        "REGISTRY_AUTH_TOKEN_REALM=https://other/auth",
        "REGISTRY_AUTH_TOKEN_SERVICE=s2",
        "REGISTRY_AUTH_TOKEN_ISSUER=i2",
        "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE=/b2",
        "REGISTRY_AUTH_TOKEN_AUTOREDIRECT=true",
        "REGISTRY_HTTP_PREFIX=/x/",
        "REGISTRY_FCGI_LISTEN=/run/x.sock",
        "REGISTRY_FCGI_THREADS=2",
        "REGISTRY_FCGI_CHALLENGE=*",
        NULL,
    };
    struct conf conf = loaded(WITH_DATABASE("password: secret, port: 1"), environment);
    (void)state;
    assert_int_equal(conf.log_level, LOG_WARN);
    assert_int_equal(conf.log_format, LOG_TEXT);
    assert_string_equal(conf.database.host, "other");
    assert_int_equal(conf.database.port, 6432);
    assert_string_equal(conf.database.user, "u2");
    assert_string_equal(conf.database.password, "pa=ss:{word}");
    assert_string_equal(conf.database.dbname, "d2");
    assert_string_equal(conf.database.sslmode, "require");
    assert_int_equal(conf.database.connect_timeout_ms, 7000);
    assert_string_equal(conf.token.realm, "https://other/auth");
    assert_string_equal(conf.token.service, "s2");
    assert_string_equal(conf.token.issuer, "i2");
    assert_string_equal(conf.token.rootcertbundle, "/b2");
    assert_true(conf.token.autoredirect);
    assert_string_equal(conf.http_prefix, "/x");
    assert_string_equal(conf.fcgi.listen, "/run/x.sock");
    assert_int_equal(conf.fcgi.threads, 2);
    assert_true(conf.fcgi.challenge_all);
    conf_free(&conf);
}

/* An empty file and everything from the environment, as containers like it. */
static void test_environment_alone(void **state)
{
    static char *const environment[] = {
        "REGISTRY_DATABASE_HOST=h",
        "REGISTRY_DATABASE_USER=u",
        "REGISTRY_DATABASE_DBNAME=d",
        "REGISTRY_AUTH_TOKEN_REALM=r",
        "REGISTRY_AUTH_TOKEN_SERVICE=s",
        "REGISTRY_AUTH_TOKEN_ISSUER=i",
        "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE=/b",
        NULL,
    };
    static const char *const files[] = {"",    "# nothing\n",    "---\n",
                                        "~\n", "version: 0.1\n", "auth:\n  token:\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        struct conf conf = loaded(files[i], environment);
        assert_string_equal(conf.database.host, "h");
        assert_string_equal(conf.token.rootcertbundle, "/b");
        conf_free(&conf);
    }
}

static void test_environment_that_means_nothing(void **state)
{
    static char *const environment[] = {
        "REGISTRY_FF_BBM=true",
        "REGISTRY_PORT=tcp://10.0.0.1:5000",
        "REGISTRY_PORT_5000_TCP_ADDR=10.0.0.1",
        "REGISTRY_SERVICE_HOST=10.0.0.1",
        "REGISTRY_DATABASE=",
        "REGISTRY_DATABASE_HOST_X=x",
        "REGISTRY_DATABASE_HOST",
        "registry_database_host=x",
        "XREGISTRY_DATABASE_HOST=x",
        "DATABASE_HOST=x",
        "REGISTRY_FCGI_NONSENSE=1",
        "REGISTRY_",
        "=",
        "",
        /* set, and blank: as if not set */
        "REGISTRY_DATABASE_PORT=",
        "REGISTRY_DATABASE_USER=",
        "REGISTRY_FCGI_THREADS=",
        NULL,
    };
    struct conf conf = loaded(LEAST, environment);
    (void)state;
    assert_string_equal(conf.database.host, "db1");
    assert_int_equal(conf.database.port, 5432);
    assert_string_equal(conf.database.user, "bbm");
    conf_free(&conf);
    conf = loaded(LEAST, NULL);
    conf_free(&conf);
}

static void test_environment_refused(void **state)
{
    static const struct {
        char *variable;
        const char *place;
        const char *expected;
    } cases[] = {
        {"REGISTRY_DATABASE_PORT=x",
         ": database.port (from the environment, REGISTRY_DATABASE_PORT): ",
         "expected a whole number from 1 to 65535; found \"x\""},
        {"REGISTRY_LOG_LEVEL=loud", ": log.level (from the environment, REGISTRY_LOG_LEVEL): ",
         "expected one of debug, info, warn, error, trace; found \"loud\""},
        {"REGISTRY_AUTH_TOKEN_AUTOREDIRECT=2",
         ": auth.token.autoredirect (from the environment, REGISTRY_AUTH_TOKEN_AUTOREDIRECT): ",
         "expected true or false; found \"2\""},
        {"REGISTRY_FCGI_TIMEOUT=5",
         ": fcgi.timeout (from the environment, REGISTRY_FCGI_TIMEOUT): ",
         "expected a duration such as \"5s\""},
        {"REGISTRY_FCGI_MODE=rw", ": fcgi.mode (from the environment, REGISTRY_FCGI_MODE): ",
         "expected a file mode in octal"},
        {"REGISTRY_DATABASE_SSLMODE=ssl\nfake line",
         ": database.sslmode (from the environment, REGISTRY_DATABASE_SSLMODE): ",
         "found \"ssl fake line\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *const environment[] = {cases[i].variable, NULL};
        assert_refused_with(LEAST, environment, cases[i].place, cases[i].expected);
    }
}

/* As the registry reads them: YAML scalars. */
static void test_environment_values_are_yaml(void **state)
{
    static const struct {
        const char *text;
        const char *password; /* NULL: not given */
    } cases[] = {
        {"secret", "secret"},
        {"\"secret\"", "secret"},
        {"'it''s'", "it's"},
        {"\"a\\tb\"", "a\tb"},
        {"secret # note", "secret"},
        {"secret#1", "secret#1"},
        {"secret\n", "secret"},
        {"secret\r\n", "secret"},
        {"'secret'\n", "secret"},
        {"null", NULL},
        {"~", NULL},
        {"\n", NULL},
        {"'null'", "null"},
        /* No YAML scalar: taken as it is. */
        {"*", "*"},
        {"*star\n", "*star"},
        {"@at", "@at"},
        {"%25", "%25"},
        {"{brace", "{brace"},
        {"[a, b]", "[a, b]"},
        {"key: value", "key: value"},
        {"\"unclosed", "\"unclosed"},
        {"\xFF\xFE", "\xFF\xFE"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char variable[64];
        snprintf(variable, sizeof variable, "REGISTRY_DATABASE_PASSWORD=%s", cases[i].text);
        char *const environment[] = {variable, NULL};
        struct conf conf = loaded(LEAST, environment);
        if (!cases[i].password)
            assert_null(conf.database.password);
        else
            assert_string_equal(conf.database.password, cases[i].password);
        conf_free(&conf);
    }
}

static void test_quoted_numbers_of_the_environment(void **state)
{
    static char *const environment[] = {"REGISTRY_DATABASE_PORT='6432'\n",
                                        "REGISTRY_DATABASE_CONNECTTIMEOUT=\"7s\"",
                                        "REGISTRY_FCGI_THREADS= 3", NULL};
    struct conf conf = loaded(LEAST, environment);
    (void)state;
    assert_int_equal(conf.database.port, 6432);
    assert_int_equal(conf.database.connect_timeout_ms, 7000);
    assert_int_equal(conf.fcgi.threads, 3);
    conf_free(&conf);
}

static void test_log_words_in_any_case(void **state)
{
    static const struct {
        const char *word;
        enum log_level level;
    } levels[] = {{"INFO", LOG_INFO},   {"Warn", LOG_WARN},   {"ERROR", LOG_ERROR},
                  {"trace", LOG_DEBUG}, {"TRACE", LOG_DEBUG}, {"Debug", LOG_DEBUG}};
    (void)state;
    for (size_t i = 0; i < COUNT(levels); i++) {
        char yaml[1024];
        char variable[64];
        snprintf(yaml, sizeof yaml, LEAST "log: {level: %s, formatter: JSON}\n", levels[i].word);
        struct conf conf = loaded(yaml, no_environment);
        assert_int_equal(conf.log_level, levels[i].level);
        assert_int_equal(conf.log_format, LOG_JSON);
        conf_free(&conf);
        snprintf(variable, sizeof variable, "REGISTRY_LOG_LEVEL=%s", levels[i].word);
        char *const environment[] = {variable, (char[]){"REGISTRY_LOG_FORMATTER=Text"}, NULL};
        conf = loaded(LEAST, environment);
        assert_int_equal(conf.log_level, levels[i].level);
        assert_int_equal(conf.log_format, LOG_TEXT);
        conf_free(&conf);
    }
    /* libpq knows lower case alone. */
    assert_refused(WITH_DATABASE("sslmode: Require"),
                   ":1: database.sslmode: ", "found \"Require\"");
}

static void test_hosts(void **state)
{
    static const char *const spellings[][2] = {
        {"\"a, b\"", "a,b"},
        {"\" a ,b \"", "a,b"},
        {"\"[::1]\"", "::1"},
        {"\"::1\"", "::1"},
        {"\"[::1], [fe80::1]\"", "::1,fe80::1"},
        {"/run/postgresql", "/run/postgresql"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(spellings); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "database: {host: %s, user: u, dbname: d, primary: %s}\n" AUTH,
                 spellings[i][0], spellings[i][0]);
        struct conf conf = loaded(yaml, no_environment);
        assert_string_equal(conf.database.host, spellings[i][1]);
        assert_string_equal(conf.database.primary, spellings[i][1]);
        conf_free(&conf);
    }
    assert_refused("database: {host: \"a,,b\", user: u, dbname: d}\n" AUTH,
                   ": database.host: ", "expected a host between the commas; found \"a,,b\"");
    assert_refused("database: {host: \"a, \", user: u, dbname: d}\n" AUTH,
                   ": database.host: ", "expected a host between the commas");
}

/* ---- refusals ---- */

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
    assert_refused(LEAST "fcgi:\n  threads: 2\n  thread: 2\n",
                   ":5: fcgi.thread: ", "unknown key; fcgi takes listen, mode, group, threads");
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
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_other_keys_are_passed_over),
        cmocka_unit_test(test_null_is_not_given),
        cmocka_unit_test(test_merge_keys),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_booleans),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_environment_overrides),
        cmocka_unit_test(test_environment_alone),
        cmocka_unit_test(test_environment_that_means_nothing),
        cmocka_unit_test(test_environment_refused),
        cmocka_unit_test(test_environment_values_are_yaml),
        cmocka_unit_test(test_quoted_numbers_of_the_environment),
        cmocka_unit_test(test_log_words_in_any_case),
        cmocka_unit_test(test_hosts),
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
