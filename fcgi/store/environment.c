/* SPDX-License-Identifier: MIT
 * The variables that libpq reads by itself. */
#include "store/environment.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Each adds a secret or a TLS file where the configuration gives none. */
static const char *const kept[] = {"PGPASSWORD",    "PGPASSFILE", "PGSSLCERT",  "PGSSLKEY",
                                   "PGSSLROOTCERT", "PGSSLCRL",   "PGSSLCRLDIR"};

static bool is_kept(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (strlen(kept[i]) == len && strncmp(kept[i], name, len) == 0)
            return true;
    }
    return false;
}

void store_clean_environment(void)
{
    char **variable = environ;
    while (*variable) {
        char name[64];
        size_t len = strcspn(*variable, "=");
        if (strncmp(*variable, "PG", 2) != 0 || len >= sizeof name || is_kept(*variable, len)) {
            variable++;
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)len, *variable);
        unsetenv(name); /* moves the later ones down */
    }
}
