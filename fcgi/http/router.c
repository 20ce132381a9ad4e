/* SPDX-License-Identifier: MIT
 * How a path finds its route. */
#include "http/router.h"

#include "base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The mission's base, and the one the registry serves. */
static const char *const bases[] = {"/v1/gitlab/", "/gitlab/v1/"};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- which path is meant ---- */

/* The rest of `path` after the prefix and a base; NULL where it does not lie there. */
static const char *under_base(const char *prefix, const char *path)
{
    size_t len = strlen(prefix);
    if (strncmp(path, prefix, len) != 0)
        return NULL;
    for (size_t i = 0; i < COUNT(bases); i++) {
        size_t base = strlen(bases[i]);
        if (strncmp(path + len, bases[i], base) == 0)
            return path + len + base;
    }
    return NULL;
}

static bool is_operational(const char *path)
{
    return strncmp(path, "/-/", 3) == 0;
}

/* True where no mount stands before an operational path. Under a mount a web server may have
 * rules of its own for who reaches /-/, which a path below the mount would pass. */
static bool is_unmounted(const char *script, const char *path)
{
    return !*script || strcmp(script, "/-") == 0 || strcmp(script, path) == 0;
}

/* True where a mount's name ends in a base: the web server has taken the base off. */
static bool ends_in_base(const char *script, size_t len)
{
    for (size_t i = 0; i < COUNT(bases); i++) {
        size_t base = strlen(bases[i]) - 1; /* without its last slash */
        if (len >= base && strncmp(script + len - base, bases[i], base) == 0)
            return true;
    }
    return false;
}

/* The whole path, from whichever of the three forms the web server uses: all in
 * PATH_INFO (nginx), all in SCRIPT_NAME (mod_proxy_fcgi), or the mount in SCRIPT_NAME and
 * the rest in PATH_INFO (ScriptAlias). Some put the whole path into SCRIPT_NAME besides
 * PATH_INFO, or a mount that is no part of the API's path; so the two are joined only
 * where that leads to a base. False for a path too long to be a route. */
static bool whole_path(const char *prefix, const char *script, const char *info, char *path)
{
    size_t mount = strlen(script);
    if (mount > 0 && script[mount - 1] == '/' && *info == '/')
        mount--;
    int len = snprintf(path, ROUTER_PATH_SIZE, "%.*s%s", (int)mount, script, info);
    if (*info && !ends_in_base(script, mount) &&
        (strcmp(script, info) == 0 || !(under_base(prefix, path) || is_operational(path))))
        len = snprintf(path, ROUTER_PATH_SIZE, "%s", info);
    return len < ROUTER_PATH_SIZE;
}

/* ---- which row it finds ---- */

/* True where `rest` (of `len` bytes) reads as the pattern; `*id` is set to where the
 * digits of its {id} stand. */
static bool fits(const char *pattern, const char *rest, size_t len, const char **id)
{
    const char *end = rest + len;
    while (*pattern) {
        if (*pattern == '{') { /* of "{id}" */
            *id = rest;
            if (rest == end || *rest < '1' || *rest > '9')
                return false;
            while (rest < end && *rest >= '0' && *rest <= '9')
                rest++;
            pattern += 4;
        } else if (rest < end && *rest == *pattern) {
            rest++;
            pattern++;
        } else {
            return false;
        }
    }
    return rest == end;
}

/* Adds a method to the Allow list; rows of one path stand in the table's order. */
static void allow(struct buffer *list, const char *method)
{
    if (list->len > 0)
        buffer_string(list, ", ");
    buffer_string(list, strcmp(method, "GET") == 0 ? "GET, HEAD" : method);
}

static bool serves(const struct route *route, const char *method)
{
    return strcmp(route->method, strcmp(method, "HEAD") == 0 ? "GET" : method) == 0;
}

/* The row's {id} as a number; digits that are no int64 keep the row, whose access is
 * asked before its parameters are judged. */
static void read_id(struct router_match *match, const char *id)
{
    if (!id)
        return;
    errno = 0;
    match->id = strtoll(id, NULL, 10);
    if (errno == ERANGE)
        match->verdict = ROUTER_ID_INVALID;
}

void router_match(const struct routes *routes, const char *prefix, const char *method,
                  const char *script_name, const char *path_info, struct router_match *match)
{
    *match = (struct router_match){.verdict = ROUTER_NONE};
    if (!whole_path(prefix, script_name, path_info, match->path))
        return;
    const char *rest = under_base(prefix, match->path);
    const struct route *rows = routes->api;
    size_t count = routes->api_count;
    if (!rest) {
        if (!is_unmounted(script_name, match->path))
            return;
        rest = match->path;
        rows = routes->operational;
        count = routes->operational_count;
    }
    struct buffer list = buffer_fixed(match->allow, sizeof match->allow);
    size_t len = strlen(rest);
    if (len > 0 && rest[len - 1] == '/')
        len--;

    for (const struct route *row = rows; row < rows + count; row++) {
        const char *id = NULL;
        if (!fits(row->pattern, rest, len, &id))
            continue;
        match->pattern = row->pattern;
        allow(&list, row->method);
        if (match->verdict == ROUTER_NONE)
            match->verdict = ROUTER_METHOD;
        if (serves(row, method)) {
            match->verdict = ROUTER_FOUND;
            match->route = row;
            read_id(match, id);
        }
    }
    if (match->verdict == ROUTER_NONE)
        return;
    allow(&list, "OPTIONS");
    buffer_text(&list);
    if (strcmp(method, "OPTIONS") == 0)
        match->verdict = ROUTER_OPTIONS;
}
