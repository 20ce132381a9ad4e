/* SPDX-License-Identifier: MIT
 * The variables that libpq reads by itself. */
#include "store/environment.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Each adds a secret or a TLS file where the configuration gives none. */
static const char *const kept[] = {"PGPASSWORD",    "PGPASSFILE", "PGSSLCERT",  "PGSSLKEY",
                                   "PGSSLROOTCERT", "PGSSLCRL",   "PGSSLCRLDIR"};

static bool is_kept(const char *variable)
{
    size_t len = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (strlen(kept[i]) == len && strncmp(kept[i], variable, len) == 0)
            return true;
    }
    return strncmp(variable, "PG", 2) != 0;
}

/* Not by unsetenv(3), which finds no variable without a "=". */
void store_clean_environment(void)
{
    char **end = environ;
    for (char **variable = environ; *variable; variable++) {
        if (is_kept(*variable))
            *end++ = *variable;
    }
    *end = NULL;
}
