/* SPDX-License-Identifier: MIT
 *
 * params_private: what the parameters' own files share. All others include params.h alone.
 *
 *   params.c         where parameters come from: the query, the body
 *   params_values.c  which there are, and one value each
 */
#ifndef BBM_PARAMS_PRIVATE_H
#define BBM_PARAMS_PRIVATE_H

#include "http/params.h"

#include <jansson.h>

struct buffer;

enum params_verdict {
    PARAMS_GOOD,
    PARAMS_WRONG_TYPE,
    PARAMS_WRONG_VALUE,
    PARAMS_NO_MEMORY,
};

struct param_kind {
    const char *name;
    json_type type; /* in a body; JSON_TRUE stands for false, too */
    enum params_verdict (*read)(struct params *params, const char *text);
    const char *kind;                  /* what the value must be */
    void (*allow)(struct buffer *out); /* adds which of these are allowed */
};

extern const struct param_kind params_table[PARAM_COUNT];

#endif
