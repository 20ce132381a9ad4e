/* SPDX-License-Identifier: MIT
 * The configuration: defaults, then the file, then the environment, then what must hold. */
#include "base/conf.h"

#include "base/conf_settings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* REGISTRY_DATABASE_HOST for database.host, as distribution derives the names. */
static void variable_of(const char *path, char *out, size_t size)
{
    snprintf(out, size, "REGISTRY_%s", path);
    for (char *p = out; *p; p++)
        *p = (char)(*p == '.' ? '_' : toupper((unsigned char)*p));
}

/* Stores the value of one variable, `text`. An empty one counts as not set, as an orchestrator's
 * blank leaves it. */
static bool load_variable(struct conf *conf, const struct conf_setting *setting, const char *text,
                          const struct conf_origin *origin, const struct conf_report *report)
{
    char *value;
    if (!conf_read_scalar(text, &value))
        return conf_fail(report, origin, setting->path, "out of memory");
    bool good = !value || conf_set(conf, setting, value, origin, report);
    free(value);
    return good;
}

static bool load_environment(struct conf *conf, char *const *environment,
                             const struct conf_report *report)
{
    for (size_t i = 0; i < conf_setting_count; i++) {
        const struct conf_setting *setting = &conf_settings[i];
        struct conf_origin origin = {.file = conf->file};
        variable_of(setting->path, origin.variable, sizeof origin.variable);
        size_t len = strlen(origin.variable);
        for (char *const *e = environment; e && *e; e++) {
            if (strncmp(*e, origin.variable, len) == 0 && (*e)[len] == '=' &&
                !load_variable(conf, setting, *e + len + 1, &origin, report))
                return false;
        }
    }
    return true;
}

static bool set_defaults(struct conf *conf, const struct conf_report *report)
{
    struct conf_origin origin = {.file = conf->file};
    for (size_t i = 0; i < conf_setting_count; i++) {
        if (conf_settings[i].fallback &&
            !conf_set(conf, &conf_settings[i], conf_settings[i].fallback, &origin, report))
            return false;
    }
    return true;
}

static bool check_required(struct conf *conf, const struct conf_report *report)
{
    struct conf_origin origin = {.file = conf->file};
    for (size_t i = 0; i < conf_setting_count; i++) {
        char variable[96];
        if (conf_settings[i].required) {
            char *const *slot = (char *const *)((const char *)conf + conf_settings[i].offset);
            variable_of(conf_settings[i].path, variable, sizeof variable);
            if (!*slot || !**slot)
                return conf_fail(report, &origin, conf_settings[i].path,
                                 "missing; set it in the file or as %s in the environment",
                                 variable);
        }
    }
    return true;
}

/* "/registry/" and "registry" alike become "/registry". */
static bool normalise_prefix(struct conf *conf)
{
    const char *start = conf->http_prefix + strspn(conf->http_prefix, "/");
    size_t len = strlen(start);
    while (len > 0 && start[len - 1] == '/')
        len--;
    char *clean = malloc(len + 2);
    if (!clean)
        return false;
    snprintf(clean, len + 2, "%s%.*s", len ? "/" : "", (int)len, start);
    free(conf->http_prefix);
    conf->http_prefix = clean;
    return true;
}

/* Copies one host of a list to `out`: without blanks around it, and without the brackets that
 * URLs put around an IPv6 address. Returns its length; 0: it is empty. */
static size_t copy_host(const char *start, size_t len, char *out)
{
    while (len > 0 && isspace((unsigned char)*start)) {
        start++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)start[len - 1]))
        len--;
    if (len >= 2 && start[0] == '[' && start[len - 1] == ']') {
        start++;
        len -= 2;
    }
    memcpy(out, start, len);
    return len;
}

/* "a, b" and "[::1]" become "a,b" and "::1", which is what libpq takes. */
static bool normalise_hosts(char **hosts, const char *file, const char *path,
                            const struct conf_report *report)
{
    const struct conf_origin origin = {.file = file};
    if (!*hosts)
        return true;
    char *clean = calloc(1, strlen(*hosts) + 1);
    size_t used = 0;
    bool good = clean != NULL;
    for (const char *host = *hosts; good; host += strcspn(host, ",") + 1) {
        size_t len = strcspn(host, ",");
        size_t added = copy_host(host, len, clean + used);
        good =
            added > 0 || conf_fail(report, &origin, path,
                                   "expected a host between the commas; found \"%.64s\"", *hosts);
        used += added;
        if (!host[len])
            break;
        clean[used++] = ',';
    }
    if (good) {
        free(*hosts);
        *hosts = clean;
        return true;
    }
    free(clean);
    return false;
}

/* Brings the values into the form that the rest of the program expects. */
static bool normalise(struct conf *conf, const struct conf_report *report)
{
    if (conf->log_level > LOG_ERROR) /* trace: the registry's fifth level, more than we have */
        conf->log_level = LOG_DEBUG;
    conf->database.timeout_ms = conf->fcgi.timeout_ms;
    return normalise_prefix(conf) &&
           normalise_hosts(&conf->database.host, conf->file, "database.host", report) &&
           normalise_hosts(&conf->database.primary, conf->file, "database.primary", report);
}

bool conf_load(struct conf *conf, const char *file, char *const *environment, char *why,
               size_t why_size)
{
    struct conf_report report = {why, why_size};
    *conf = (struct conf){0};
    why[0] = '\0';
    if (conf_set_string(&conf->file, file) && set_defaults(conf, &report) &&
        conf_read_file(conf, &report) && load_environment(conf, environment, &report) &&
        check_required(conf, &report) && normalise(conf, &report))
        return true;
    if (!why[0])
        snprintf(why, why_size, "%s: out of memory", file);
    return false;
}

void conf_free(struct conf *conf)
{
    for (size_t i = 0; i < conf_setting_count; i++) {
        if (conf_settings[i].type == STRING)
            free(*(char **)((char *)conf + conf_settings[i].offset));
    }
    free(conf->file);
    *conf = (struct conf){0};
}
