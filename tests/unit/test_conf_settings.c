/* SPDX-License-Identifier: MIT
 * The table of settings, as the rest of the configuration relies on it. */
#include "conf.h"

#include "base/conf_settings.h"

#include <ctype.h>

static size_t size_of(enum conf_type type)
{
    switch (type) {
    case STRING:
        return sizeof(char *);
    case BOOLEAN:
        return sizeof(bool);
    case CHOICE:
        return sizeof(enum log_level);
    default:
        return sizeof(int64_t);
    }
}

/* Two rows of one key, or two keys for one member, would set each other's value. */
static void test_each_key_and_member_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_setting_count; i++) {
        const struct conf_setting *one = &conf_settings[i];
        assert_true(one->offset + size_of(one->type) <= sizeof(struct conf));
        for (size_t j = 0; j < i; j++) {
            const struct conf_setting *other = &conf_settings[j];
            assert_string_not_equal(one->path, other->path);
            if (one->offset < other->offset + size_of(other->type) &&
                other->offset < one->offset + size_of(one->type))
                fail_msg("%s and %s overlap", one->path, other->path);
        }
    }
}

/* A default is read as any value is: a wrong one would refuse every file. */
static void test_defaults_are_valid(void **state)
{
    const struct conf_origin origin = {.file = "default"};
    char why[256] = "";
    const struct conf_report report = {why, sizeof why};
    (void)state;
    for (size_t i = 0; i < conf_setting_count; i++) {
        const struct conf_setting *setting = &conf_settings[i];
        struct conf conf = {0};
        if (setting->fallback && !conf_set(&conf, setting, setting->fallback, &origin, &report))
            fail_msg("%s", why);
        conf_free(&conf);
    }
}

/* A required value that had a default would never be missed; and a number without one would be 0,
 * whatever its bounds. */
static void test_required_or_default(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_setting_count; i++) {
        const struct conf_setting *setting = &conf_settings[i];
        if (setting->required) {
            assert_int_equal(setting->type, STRING);
            assert_null(setting->fallback);
        } else if (setting->type != STRING && !setting->fallback) {
            fail_msg("%s has no default", setting->path);
        }
        if (setting->type == INTEGER || setting->type == DURATION || setting->type == OCTAL)
            assert_true(setting->min < setting->max);
    }
}

/* Of what the environment's names are made: no two alike, and no longer than there is room for. */
static void test_paths_are_names_of_variables(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_setting_count; i++) {
        const char *path = conf_settings[i].path;
        assert_true(strlen("REGISTRY_") + strlen(path) < sizeof((struct conf_origin){0}).variable);
        assert_non_null(strchr(path, '.'));
        for (const char *p = path; *p; p++) {
            if (*p != '.' && !islower((unsigned char)*p))
                fail_msg("%s", path);
        }
    }
}

/* The message on an unknown key under fcgi names all that there are. */
static void test_own_keys_are_all_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_setting_count; i++) {
        if (strncmp(conf_settings[i].path, "fcgi.", 5) == 0)
            assert_refused(LEAST "fcgi: {nonsense: 1}\n",
                           ":3: fcgi.nonsense: ", conf_settings[i].path + 5);
    }
}

/* The words stand for the numbers of these enums. */
static void test_choices_are_the_enums(void **state)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    static const char *const sandboxes[] = {"off", "log", "on"};
    char yaml[512];
    (void)state;
    for (size_t i = 0; i < COUNT(levels); i++) {
        snprintf(yaml, sizeof yaml, LEAST "log: {level: %s}\n", levels[i]);
        struct conf conf = loaded(yaml, no_environment);
        assert_int_equal(conf.log_level, LOG_DEBUG + (int)i);
        conf_free(&conf);
    }
    for (size_t i = 0; i < COUNT(sandboxes); i++) {
        snprintf(yaml, sizeof yaml, LEAST "fcgi: {sandbox: %s}\nlog: {formatter: %s}\n",
                 sandboxes[i], i % 2 ? "json" : "text");
        struct conf conf = loaded(yaml, no_environment);
        assert_int_equal(conf.fcgi.sandbox, CONF_SANDBOX_OFF + (int)i);
        assert_int_equal(conf.log_format, i % 2 ? LOG_JSON : LOG_TEXT);
        conf_free(&conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_key_and_member_once),
        cmocka_unit_test(test_defaults_are_valid),
        cmocka_unit_test(test_required_or_default),
        cmocka_unit_test(test_paths_are_names_of_variables),
        cmocka_unit_test(test_own_keys_are_all_named),
        cmocka_unit_test(test_choices_are_the_enums),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
