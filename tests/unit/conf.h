/* SPDX-License-Identifier: MIT
 *
 * conf: what the tests of the configuration share: the shortest good file, and what it means that a
 * file is loaded or refused.
 */
#ifndef BBM_UNIT_CONF_H
#define BBM_UNIT_CONF_H

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

static inline struct conf loaded(const char *yaml, char *const *environment)
{
    struct conf conf;
    char why[512];
    memset(&conf, 0xA5, sizeof conf);
    if (!conf_load(&conf, unit_write("config.yml", yaml), environment, why, sizeof why))
        fail_msg("refused: %s", why);
    assert_string_equal(why, "");
    return conf;
}

static inline void assert_says(const char *why, const char *expected)
{
    if (!strstr(why, expected))
        fail_msg("\"%s\" does not say \"%s\"", why, expected);
}

/* One line that begins with the file's path, `place`, and says `expected`. */
static inline void assert_refused_with(const char *yaml, char *const *environment,
                                       const char *place, const char *expected)
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

static inline void assert_refused(const char *yaml, const char *place, const char *expected)
{
    assert_refused_with(yaml, no_environment, place, expected);
}

#endif
