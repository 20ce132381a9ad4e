/* SPDX-License-Identifier: MIT
 * The value of WWW-Authenticate. */
#include "auth/challenge.h"

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Adds name="content" with the content as a quoted-string (RFC 9110, 5.6.4). */
static void add_parameter(struct buffer *value, const char *name, const char *content)
{
    buffer_string(value, name);
    buffer_string(value, "=\"");
    for (; *content; content++) {
        if (*content == '"' || *content == '\\')
            buffer_char(value, '\\');
        buffer_char(value, *content);
    }
    buffer_char(value, '"');
}

/* True for names, addresses and a port. The client sends the header, and the realm is a URL. */
static bool is_host(const char *host)
{
    size_t len =
        strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]");
    return len > 0 && len < 256 && host[len] == '\0';
}

static void add_realm(struct buffer *value, const struct conf_token *conf, const char *host)
{
    char url[300];
    bool redirect = conf->autoredirect && is_host(host);
    if (redirect)
        snprintf(url, sizeof url, "https://%s/auth/token", host);
    add_parameter(value, "realm", redirect ? url : conf->realm);
}

const char *challenge_action(const struct conf *conf, enum access access)
{
    if (conf->fcgi.challenge == CONF_CHALLENGE_ALL)
        return "*";
    return access == ACCESS_WRITE ? "write" : "read";
}

void challenge_write(const struct conf *conf, enum access access, const char *host,
                     enum challenge_error error, char out[CHALLENGE_SIZE])
{
    static const char *const errors[] = {
        [CHALLENGE_INVALID_TOKEN] = "invalid_token",
        [CHALLENGE_INSUFFICIENT_SCOPE] = "insufficient_scope",
    };
    struct buffer value = buffer_fixed(out, CHALLENGE_SIZE);
    char scope[64];
    snprintf(scope, sizeof scope, "registry:background-migrations:%s",
             challenge_action(conf, access));
    buffer_string(&value, "Bearer ");
    add_realm(&value, &conf->token, host);
    buffer_string(&value, ",");
    add_parameter(&value, "service", conf->token.service);
    buffer_string(&value, ",");
    add_parameter(&value, "scope", scope);
    if (error != CHALLENGE_NO_TOKEN) {
        buffer_string(&value, ",");
        add_parameter(&value, "error", errors[error]);
    }
    if (!buffer_text(&value))
        out[0] = '\0';
}
