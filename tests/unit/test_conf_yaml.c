/* SPDX-License-Identifier: MIT
 * YAML beyond the usual: aliases and merges that never end, several documents, tags, zero bytes;
 * and single values of the environment. */
#include "conf.h"

#include "base/conf_settings.h"

#include <sys/stat.h>

/* ---- the file ---- */

/* Neither loads for ever nor dies; a refusal names the file. */
static void assert_survives(const char *yaml)
{
    struct conf conf;
    char why[512];
    const char *path = unit_write("config.yml", yaml);
    if (!conf_load(&conf, path, no_environment, why, sizeof why))
        assert_says(why, path);
    conf_free(&conf);
}

static void test_structures_without_an_end(void **state)
{
    (void)state;
    assert_survives("&a [*a, *a]\n");
    assert_survives("a: &a {b: *a}\n" LEAST);
    assert_survives("&a {? *a : *a}\n");
    assert_survives("fcgi: &a {<<: [*a, *a, *a, *a]}\n" LEAST);
    assert_survives("x: &a {<<: &b {<<: *a}}\nfcgi: {<<: [*a, *b]}\n" LEAST);
}

/* Each level names the one before ten times: ten thousand million values, if they were copied. */
static void test_many_aliases(void **state)
{
    char yaml[2048] = LEAST "l0: &l0 {threads: 1}\n";
    (void)state;
    for (int i = 1; i <= 9; i++) {
        size_t used = strlen(yaml);
        snprintf(yaml + used, sizeof yaml - used,
                 "l%d: &l%d {<<: [*l%d,*l%d,*l%d,*l%d,*l%d,*l%d,*l%d,*l%d,*l%d,*l%d]}\n", i, i,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    assert_survives(yaml);
    snprintf(yaml + strlen(yaml), sizeof yaml - strlen(yaml), "fcgi: {<<: *l3}\n");
    struct conf conf = loaded(yaml, no_environment);
    assert_int_equal(conf.fcgi.threads, 1);
    conf_free(&conf);
}

static void test_deep_nesting(void **state)
{
    char yaml[20001];
    (void)state;
    memset(yaml, '[', sizeof yaml - 1);
    yaml[sizeof yaml - 1] = '\0';
    assert_survives(yaml);
    for (size_t i = 0; i + 1 < sizeof yaml; i += 2)
        memcpy(yaml + i, "- ", 2);
    assert_survives(yaml);
}

/* The one that stands nearest counts: the mapping's own, then the first merged. */
static void test_order_of_merges(void **state)
{
    (void)state;
    struct conf conf = loaded(LEAST "a: &a {threads: 1, connections: 1}\n"
                                    "b: &b {threads: 2, connections: 2, timeout: 2s}\n"
                                    "fcgi: {<<: [*a, *b], connections: 3}\n",
                              no_environment);
    assert_int_equal(conf.fcgi.threads, 1);
    assert_int_equal(conf.fcgi.connections, 3);
    assert_int_equal(conf.fcgi.timeout_ms, 2000);
    conf_free(&conf);
}

/* A merged value is wrong as one that stands there. */
static void test_merge_of_what_is_no_mapping(void **state)
{
    (void)state;
    struct conf conf = loaded(LEAST "fcgi: {<<: words, threads: 2}\n", no_environment);
    assert_int_equal(conf.fcgi.threads, 2);
    conf_free(&conf);
    assert_refused(LEAST "a: &a {threads: 0}\nfcgi: {<<: *a}\n", ":3: fcgi.threads: ", "from 1");
}

/* Only the first counts, as for the registry. */
static void test_several_documents(void **state)
{
    (void)state;
    struct conf conf =
        loaded("---\n" LEAST "fcgi: {threads: 2}\n---\nfcgi: {threads: 3}\n", no_environment);
    assert_int_equal(conf.fcgi.threads, 2);
    conf_free(&conf);
}

/* Line numbers are right behind comments, folded texts and the lines of a merge. */
static void test_lines(void **state)
{
    (void)state;
    assert_refused("# a\n\n" DATABASE "# b\n" AUTH "log:\n\n  # c\n  level: loud\n",
                   ":9: log.level: ", "expected one of");
    assert_refused(LEAST "x: >\n  a\n  b\n\nfcgi:\n  threads: 0\n", ":8: fcgi.threads: ", "found");
}

static void test_a_key_that_is_no_text(void **state)
{
    (void)state;
    struct conf conf = loaded(LEAST "? [a, b]\n: c\n? {d: e}\n: f\n~: g\n", no_environment);
    conf_free(&conf);
}

static void test_quoted_null_is_a_text(void **state)
{
    (void)state;
    struct conf conf = loaded(WITH_DATABASE("password: \"~\""), no_environment);
    assert_string_equal(conf.database.password, "~");
    conf_free(&conf);
    conf = loaded(WITH_DATABASE("password: 'null'"), no_environment);
    assert_string_equal(conf.database.password, "null");
    conf_free(&conf);
    conf = loaded(WITH_DATABASE("password: NULL"), no_environment);
    assert_null(conf.database.password);
    conf_free(&conf);
}

static void test_empty_files(void **state)
{
    static const char *const files[] = {"", "\n", "# only a comment\n", "---\n", "~\n", "{}\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++)
        assert_refused(files[i], ": database.host: ", "missing");
}

/* A pipe, as a shell's <(...) gives one, is read; what is no file is refused at once. */
static void test_file_that_is_none(void **state)
{
    struct conf conf;
    char why[512];
    (void)state;
    assert_false(conf_load(&conf, "/dev/null", no_environment, why, sizeof why));
    assert_says(why, "database.host");
    conf_free(&conf);
    assert_false(conf_load(&conf, "/", no_environment, why, sizeof why));
    assert_says(why, "/: cannot be read: Is a directory");
    conf_free(&conf);
}

/* ---- values of the environment ---- */

static void assert_scalar(const char *text, const char *expected)
{
    char *value;
    assert_true(conf_read_scalar(text, &value));
    if (!expected && value)
        fail_msg("\"%s\" is \"%s\"", text, value);
    if (expected && (!value || strcmp(value, expected) != 0))
        fail_msg("\"%s\" is \"%s\", not \"%s\"", text, value ? value : "(none)", expected);
    free(value);
}

static void test_scalars(void **state)
{
    (void)state;
    assert_scalar("plain", "plain");
    assert_scalar("\"quo\\x41ted\"", "quoAted");
    assert_scalar("'it''s'", "it's");
    assert_scalar("value # comment", "value");
    assert_scalar("a#b", "a#b");
    assert_scalar("!!str 5", "5");
}

static void test_no_value(void **state)
{
    static const char *const texts[] = {"", " ", "\n", "~", "null", "Null", "# comment", "--- ~"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_scalar(texts[i], NULL);
    assert_scalar("\"\"", "");
    assert_scalar("'~'", "~");
}

/* A password may look like YAML of another kind: it is taken as it is. */
static void test_texts_that_are_no_scalar(void **state)
{
    static const char *const texts[] = {
        "*star", "&",     "a: b",    "[a, b]",   "{a: b}", "- a",   "\"open", "'open", "%percent",
        "@at",   "`tick", "a\tb: c", "\xFF\xFE", "\x01x",  "|pipe", "key: [", "?",     ":"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_scalar(texts[i], texts[i]);
    /* A tag without a value is YAML's way to write an empty one. */
    assert_scalar("!bang", NULL);
}

/* As `cat` of a secret's file leaves it. */
static void test_final_newlines(void **state)
{
    (void)state;
    assert_scalar("*secret\n", "*secret");
    assert_scalar("*secret\r\n\r\n", "*secret");
    assert_scalar("{a\n}\n", "{a\n}");
    assert_scalar("plain\n", "plain");
}

/* An escaped zero byte would cut the value. */
static void test_zero_byte(void **state)
{
    (void)state;
    assert_scalar("\"a\\0b\"", "\"a\\0b\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structures_without_an_end),
        cmocka_unit_test(test_many_aliases),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_order_of_merges),
        cmocka_unit_test(test_merge_of_what_is_no_mapping),
        cmocka_unit_test(test_several_documents),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_a_key_that_is_no_text),
        cmocka_unit_test(test_quoted_null_is_a_text),
        cmocka_unit_test(test_empty_files),
        cmocka_unit_test(test_file_that_is_none),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_no_value),
        cmocka_unit_test(test_texts_that_are_no_scalar),
        cmocka_unit_test(test_final_newlines),
        cmocka_unit_test(test_zero_byte),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
