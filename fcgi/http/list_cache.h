/* SPDX-License-Identifier: MIT
 *
 * list_cache: the body of the last list, served again while the rows stay the same.
 *
 * A list is read far more often than it changes, and making its text is most of what it costs this
 * process. Each request reads the rows from the database; the cached body is served where a digest
 * of all that was read equals that of the rows the body was made from.
 *
 * One object for all threads of a process, with its own lock. A cached body is immutable and
 * counted: its holders may read it from any thread.
 */
#ifndef BBM_LIST_CACHE_H
#define BBM_LIST_CACHE_H

#include "base/digest.h"

#include <stddef.h>
#include <stdint.h>

struct list_cache;
struct cached_body;
struct list_version;

/* NULL when out of memory; list_cache_free(NULL) does nothing. */
struct list_cache *list_cache_new(void);
void list_cache_free(struct list_cache *cache);

/* The key for the digests of this cache's rows. It lives as long as the cache. */
const struct digest_key *list_cache_key(const struct list_cache *cache);

/* The last body, held for the caller; NULL: there is none, or it has expired. */
struct cached_body *list_cache_last(struct list_cache *cache);

/* The body with this digest, held for the caller; NULL: there is none. */
struct cached_body *list_cache_find(struct list_cache *cache,
                                    const unsigned char digest[DIGEST_SIZE]);

/* Keeps `text`, which is copied, as the body of the rows with this digest. It is served until
 * `expires`, a moment of clock_ms(); 0: while the rows are the same. `version`, which is taken over
 * and may be NULL, is what the database can compare. Returns the body, held for the caller; NULL
 * when out of memory. */
struct cached_body *list_cache_keep(struct list_cache *cache,
                                    const unsigned char digest[DIGEST_SIZE], const char *text,
                                    size_t len, int64_t expires, struct list_version *version);

/* The same for a body that no cache keeps. */
struct cached_body *cached_body_new(const char *text, size_t len);

/* The text lives as long as the body is held. */
const char *cached_body_text(const struct cached_body *body, size_t *len);

/* What the body was kept with; both live as long. */
const struct list_version *cached_body_version(const struct cached_body *body);
int64_t cached_body_expires(const struct cached_body *body);

/* The entity tag, which lives as long; NULL: there is none. */
const char *cached_body_etag(const struct cached_body *body);

/* Adds a holder and returns the body, which may be NULL. */
struct cached_body *cached_body_hold(struct cached_body *body);

/* Takes a holder away; the last one frees. NULL does nothing. */
void cached_body_drop(struct cached_body *body);

#endif
