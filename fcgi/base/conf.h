/* SPDX-License-Identifier: MIT
 *
 * conf: the configuration, from one YAML file in the registry's own shape and the
 * REGISTRY_* environment overrides (contract, section 5).
 *
 * Loaded once before threads start; read-only and so thread-safe from then on.
 */
#ifndef BBM_CONF_H
#define BBM_CONF_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf_database {
    char *host; /* one name or several, comma separated; a path is a socket folder */
    int64_t port;
    char *user;
    char *password; /* NULL: none; ~/.pgpass and PGPASSWORD still serve */
    char *dbname;
    char *sslmode;
    char *sslcert; /* NULL: libpq's own default, here and for the next two */
    char *sslkey;
    char *sslrootcert;
    int64_t connect_timeout_ms; /* for one connection; 0: as long as the request has */
    int64_t timeout_ms;         /* fcgi.timeout: the longest that anything here may take */
    bool prepared_statements;   /* statements may be prepared */
    char *primary;              /* NULL: `host` serves; else connected to in its place */
};

struct conf_token {
    char *realm;
    char *service;
    char *issuer;
    char *rootcertbundle;
    bool autoredirect;
};

/* The actions that a challenge's scope asks for. */
enum conf_challenge {
    CONF_CHALLENGE_ACTION, /* the one that was missing */
    CONF_CHALLENGE_ALL,    /* `*` */
};

enum conf_sandbox {
    CONF_SANDBOX_OFF,
    CONF_SANDBOX_LOG, /* denied calls pass, and the kernel logs them */
    CONF_SANDBOX_ON,
};

struct conf_fcgi {
    char *listen; /* socket path or host:port; NULL: descriptor 0 */
    int64_t mode; /* of the socket file */
    char *group;  /* of the socket file; NULL: the process's */
    int64_t threads;
    int64_t connections;      /* FastCGI connections held at most */
    int64_t timeout_ms;       /* for a request's answer, waiting on the database included */
    int64_t queue_timeout_ms; /* for a request to wait for a free thread */
    int64_t read_timeout_ms;  /* for a request to arrive whole */
    int64_t idle_timeout_ms;  /* for a kept-alive connection without a request */
    int64_t drain_timeout_ms; /* for requests under way at a stop */
    int64_t recount_ms;       /* after which jobs are counted again */
    enum conf_challenge challenge;
    enum conf_sandbox sandbox;
};

struct conf {
    char *file;
    enum log_level log_level;
    enum log_format log_format;
    struct conf_database database;
    struct conf_token token;
    char *http_prefix; /* starts with a slash, ends without; "" where there is none */
    struct conf_fcgi fcgi;
};

/* Reads `file`, then `environment` (as environ(7)) over it. On failure `why` says in
 * one line which file, line and key, what was found and what was expected. The caller
 * frees `conf` in either case. */
bool conf_load(struct conf *conf, const char *file, char *const *environment, char *why,
               size_t why_size);

void conf_free(struct conf *conf);

#endif
