/* SPDX-License-Identifier: MIT
 *
 * page_files: what a browser gets, compiled into the program by fcgi/page/embed.
 *
 * Constant, so any thread may read it.
 */
#ifndef BBM_PAGE_FILES_H
#define BBM_PAGE_FILES_H

#include <stddef.h>

struct page_file {
    const char *name; /* "page.js"; "bare.html" is the page for the address without a slash */
    const char *type; /* its Content-Type */
    const char *etag; /* strong, with its quotes (RFC 9110, 8.8.3): a digest of the bytes */
    const char *body; /* not terminated */
    size_t len;
};

extern const struct page_file page_files[];
extern const size_t page_files_count;

#endif
