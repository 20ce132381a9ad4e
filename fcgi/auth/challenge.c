/* SPDX-License-Identifier: MIT
 * The value of WWW-Authenticate. */
#include "auth/challenge.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The value under construction. */
struct value {
    char *text; /* CHALLENGE_SIZE bytes */
    size_t len;
    bool cut; /* it did not fit whole */
};

static void add_char(struct value *value, char c)
{
    value->cut = value->cut || value->len + 1 == CHALLENGE_SIZE;
    if (!value->cut)
        value->text[value->len++] = c;
}

static void add_text(struct value *value, const char *text)
{
    for (; *text; text++)
        add_char(value, *text);
}

/* Adds name="content" with the content as a quoted-string (RFC 9110, 5.6.4). */
static void add_parameter(struct value *value, const char *name, const char *content)
{
    add_text(value, name);
    add_text(value, "=\"");
    for (; *content; content++) {
        if (*content == '"' || *content == '\\')
            add_char(value, '\\');
        add_char(value, *content);
    }
    add_char(value, '"');
}

/* True for names, addresses and a port. The client sends the header, and the realm is a URL. */
static bool is_host(const char *host)
{
    size_t len =
        strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]");
    return len > 0 && len < 256 && host[len] == '\0';
}

static void add_realm(struct value *value, const struct conf_token *conf, const char *host)
{
    char url[300];
    bool redirect = conf->autoredirect && is_host(host);
    if (redirect)
        snprintf(url, sizeof url, "https://%s/auth/token", host);
    add_parameter(value, "realm", redirect ? url : conf->realm);
}

const char *challenge_action(const struct conf *conf, enum access access)
{
    if (conf->fcgi.challenge_all)
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
    struct value value = {.text = out};
    char scope[64];
    snprintf(scope, sizeof scope, "registry:background-migrations:%s",
             challenge_action(conf, access));
    add_text(&value, "Bearer ");
    add_realm(&value, &conf->token, host);
    add_text(&value, ",");
    add_parameter(&value, "service", conf->token.service);
    add_text(&value, ",");
    add_parameter(&value, "scope", scope);
    if (error != CHALLENGE_NO_TOKEN) {
        add_text(&value, ",");
        add_parameter(&value, "error", errors[error]);
    }
    out[value.cut ? 0 : value.len] = '\0';
}
