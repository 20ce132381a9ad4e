/* SPDX-License-Identifier: MIT
 *
 * conf_settings: what the files of the configuration share: the table of settings, where a
 * value comes from, and how a fault is reported. Internal to conf*.c.
 */
#ifndef BBM_CONF_SETTINGS_H
#define BBM_CONF_SETTINGS_H

#include "base/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_type {
    STRING,   /* char * */
    INTEGER,  /* int64_t, from min to max */
    OCTAL,    /* int64_t, likewise */
    BOOLEAN,  /* bool */
    DURATION, /* int64_t in milliseconds, from min to max; Go's spelling */
    CHOICE,   /* an enum: the index in choices */
};

#define CONF_CHOICES 8

/* In milliseconds. */
#define CONF_HOURS (INT64_C(3600) * 1000)

struct conf_setting {
    const char *path; /* dotted, as in the YAML file */
    enum conf_type type;
    size_t offset;        /* of the member in struct conf */
    const char *fallback; /* the value if the key is not given; NULL: none */
    bool required;
    bool any_case; /* of the choices */
    int64_t min;
    int64_t max;
    const char *choices[CONF_CHOICES];
};

extern const struct conf_setting conf_settings[];
extern const size_t conf_setting_count;

/* Where a value comes from, for messages. */
struct conf_origin {
    const char *file;
    size_t line;       /* 0: not from the file */
    char variable[96]; /* of the environment; "": not from there */
};

struct conf_report {
    char *why;
    size_t size;
};

/* Writes one line: where, which key, what is wrong. Control characters become '?'. Returns false.
 */
bool conf_fail(const struct conf_report *report, const struct conf_origin *origin, const char *path,
               const char *fmt, ...) __attribute__((format(printf, 4, 5)));

bool conf_set_string(char **slot, const char *s);

/* Stores the text `s` in the configuration, converted to the setting's type. */
bool conf_set(struct conf *conf, const struct conf_setting *setting, const char *s,
              const struct conf_origin *origin, const struct conf_report *report);

/* Reads conf->file and stores each key that it gives. */
bool conf_read_file(struct conf *conf, const struct conf_report *report);

/* Reads the value of an environment variable as the registry does: one YAML scalar, quoted or with
 * a comment. Text that is no YAML scalar, such as a password that starts with `*`, is taken as it
 * is, without a final newline. `*value` is the result, which the caller frees; NULL where there is
 * no value (empty, null). False when out of memory. */
bool conf_read_scalar(const char *text, char **value);

#endif
