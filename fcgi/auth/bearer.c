/* SPDX-License-Identifier: MIT
 * The token in an Authorization header. */
#include "auth/bearer.h"

#include <string.h>
#include <strings.h>

static const char scheme[] = "bearer ";

const char *bearer_token(const char *authorization, size_t *len)
{
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *token = authorization + sizeof scheme - 1;
    *len = strlen(token);
    return *len > 0 && strcspn(token, " \t\r\n,") == *len ? token : NULL;
}
