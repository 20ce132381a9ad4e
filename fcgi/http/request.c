/* SPDX-License-Identifier: MIT
 * FastCGI's parameters as an HTTP request. */
#include "http/request.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

/* What may be passed on as a correlation id: no more than a log, a header and a shell
 * take without quoting. */
static bool id_is_fit(const char *id)
{
    size_t len =
        strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+=@-");
    return len > 0 && len < REQUEST_ID_SIZE && id[len] == '\0';
}

/* The key of the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), where it is
 * as fit as an id; with or without the quotes of a structured field. */
static void copy_key(const char *header, char key[REQUEST_ID_SIZE])
{
    size_t len = strlen(header);
    size_t quotes = len >= 2 && header[0] == '"' && header[len - 1] == '"';
    len -= 2 * quotes;
    snprintf(key, REQUEST_ID_SIZE, "%.*s", len < REQUEST_ID_SIZE ? (int)len : 0, header + quotes);
    if (!id_is_fit(key))
        key[0] = '\0';
}

static void id_make(char out[REQUEST_ID_SIZE])
{
    uint64_t random[2] = {0, 0};
    /* Correlates, protects nothing: should the kernel have none to give, zeros serve. */
    if (getrandom(random, sizeof random, 0) < 0)
        random[0] = 0;
    snprintf(out, REQUEST_ID_SIZE, "%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
}

/* CONTENT_LENGTH, which is empty or left out where the length is not known (RFC 3875, section
 * 4.1.2). What is no number says as little. */
static int64_t read_length(const char *text)
{
    if (!*text || text[strspn(text, "0123456789")])
        return -1;
    return strtoll(text, NULL, 10); /* LLONG_MAX where it is more */
}

/* A parameter that is of interest, and where its value goes. */
struct wanted {
    const char *name;
    size_t len;
    const char **slot;
};

#define WANTED(name, slot)                                                                         \
    {                                                                                              \
        (name), sizeof(name) - 1, (slot)                                                           \
    }

void request_read(struct request *request, FCGX_ParamArray params)
{
    const char *id = "";
    const char *key = "";
    const char *content_length = "";
    const char *authorization = NULL;
    size_t authorizations = 0;
    const struct wanted wanted[] = {
        WANTED("REQUEST_METHOD", &request->method),
        WANTED("SCRIPT_NAME", &request->script_name),
        WANTED("PATH_INFO", &request->path_info),
        WANTED("QUERY_STRING", &request->query),
        WANTED("HTTP_HOST", &request->host),
        WANTED("REMOTE_ADDR", &request->remote_addr),
        WANTED("HTTP_X_REQUEST_ID", &id),
        WANTED("HTTP_IDEMPOTENCY_KEY", &key),
        WANTED("HTTP_AUTHORIZATION", &authorization),
        WANTED("CONTENT_LENGTH", &content_length),
        WANTED("HTTP_IF_NONE_MATCH", &request->if_none_match),
    };

    *request = (struct request){.method = "",
                                .script_name = "",
                                .path_info = "",
                                .query = "",
                                .host = "",
                                .remote_addr = "",
                                .if_none_match = ""};
    for (char **param = params; *param; param++) {
        size_t len = strcspn(*param, "=");
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
            if (len != wanted[i].len || memcmp(*param, wanted[i].name, len) != 0 || !(*param)[len])
                continue;
            *wanted[i].slot = *param + len + 1;
            authorizations += wanted[i].slot == &authorization;
        }
    }
    request->content_length = read_length(content_length);
    /* Which of two would be meant is not ours to guess. */
    if (authorizations == 1)
        request->authorization = authorization;
    copy_key(key, request->idempotency_key);
    request->has_id = id_is_fit(id);
    if (request->has_id)
        memcpy(request->id, id, strlen(id) + 1);
    else
        id_make(request->id);
}

/* Past W/, which a weak comparison ignores. */
static const char *opaque(const char *etag)
{
    return strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag;
}

bool request_has_body(const struct request *request, const char *etag)
{
    const char *wanted = opaque(etag);
    size_t len = strlen(wanted);
    const char *p = request->if_none_match + strspn(request->if_none_match, " \t");
    if (strcmp(p, "*") == 0)
        return true;
    while (*p) {
        p = opaque(p + strspn(p, " \t,"));
        if (*p != '"')
            return false; /* no list of entity tags */
        const char *end = strchr(p + 1, '"');
        if (!end)
            return false;
        if ((size_t)(end + 1 - p) == len && memcmp(p, wanted, len) == 0)
            return true;
        p = end + 1;
    }
    return false;
}
