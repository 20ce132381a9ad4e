/* SPDX-License-Identifier: MIT
 *
 * rendered: the last list as JSON text, used again while its rows stay the same.
 *
 * A list is asked for far more often than it changes, and making its text is most of what
 * it costs this process. Whether it is still right is not guessed: the rows of each request
 * are read from the database and compared, value by value, with those that the text was
 * made from.
 *
 * One object for all threads of a process, behind its own lock. A rendering is immutable
 * and counted; whoever holds one may read it from any thread.
 */
#ifndef BBM_LIST_CACHE_H
#define BBM_LIST_CACHE_H

#include "store/store.h"

#include <stddef.h>

struct list_cache;
struct cached_body;

/* NULL when out of memory; `list_cache_free(NULL)` does nothing. */
struct list_cache *list_cache_new(void);
void list_cache_free(struct list_cache *list_cache);

/* The rendering of exactly these rows, held for the caller; NULL: there is none. */
struct cached_body *list_cache_find(struct list_cache *list_cache,
                                    const struct migrations *migrations);

/* The length of the last list's text; 0: there was none yet. */
size_t list_cache_len(struct list_cache *list_cache);

/* Keeps `text`, which is copied, as what the rows read as, and takes the rows over. It is used
 * until `expires`, a moment of clock_ms(); 0: for as long as the rows are the same. Returns the
 * cached_body, held for the caller; NULL, and nothing taken over, when out of memory. */
struct cached_body *list_cache_keep(struct list_cache *list_cache, struct migrations *migrations,
                                    const char *text, size_t len, int64_t expires);

/* Lives as long as the rendering is held. */
const char *cached_body_text(const struct cached_body *cached_body, size_t *len);

/* Likewise; NULL: it has none. */
const char *cached_body_etag(const struct cached_body *cached_body);

/* One holder more; returns the cached_body, which may be NULL. */
struct cached_body *cached_body_hold(struct cached_body *cached_body);

/* One holder less; the last frees. `cached_body_drop(NULL)` does nothing. */
void cached_body_drop(struct cached_body *cached_body);

#endif
