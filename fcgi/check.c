/* SPDX-License-Identifier: MIT
 * What bbm-fcgi -t tries and prints. */
#include "check.h"

#include "auth/keyring.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "server/listener.h"
#include "store/db_thread.h"
#include "store/readiness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool fail_file(const struct conf *conf, const char *key, const char *file,
                      const char *problem, char *why, size_t size)
{
    snprintf(why, size, "%s: database.%s: %s: %s", conf->file, key, file, problem);
    return false;
}

static bool check_readable(const struct conf *conf, const char *key, const char *file, char *why,
                           size_t size)
{
    struct stat status;
    if (!file || !*file)
        return true;
    if (access(file, R_OK) != 0 || stat(file, &status) != 0)
        return fail_file(conf, key, file, strerror(errno), why, size);
    return !S_ISDIR(status.st_mode) || fail_file(conf, key, file, strerror(EISDIR), why, size);
}

/* libpq refuses a private key that others can read: 0600, or 0640 where root owns it. */
static bool check_key_mode(const struct conf *conf, const char *file, char *why, size_t size)
{
    struct stat status;
    if (!file || !*file || stat(file, &status) != 0)
        return true;
    mode_t forbidden = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    return !(status.st_mode & forbidden) ||
           fail_file(conf, "sslkey", file,
                     "others can read it; make it 0600, or 0640 where root owns it", why, size);
}

bool check_files(const struct conf *conf, char *why, size_t why_size)
{
    const struct conf_database *database = &conf->database;
    const char *root = database->sslrootcert;
    /* "system" names OpenSSL's own store (libpq 16). */
    bool system_store = root && strcmp(root, "system") == 0;
    return check_readable(conf, "sslcert", database->sslcert, why, why_size) &&
           check_readable(conf, "sslkey", database->sslkey, why, why_size) &&
           check_key_mode(conf, database->sslkey, why, why_size) &&
           (system_store || check_readable(conf, "sslrootcert", root, why, why_size)) &&
           listener_try(conf, why, why_size);
}

bool check_database(const struct conf *conf, bool *has_history, char *why, size_t why_size)
{
    struct error error = {0};
    bool good =
        store_check(&conf->database, clock_ms() + conf->fcgi.timeout_ms, has_history, &error);
    if (!good)
        snprintf(why, why_size, "%s: %s", conf->file, error.reason);
    error_free(&error);
    return good;
}

static void warn_of_database(void *argument)
{
    const struct conf *conf = argument;
    struct error error = {0};
    bool has_history;
    if (!store_check(&conf->database, clock_ms() + conf->fcgi.timeout_ms, &has_history, &error))
        log_message(LOG_WARN, "%s", error.reason);
    else if (has_history)
        log_message(LOG_INFO, "the history of actions is in the schema bbm_fcgi");
    else
        log_message(LOG_INFO, "there is no history of actions; sql/history.sql makes one");
    error_free(&error);
}

void check_database_at_start(const struct conf *conf)
{
    static atomic_int count;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): the thread only reads it */
    db_thread_start(&count, 1, (size_t)512 * 1024, warn_of_database, (void *)(uintptr_t)conf);
}

static void print_listen(const struct conf *conf)
{
    const char *listen = conf->fcgi.listen;
    if (!listen)
        printf("  listen    the socket that a supervisor hands over (fcgi.listen is not given)\n");
    else if (strchr(listen, '/'))
        printf("  listen    %s, mode %04" PRIo64 "%s%s\n", listen, (uint64_t)conf->fcgi.mode,
               conf->fcgi.group ? ", group " : "", conf->fcgi.group ? conf->fcgi.group : "");
    else
        printf("  listen    %s\n", listen);
}

/* The trusted keys, and until when their certificates are valid. */
static void print_keys(struct trust_bundle *bundle)
{
    struct keyring *keyring = trust_bundle_keyring(bundle);
    for (size_t i = 0; i < keyring_count(keyring); i++) {
        const struct key *key = keyring_key(keyring, i);
        char end[32];
        if (!text_rfc3339(key->not_after * 1000000, end))
            snprintf(end, sizeof end, "unknown");
        printf("  key       %s, certificate valid until %.10s%s\n", key->fingerprint, end,
               key->not_after < time(NULL) ? " (expired)" : "");
    }
    keyring_unref(keyring);
}

void check_print(const struct conf *conf, struct trust_bundle *bundle, const bool *has_history)
{
    const char *tried = "";
    if (has_history)
        tried = *has_history ? ": tables and rights are good, with a history"
                             : ": tables and rights are good, without a history";
    const struct conf_database *settings = &conf->database;
    printf("%s: the configuration is good\n", conf->file);
    print_listen(conf);
    printf("  database  %s@%s on %s, port %" PRId64 ", sslmode %s%s\n", settings->user,
           settings->dbname, settings->primary ? settings->primary : settings->host, settings->port,
           settings->sslmode, tried);
    printf("  tokens    issuer %s, service %s\n", conf->token.issuer, conf->token.service);
    printf("  bundle    %s\n", conf->token.rootcertbundle);
    print_keys(bundle);
}
