/* SPDX-License-Identifier: MIT
 * JSON, whole or not at all. */
#include "json.h"

#include <stddef.h>

static void give_up(struct json_object **whole, struct json_object *part)
{
    json_object_put(part);
    json_object_put(*whole);
    *whole = NULL;
}

void json_add(struct json_object **whole, const char *key, struct json_object *part)
{
    if (!*whole || !part ||
        json_object_object_add_ex(*whole, key, part,
                                  JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY))
        give_up(whole, part);
}

void json_append(struct json_object **whole, struct json_object *part)
{
    if (!*whole || !part || json_object_array_add(*whole, part))
        give_up(whole, part);
}
