/* SPDX-License-Identifier: MIT
 * The keyring in force. */
#include "auth/trust_bundle.h"

#include "base/log.h"
#include "base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct trust_bundle {
    char *file;
    struct stat seen;        /* the file when it was last read; trust_bundle_refresh()'s own */
    pthread_mutex_t lock;    /* guards `current` */
    struct keyring *current; /* owned: one reference */
    _Atomic uint64_t serial; /* of `current` */
};

/* The file as it is now; zeros where it is not there. */
static struct stat look_at(const char *file)
{
    struct stat now;
    return stat(file, &now) == 0 ? now : (struct stat){0};
}

/* Gives the metrics the expiry of the certificates in force. */
static void publish(const struct keyring *keyring)
{
    struct metrics_certificate list[METRICS_CERTIFICATES_MAX];
    size_t count = 0;
    for (; count < keyring_count(keyring) && count < METRICS_CERTIFICATES_MAX; count++) {
        const struct key *key = keyring_key(keyring, count);
        memcpy(list[count].fingerprint, key->fingerprint, sizeof list[count].fingerprint);
        list[count].not_after = key->not_after;
    }
    metrics_certificates(list, count);
}

struct trust_bundle *trust_bundle_open(const char *file, char *why, size_t why_size)
{
    struct trust_bundle *bundle = calloc(1, sizeof *bundle);
    if (!bundle || !(bundle->file = strdup(file))) {
        snprintf(why, why_size, "out of memory");
        free(bundle);
        return NULL;
    }
    pthread_mutex_init(&bundle->lock, NULL);
    /* Before it is read: a change in between then shows at the next refresh. */
    bundle->seen = look_at(file);
    bundle->current = keyring_load(file, 1, why, why_size);
    if (!bundle->current) {
        trust_bundle_close(bundle);
        return NULL;
    }
    atomic_init(&bundle->serial, 1);
    publish(bundle->current);
    return bundle;
}

void trust_bundle_close(struct trust_bundle *bundle)
{
    if (!bundle)
        return;
    keyring_unref(bundle->current);
    pthread_mutex_destroy(&bundle->lock);
    free(bundle->file);
    free(bundle);
}

struct keyring *trust_bundle_keyring(struct trust_bundle *bundle)
{
    pthread_mutex_lock(&bundle->lock);
    struct keyring *keyring = keyring_ref(bundle->current);
    pthread_mutex_unlock(&bundle->lock);
    return keyring;
}

uint64_t trust_bundle_serial(struct trust_bundle *bundle)
{
    return atomic_load(&bundle->serial);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Puts a keyring in force, and takes its reference over. */
static void replace(struct trust_bundle *bundle, struct keyring *keyring)
{
    pthread_mutex_lock(&bundle->lock);
    struct keyring *old = bundle->current;
    bundle->current = keyring;
    atomic_store(&bundle->serial, keyring_serial(keyring));
    pthread_mutex_unlock(&bundle->lock);
    keyring_unref(old);
}

void trust_bundle_refresh(struct trust_bundle *bundle, bool force)
{
    char why[256];
    struct stat now = look_at(bundle->file);
    if (!force && same_file(&now, &bundle->seen))
        return;
    bundle->seen = now;

    struct keyring *keyring =
        keyring_load(bundle->file, trust_bundle_serial(bundle) + 1, why, sizeof why);
    if (!keyring) {
        log_message(LOG_ERROR, "trust bundle not reloaded, the old one stays in force: %s", why);
        return;
    }
    replace(bundle, keyring);
    publish(keyring);
    log_message(LOG_INFO, "trust bundle reloaded: %zu keys", keyring_count(keyring));
}
