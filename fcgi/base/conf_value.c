/* SPDX-License-Identifier: MIT
 * One value of the configuration: from text to its type. */
#include "base/buffer.h"
#include "base/conf_settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool conf_fail(const struct conf_report *report, const struct conf_origin *origin, const char *path,
               const char *fmt, ...)
{
    char what[384];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (origin->variable[0])
        snprintf(report->why, report->size, "%s: %s (from the environment, %s): %s", origin->file,
                 path, origin->variable, what);
    else if (origin->line)
        snprintf(report->why, report->size, "%s:%zu: %s: %s", origin->file, origin->line, path,
                 what);
    else
        snprintf(report->why, report->size, "%s: %s: %s", origin->file, path, what);
    /* The value may hold anything; the message stays one line. */
    for (char *p = report->why; *p; p++)
        *p = (char)(iscntrl((unsigned char)*p) ? '?' : *p);
    return false;
}

static bool parse_integer(const char *s, int base, int64_t *value)
{
    char *end;
    errno = 0;
    long long number = strtoll(s, &end, base);
    if (end == s || *end || errno || isspace((unsigned char)*s))
        return false;
    *value = number;
    return true;
}

/* A Go duration: numbers with units, "1m30s" (time.ParseDuration), or a bare integer, which is
 * nanoseconds: so the registry's YAML library reads it. */
static bool parse_duration(const char *s, int64_t *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3},    {"\xC2\xB5s", 1e-3}, {"ms", 1},
                 {"s", 1e3},   {"m", 60 * 1e3}, {"h", 3600 * 1e3}};
    double total = 0;
    int64_t nanoseconds;
    if (isdigit((unsigned char)*s) && parse_integer(s, 10, &nanoseconds)) {
        *ms = nanoseconds / 1000000;
        return true;
    }
    if (*s == '\0')
        return false;
    while (*s) {
        char *end;
        /* Digits with at most one point; strtod alone accepts 0x1 and 1e3 too. */
        size_t digits = strspn(s, "0123456789");
        size_t decimals = s[digits] == '.' ? strspn(s + digits + 1, "0123456789") : 0;
        if (digits + decimals == 0)
            return false;
        double number = strtod(s, &end);
        if (end != s + digits + (s[digits] == '.') + decimals)
            return false;
        size_t len = strcspn(end, "0123456789.");
        size_t i = 0;
        while (i < sizeof units / sizeof units[0] &&
               !(strlen(units[i].name) == len && strncmp(units[i].name, end, len) == 0))
            i++;
        if (i == sizeof units / sizeof units[0])
            return false;
        total += number * units[i].ms;
        s = end + len;
    }
    if (total > 1e15)
        return false;
    *ms = (int64_t)total;
    return true;
}

static bool parse_boolean(const char *s, bool *value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(s, words[i]) == 0) {
            *value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

/* The index of `s` among the choices; -1: none of them. */
static int choice_of(const struct conf_setting *setting, const char *s)
{
    for (int i = 0; i < CONF_CHOICES && setting->choices[i]; i++) {
        if (setting->any_case ? strcasecmp(setting->choices[i], s) == 0
                              : strcmp(setting->choices[i], s) == 0)
            return i;
    }
    return -1;
}

static bool fail_choice(const struct conf_setting *setting, const struct conf_origin *origin,
                        const struct conf_report *report, const char *s)
{
    char place[160];
    struct buffer list = buffer_fixed(place, sizeof place);
    for (int i = 0; i < CONF_CHOICES && setting->choices[i]; i++) {
        if (i > 0)
            buffer_string(&list, ", ");
        buffer_string(&list, setting->choices[i]);
    }
    return conf_fail(report, origin, setting->path, "expected one of %s; found \"%.64s\"",
                     buffer_text(&list), s);
}

bool conf_set_string(char **slot, const char *s)
{
    free(*slot);
    *slot = strdup(s);
    return *slot != NULL;
}

/* Stores the index of the choice in an enum, which gcc and clang keep as an unsigned. */
static bool set_choice(unsigned *slot, const struct conf_setting *setting, const char *s,
                       const struct conf_origin *origin, const struct conf_report *report)
{
    _Static_assert(sizeof(enum log_level) == sizeof *slot, "an enum is as large as an unsigned");
    int index = choice_of(setting, s);
    if (index < 0)
        return fail_choice(setting, origin, report, s);
    *slot = (unsigned)index;
    return true;
}

bool conf_set(struct conf *conf, const struct conf_setting *setting, const char *s,
              const struct conf_origin *origin, const struct conf_report *report)
{
    void *slot = (char *)conf + setting->offset;
    int64_t number = 0;

    switch (setting->type) {
    case STRING:
        if (setting->choices[0] && choice_of(setting, s) < 0)
            return fail_choice(setting, origin, report, s);
        return conf_set_string(slot, s) ||
               conf_fail(report, origin, setting->path, "out of memory");
    case BOOLEAN:
        return parse_boolean(s, slot) || conf_fail(report, origin, setting->path,
                                                   "expected true or false; found \"%.64s\"", s);
    case CHOICE:
        return set_choice(slot, setting, s, origin, report);
    case INTEGER:
        if (!parse_integer(s, 10, &number) || number < setting->min || number > setting->max)
            return conf_fail(report, origin, setting->path,
                             "expected a whole number from %lld to %lld; found \"%.64s\"",
                             (long long)setting->min, (long long)setting->max, s);
        break;
    case OCTAL:
        if (!parse_integer(s, 8, &number) || number < setting->min || number > setting->max)
            return conf_fail(report, origin, setting->path,
                             "expected a file mode in octal, such as \"0660\"; found \"%.64s\"", s);
        break;
    case DURATION:
        if (!parse_duration(s, &number) || number < setting->min || number > setting->max)
            return conf_fail(
                report, origin, setting->path,
                "expected a duration such as \"5s\" or \"1m30s\", from %lldms to %lldh; "
                "found \"%.64s\"",
                (long long)setting->min, (long long)(setting->max / CONF_HOURS), s);
        break;
    }
    *(int64_t *)slot = number;
    return true;
}
