/* SPDX-License-Identifier: MIT
 *
 * record: FastCGI records (FastCGI 1.0 specification, section 3), looked at before
 * libfcgi reads them.
 *
 * libfcgi blocks until a request is whole and trusts the lengths in it. This scanner
 * sees the bytes first, and lets pass only a request that is whole and sound. Pure and
 * thread-safe; it reads no byte beyond `len`.
 */
#ifndef BBM_RECORD_H
#define BBM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most that one request may take, records, parameters and body together. */
#define RECORD_REQUEST_MOST ((size_t)128 * 1024)

/* The most parameters, so that libfcgi's allocations stay bounded too. */
#define RECORD_PARAMS_MOST 1000

enum record_verdict {
    RECORD_PARTIAL,   /* sound so far; more must come */
    RECORD_WHOLE,     /* may be given to libfcgi */
    RECORD_BODY_LONG, /* parameters whole, but the body passes the bound */
    RECORD_TOO_LARGE, /* the parameters pass the bound */
    RECORD_BAD,       /* not FastCGI as a responder is spoken to: nothing to answer */
};

struct record_request {
    enum record_verdict verdict;
    uint16_t id;
    size_t params_len; /* bytes up to the end of the parameters: all that libfcgi needs */
    size_t len;        /* bytes of a whole request */
};

/* Scans the start of a connection's input, from the first byte not yet served. */
struct record_request record_scan(const unsigned char *bytes, size_t len);

/* Writes an answer as STDOUT and END_REQUEST records for a request that libfcgi never
 * saw: `out` takes `text`'s length (at most 65535) and 32 bytes more. Returns the length. */
size_t record_answer(uint16_t id, const char *text, unsigned char *out);

#endif
