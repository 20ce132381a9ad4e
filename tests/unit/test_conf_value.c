/* SPDX-License-Identifier: MIT
 * One value of the configuration: each type to its bounds, and the message of a refusal. */
#include "unit.h"

#include "base/conf_settings.h"

static struct conf conf;
static char why[512];
static const struct conf_report report = {why, sizeof why};
static const struct conf_origin from_file = {.file = "c.yml", .line = 3};

static int setup(void **state)
{
    (void)state;
    conf = (struct conf){0};
    why[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(conf.http_prefix);
    return 0;
}

static bool set(const struct conf_setting *setting, const char *text)
{
    return conf_set(&conf, setting, text, &from_file, &report);
}

/* ---- messages ---- */

static void test_where_a_value_comes_from(void **state)
{
    const struct conf_origin from_environment = {.file = "c.yml", .variable = "REGISTRY_A_B"};
    const struct conf_origin of_default = {.file = "c.yml"};
    (void)state;
    assert_false(conf_fail(&report, &from_file, "a.b", "found %d", 5));
    assert_string_equal(why, "c.yml:3: a.b: found 5");
    assert_false(conf_fail(&report, &from_environment, "a.b", "found %d", 5));
    assert_string_equal(why, "c.yml: a.b (from the environment, REGISTRY_A_B): found 5");
    assert_false(conf_fail(&report, &of_default, "a.b", "found %d", 5));
    assert_string_equal(why, "c.yml: a.b: found 5");
}

/* A file's name, a key and a value may hold anything. */
static void test_message_is_one_line(void **state)
{
    const struct conf_origin hostile = {.file = "a\nb\x1B[31m", .line = 1};
    (void)state;
    assert_false(conf_fail(&report, &hostile, "key\r", "found \"%s\"", "\x7F\t\x01"));
    assert_string_equal(why, "a?b?[31m:1: key?: found \"???\"");
}

static void test_message_that_does_not_fit(void **state)
{
    char text[2000];
    char place[16];
    const struct conf_report small = {place, sizeof place};
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_false(conf_fail(&report, &from_file, "a.b", "%s", text));
    assert_true(strlen(why) < sizeof why);
    assert_false(conf_fail(&small, &from_file, text, "%s", text));
    assert_int_equal(strlen(place), sizeof place - 1);
}

/* Of a value that is long, such as a key that was put there by mistake, only the start is shown. */
static void test_long_value_is_cut(void **state)
{
    char text[200];
    char shown[80];
    const struct conf_setting setting = {.path = "p", .type = BOOLEAN, .offset = 0};
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    snprintf(shown, sizeof shown, "found \"%.64s\"", text);
    assert_false(set(&setting, text));
    assert_non_null(strstr(why, shown));
}

/* ---- types ---- */

/* `text` is this number; what is refused leaves the last number as it was. */
static void assert_number(const struct conf_setting *setting, const char *text, int64_t expected)
{
    if (!set(setting, text))
        fail_msg("%s: %s", text, why);
    assert_int_equal(*(int64_t *)((char *)&conf + setting->offset), expected);
}

/* The same for a choice, which is stored in an enum. */
static void assert_choice(const struct conf_setting *setting, const char *text, unsigned expected)
{
    if (!set(setting, text))
        fail_msg("%s: %s", text, why);
    assert_int_equal(conf.log_level, expected);
    assert_int_equal(conf.log_format, 0); /* its neighbour */
}

static void assert_refused(const struct conf_setting *setting, const char *text,
                           const char *expected)
{
    int64_t *slot = (int64_t *)((char *)&conf + setting->offset);
    *slot = 4711;
    why[0] = '\0';
    if (set(setting, text))
        fail_msg("taken: \"%s\"", text);
    if (!strstr(why, expected))
        fail_msg("\"%s\" does not say \"%s\"", why, expected);
    assert_int_equal(*slot, 4711);
}

static void test_integers(void **state)
{
    static const char *const wrong[] = {"",    " 1",   "1 ",  "0x1", "1e1", "1.0",
                                        "one", "\t1",  "--1", "+",   "1\n", "9223372036854775808",
                                        "101", "-101", "1_0"};
    const struct conf_setting setting = {.path = "p",
                                         .type = INTEGER,
                                         .offset = offsetof(struct conf, fcgi.threads),
                                         .min = -100,
                                         .max = 100};
    (void)state;
    assert_number(&setting, "100", 100);
    assert_number(&setting, "-100", -100);
    assert_number(&setting, "0", 0);
    assert_number(&setting, "007", 7);
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_refused(&setting, wrong[i], "expected a whole number from -100 to 100");
}

static void test_modes(void **state)
{
    static const char *const wrong[] = {"", "8", "0o660", "1000", "-1", "rw", " 660", "0x1"};
    const struct conf_setting setting = {
        .path = "p", .type = OCTAL, .offset = offsetof(struct conf, fcgi.mode), .max = 0777};
    (void)state;
    assert_number(&setting, "0660", 0660);
    assert_number(&setting, "660", 0660);
    assert_number(&setting, "0", 0);
    assert_number(&setting, "777", 0777);
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_refused(&setting, wrong[i], "expected a file mode in octal");
}

static const struct conf_setting duration = {.path = "p",
                                             .type = DURATION,
                                             .offset = offsetof(struct conf, fcgi.timeout_ms),
                                             .min = 0,
                                             .max = CONF_HOURS};

static void test_durations(void **state)
{
    (void)state;
    assert_number(&duration, "1m30s", 90000);
    assert_number(&duration, "1.5s", 1500);
    assert_number(&duration, ".5s", 500);
    assert_number(&duration, "1.s", 1000);
    assert_number(&duration, "5000000ns", 5);
    assert_number(&duration, "7000us", 7);
    assert_number(&duration, "7000\xC2\xB5s", 7);
    assert_number(&duration, "59m60s", 3600000);
    assert_number(&duration, "1h", 3600000);
    /* A bare number is Go's nanoseconds. */
    assert_number(&duration, "2000000000", 2000);
    assert_number(&duration, "0", 0);
    assert_number(&duration, "1", 0);
}

static void test_hostile_durations(void **state)
{
    static const char *const wrong[] = {"",
                                        "-5",
                                        "+5",
                                        "-1s",
                                        "+1s",
                                        "1 s",
                                        "s",
                                        ".",
                                        ".s",
                                        "1..5s",
                                        "1.2.3s",
                                        "1e3s",
                                        "0x10s",
                                        "infs",
                                        "nans",
                                        "1s ",
                                        " 1s",
                                        "1d",
                                        "1S",
                                        "1h1ms",
                                        "1s-1s",
                                        "1\xC2s",
                                        "1\n",
                                        "1ms1",
                                        "5s\xFF",
                                        "9223372036854775808",
                                        "1,5s",
                                        "1s,",
                                        "1mm",
                                        "1.5.5",
                                        "99999999999999999999999h",
                                        "1\xCE\xBC" /* Greek mu without its s */};
    char huge[1200];
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_refused(&duration, wrong[i], "expected a duration");
    /* A number beyond all that a double holds, and a sum of many. */
    memset(huge, '9', sizeof huge);
    memcpy(huge + sizeof huge - 2, "h", 2);
    assert_refused(&duration, huge, "expected a duration");
    for (size_t i = 0; i + 8 < sizeof huge; i += 8)
        memcpy(huge + i, "9999999h", 9);
    assert_refused(&duration, huge, "expected a duration");
}

static void test_booleans(void **state)
{
    static const char *const yes[] = {"true", "TRUE", "yes", "on", "1"};
    static const char *const no[] = {"false", "False", "no", "off", "0"};
    static const char *const wrong[] = {"", "2", "y", "n", "t", "truee", " true", "enabled"};
    const struct conf_setting setting = {
        .path = "p", .type = BOOLEAN, .offset = offsetof(struct conf, token.autoredirect)};
    (void)state;
    for (size_t i = 0; i < COUNT(yes); i++) {
        conf.token.autoredirect = false;
        assert_true(set(&setting, yes[i]));
        assert_true(conf.token.autoredirect);
        assert_true(set(&setting, no[i]));
        assert_false(conf.token.autoredirect);
    }
    conf.token.autoredirect = true;
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_false(set(&setting, wrong[i]));
    assert_true(conf.token.autoredirect);
}

static void test_choices(void **state)
{
    struct conf_setting setting = {.path = "p",
                                   .type = CHOICE,
                                   .offset = offsetof(struct conf, log_level),
                                   .choices = {"off", "log", "on"}};
    (void)state;
    assert_choice(&setting, "off", 0);
    assert_choice(&setting, "on", 2);
    assert_refused(&setting, "On", "expected one of off, log, on; found \"On\"");
    assert_refused(&setting, "", "found \"\"");
    assert_refused(&setting, "o", "found \"o\"");
    setting.any_case = true;
    assert_choice(&setting, "LOG", 1);
}

/* All that there are is listed, also where the table is full. */
static void test_all_choices_there_may_be(void **state)
{
    const struct conf_setting setting = {
        .path = "p",
        .type = CHOICE,
        .offset = offsetof(struct conf, log_level),
        .choices = {"one", "two", "three", "four", "five", "six", "seven", "eight"}};
    (void)state;
    assert_choice(&setting, "eight", 7);
    assert_refused(&setting, "nine",
                   "expected one of one, two, three, four, five, six, seven, eight; found");
}

static void test_strings(void **state)
{
    struct conf_setting setting = {
        .path = "p", .type = STRING, .offset = offsetof(struct conf, http_prefix)};
    (void)state;
    assert_true(set(&setting, "first"));
    assert_true(set(&setting, "")); /* frees the first */
    assert_string_equal(conf.http_prefix, "");
    setting.choices[0] = "a";
    setting.choices[1] = "b";
    assert_true(set(&setting, "b"));
    assert_string_equal(conf.http_prefix, "b");
    assert_false(set(&setting, "c"));
    assert_string_equal(conf.http_prefix, "b");
}

#define VALUE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VALUE_TEST(test_where_a_value_comes_from),
        VALUE_TEST(test_message_is_one_line),
        VALUE_TEST(test_message_that_does_not_fit),
        VALUE_TEST(test_long_value_is_cut),
        VALUE_TEST(test_integers),
        VALUE_TEST(test_modes),
        VALUE_TEST(test_durations),
        VALUE_TEST(test_hostile_durations),
        VALUE_TEST(test_booleans),
        VALUE_TEST(test_choices),
        VALUE_TEST(test_all_choices_there_may_be),
        VALUE_TEST(test_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
