/* SPDX-License-Identifier: MIT
 * REGISTRY_* variables. */
#include "conf.h"

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
    assert_int_equal(conf.fcgi.challenge, CONF_CHALLENGE_ALL);
    conf_free(&conf);
}

/* An empty file and everything from the environment, as is usual in containers. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment_overrides),
        cmocka_unit_test(test_environment_alone),
        cmocka_unit_test(test_environment_that_means_nothing),
        cmocka_unit_test(test_environment_refused),
        cmocka_unit_test(test_environment_values_are_yaml),
        cmocka_unit_test(test_quoted_numbers_of_the_environment),
        cmocka_unit_test(test_log_words_in_any_case),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
