/* SPDX-License-Identifier: MIT
 * From a request's parameters to its route. The input is NAME=value, each with a zero byte. */
#include "api/routes.h"
#include "fuzz.h"
#include "http/request.h"
#include "http/router.h"

#include <string.h>

#define PARAMS_MOST 64

static void check_match(const struct router_match *match)
{
    FUZZ_MUST(strlen(match->path) < sizeof match->path);
    FUZZ_MUST(strlen(match->allow) < sizeof match->allow);
    FUZZ_MUST((match->verdict == ROUTER_FOUND || match->verdict == ROUTER_ID_INVALID) ==
              (match->route != NULL));
    FUZZ_MUST(match->verdict == ROUTER_NONE || match->allow[0]);
    FUZZ_MUST(match->id >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const char *const prefixes[] = {"", "/registry"};
    char *params[PARAMS_MOST + 1] = {0};
    struct request request;
    struct router_match match;
    size_t count = 0;
    char *text = malloc(len + 1);
    FUZZ_MUST(text);
    memcpy(text, bytes, len);
    text[len] = '\0';
    for (size_t at = 0; at < len && count < PARAMS_MOST; at += strlen(text + at) + 1)
        params[count++] = text + at;

    request_read(&request, params);
    FUZZ_MUST(strlen(request.id) > 0 && strlen(request.id) < sizeof request.id);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        router_match(&api_routes, prefixes[i], request.method, request.script_name,
                     request.path_info, &match);
        check_match(&match);
    }
    free(text);
    return 0;
}
