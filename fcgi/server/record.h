/* SPDX-License-Identifier: MIT
 *
 * record: FastCGI records (FastCGI 1.0 specification, section 3), checked before libfcgi
 * reads them.
 *
 * libfcgi blocks until a request is whole, and trusts the lengths in it. This scanner reads the
 * bytes first and accepts only whole and valid parameters. Pure and thread-safe; it reads no byte
 * beyond `len`.
 */
#ifndef BBM_RECORD_H
#define BBM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most bytes that one request may have: all its records with parameters and body. */
#define RECORD_REQUEST_MOST ((size_t)128 * 1024)

/* The most parameters; it bounds libfcgi's allocations, too. */
#define RECORD_PARAMS_MOST 1000

enum record_verdict {
    RECORD_PARTIAL,    /* valid so far; the parameters are not whole */
    RECORD_PARAMS,     /* the parameters are whole, the body is not */
    RECORD_WHOLE,      /* the body is whole, too */
    RECORD_BODY_LONG,  /* the parameters are whole, but the body passes the bound */
    RECORD_TOO_LARGE,  /* the parameters pass the bound */
    RECORD_MANAGEMENT, /* a management record has come, at any place among the others */
    RECORD_ABORTED,    /* the web server gives the request up */
    RECORD_BAD,        /* no FastCGI request for a responder: there is nothing to answer */
};

struct record_request {
    enum record_verdict verdict;
    uint16_t id;
    size_t params_len;    /* bytes up to the end of the parameters: all that libfcgi needs */
    size_t body_at;       /* where the records of the body start */
    size_t body_len;      /* bytes of the body that have come, without headers and padding */
    size_t len;           /* bytes of a whole request */
    size_t management_at; /* the management record, for record_management_answer */
    size_t management_len;
};

/* Scans the start of a connection's input, from the first byte not yet served. With
 * RECORD_REQUEST_MOST bytes the verdict is neither RECORD_PARTIAL nor RECORD_PARAMS. */
struct record_request record_scan(const unsigned char *bytes, size_t len);

/* Copies the first bytes of a scanned request's body, at most `size`. Returns how many. */
size_t record_body(const unsigned char *bytes, const struct record_request *request, char *out,
                   size_t size);

/* What may still come of a request that has been answered before all of it came. The
 * application ignores it (section 3.3: records of an inactive request). */
struct record_rest {
    uint16_t id; /* 0: there was no request yet */
    size_t left; /* bytes of a record whose header has been seen */
    bool ended;  /* the body's last record has been seen */
};

/* How many of the bytes belong to the rest. Fewer than a header may be left undecided. */
size_t record_skip(struct record_rest *rest, const unsigned char *bytes, size_t len);

/* How many bytes the records of an answer take beyond its text. */
#define RECORD_ANSWER_MORE 32

/* Writes an answer as STDOUT and END_REQUEST records, for a request that libfcgi has not
 * read. `out` takes the text, of at most 65535 bytes, and RECORD_ANSWER_MORE bytes. Returns
 * the length. */
size_t record_answer(uint16_t id, const char *text, unsigned char *out);

/* The longest answer to a management record. */
#define RECORD_MANAGEMENT_ANSWER_MOST 128

/* Answers the whole management record at `record`: GET_VALUES with those of the asked values
 * that the specification names (section 4.1), any other with UNKNOWN_TYPE (4.2). Returns the
 * length. */
size_t record_management_answer(const unsigned char *record, int connections, unsigned char *out);

#endif
