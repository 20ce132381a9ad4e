/* SPDX-License-Identifier: MIT
 * FastCGI records, judged before they are believed. */
#include "server/record.h"

#include <string.h>

/* FastCGI 1.0, section 8: the values used here. */
enum {
    VERSION = 1,
    HEADER_LEN = 8,
    BEGIN_REQUEST = 1,
    END_REQUEST = 3,
    PARAMS = 4,
    STDIN = 5,
    STDOUT = 6,
    RESPONDER = 1,
};

struct header {
    unsigned version;
    unsigned type;
    uint16_t id;
    size_t content;
    size_t padding;
};

/* Where in the parameter stream we are: between pairs, in a pair's lengths, or in its
 * text. A pair may be spread over records, and even its lengths may. */
struct pairs {
    unsigned char lengths[8];
    size_t have;   /* of lengths */
    uint64_t left; /* of the pair's name and value */
    size_t count;
};

static struct header header_at(const unsigned char *p)
{
    return (struct header){
        .version = p[0],
        .type = p[1],
        .id = (uint16_t)(p[2] << 8 | p[3]),
        .content = (size_t)(p[4] << 8 | p[5]),
        .padding = p[6],
    };
}

/* A length is one byte, or four with the highest bit set. Returns how many bytes the
 * one at `p` takes. */
static size_t length_size(const unsigned char *p)
{
    return *p & 0x80 ? 4 : 1;
}

static uint64_t length_value(const unsigned char *p)
{
    if (length_size(p) == 1)
        return *p;
    return (uint64_t)(p[0] & 0x7Fu) << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
}

/* Takes one byte of a pair's lengths; with the last one the pair's text begins. */
static void pairs_length(struct pairs *pairs, unsigned char byte)
{
    pairs->lengths[pairs->have++] = byte;
    size_t name = length_size(pairs->lengths);
    if (pairs->have <= name || pairs->have < name + length_size(pairs->lengths + name))
        return;
    pairs->left = length_value(pairs->lengths) + length_value(pairs->lengths + name);
    pairs->have = 0;
    pairs->count++;
}

static void pairs_feed(struct pairs *pairs, const unsigned char *p, size_t len)
{
    while (len > 0) {
        size_t take = 1;
        if (pairs->left > 0) {
            take = pairs->left < len ? (size_t)pairs->left : len;
            pairs->left -= take;
        } else {
            pairs_length(pairs, *p);
        }
        p += take;
        len -= take;
    }
}

static bool pairs_too_large(const struct pairs *pairs)
{
    return pairs->count > RECORD_PARAMS_MOST || pairs->left > RECORD_REQUEST_MOST;
}

/* A scan under way: what has been read of the request, and what must come next. */
struct scan {
    struct record_request request;
    struct pairs pairs;
    unsigned expected; /* record type */
};

/* The first record of a request: its id and role. */
static enum record_verdict scan_begin(struct scan *scan, const struct header *header,
                                      const unsigned char *content, size_t there)
{
    if (header->type != BEGIN_REQUEST || header->id == 0 || header->content != 8)
        return RECORD_BAD;
    /* A responder's role, the only one a web server asks of us. */
    if (there >= 2 && (content[0] << 8 | content[1]) != RESPONDER)
        return RECORD_BAD;
    scan->request.id = header->id;
    return RECORD_PARTIAL;
}

/* Judges one record by its header and as much of its content as is there. */
static enum record_verdict scan_record(struct scan *scan, const struct header *header,
                                       const unsigned char *content, size_t there)
{
    if (header->version != VERSION)
        return RECORD_BAD;
    if (scan->expected == BEGIN_REQUEST)
        return scan_begin(scan, header, content, there);
    if (header->type != scan->expected || header->id != scan->request.id)
        return RECORD_BAD;
    if (scan->expected == PARAMS) {
        pairs_feed(&scan->pairs, content, there);
        if (pairs_too_large(&scan->pairs))
            return RECORD_TOO_LARGE;
    }
    return RECORD_PARTIAL;
}

/* Goes on past a record that has come whole and ends at `end`. */
static enum record_verdict scan_next(struct scan *scan, const struct header *header, size_t end)
{
    bool empty = header->content == 0; /* ends its stream */
    if (scan->expected == BEGIN_REQUEST) {
        scan->expected = PARAMS;
    } else if (empty && scan->expected == PARAMS) {
        if (scan->pairs.left > 0 || scan->pairs.have > 0)
            return RECORD_BAD;
        scan->request.params_len = end - header->padding;
        scan->expected = STDIN;
    } else if (empty) {
        scan->request.len = end;
        return RECORD_WHOLE;
    }
    return RECORD_PARTIAL;
}

struct record_request record_scan(const unsigned char *bytes, size_t len)
{
    struct scan scan = {.expected = BEGIN_REQUEST};
    enum record_verdict verdict = RECORD_PARTIAL;
    size_t at = 0;

    while (verdict == RECORD_PARTIAL && len - at >= HEADER_LEN) {
        struct header header = header_at(bytes + at);
        size_t end = at + HEADER_LEN + header.content + header.padding;
        size_t there = len - at - HEADER_LEN;
        verdict = scan_record(&scan, &header, bytes + at + HEADER_LEN,
                              there < header.content ? there : header.content);
        if (verdict == RECORD_PARTIAL && end > RECORD_REQUEST_MOST)
            verdict = scan.expected == STDIN ? RECORD_BODY_LONG : RECORD_TOO_LARGE;
        if (verdict != RECORD_PARTIAL || end > len)
            break;
        verdict = scan_next(&scan, &header, end);
        at = end;
    }
    scan.request.verdict = verdict;
    return scan.request;
}

static size_t put_header(unsigned char *out, unsigned type, uint16_t id, size_t content)
{
    const unsigned char header[HEADER_LEN] = {VERSION,
                                              (unsigned char)type,
                                              (unsigned char)(id >> 8),
                                              (unsigned char)id,
                                              (unsigned char)(content >> 8),
                                              (unsigned char)content,
                                              0,
                                              0};
    memcpy(out, header, sizeof header);
    return sizeof header;
}

size_t record_answer(uint16_t id, const char *text, unsigned char *out)
{
    size_t len = strlen(text);
    size_t at = put_header(out, STDOUT, id, len);
    memcpy(out + at, text, len);
    at += len;
    at += put_header(out + at, STDOUT, id, 0);
    at += put_header(out + at, END_REQUEST, id, 8);
    memset(out + at, 0, 8); /* appStatus 0, FCGI_REQUEST_COMPLETE */
    return at + 8;
}
