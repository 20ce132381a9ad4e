/* SPDX-License-Identifier: MIT
 * The page's files, as they were compiled in. */
#include "api/page.h"

#include "page/page_files.h"

#include <string.h>

/* What the page may do: load its own scripts and style, ask its own server, and nothing else.
 * It is in no frame, sends no form, and makes no HTML from text (trusted-types). The picture
 * beside the title is in the page itself. */
static const struct call_header headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
     "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
     "require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {NULL, NULL},
};

/* The name of the file: what follows the last slash but one at the end. */
static const struct page_file *file_of(const char *path)
{
    size_t end = strlen(path);
    size_t slash = end > 0 && path[end - 1] == '/';
    end -= slash;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    const char *name = path + start;
    size_t len = end - start;
    if (len == strlen("bbm") && memcmp(name, "bbm", len) == 0) {
        name = slash ? "page.html" : "bare.html";
        len = strlen(name);
    }
    for (size_t i = 0; i < page_files_count; i++) {
        if (strlen(page_files[i].name) == len && memcmp(page_files[i].name, name, len) == 0)
            return &page_files[i];
    }
    return NULL;
}

bool page_get(struct call *call)
{
    call->file = file_of(call->path);
    if (!call->file)
        return error_not_found(&call->error); /* a route without its file: tests find that */
    call->headers = headers;
    call->etag = call->file->etag;
    return true;
}
