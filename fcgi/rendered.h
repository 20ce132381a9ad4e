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
#ifndef BBM_RENDERED_H
#define BBM_RENDERED_H

#include "store.h"

#include <stddef.h>

struct rendered;
struct rendering;

/* NULL when out of memory; `rendered_free(NULL)` does nothing. */
struct rendered *rendered_new(void);
void rendered_free(struct rendered *rendered);

/* The rendering of exactly these rows, held for the caller; NULL: there is none. */
struct rendering *rendered_find(struct rendered *rendered, const struct migrations *migrations);

/* The length of the last list's text; 0: there was none yet. */
size_t rendered_len(struct rendered *rendered);

/* Keeps `text`, which is copied, as what the rows read as, and takes the rows over. Returns
 * the rendering, held for the caller; NULL, and nothing taken over, when out of memory. */
struct rendering *rendered_keep(struct rendered *rendered, struct migrations *migrations,
                                const char *text, size_t len);

/* Lives as long as the rendering is held. */
const char *rendering_text(const struct rendering *rendering, size_t *len);

/* One holder more; returns the rendering, which may be NULL. */
struct rendering *rendering_hold(struct rendering *rendering);

/* One holder less; the last frees. `rendering_drop(NULL)` does nothing. */
void rendering_drop(struct rendering *rendering);

#endif
