/* SPDX-License-Identifier: MIT
 * FastCGI records, checked before they are used. */
#include "server/record.h"

#include <fastcgi.h>
#include <stdio.h>
#include <string.h>

struct header {
    unsigned version;
    unsigned type;
    uint16_t id;
    size_t content;
    size_t padding;
};

/* The position in the parameter stream: between pairs, in a pair's lengths, or in its text.
 * A pair may be spread over records, and so may its lengths. */
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

/* Reads one byte of a pair's lengths; after the last one the pair's text begins. */
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
    if (header->type != FCGI_BEGIN_REQUEST || header->id == 0 || header->content != 8)
        return RECORD_BAD;
    /* The role of a responder, the only one that this program has. */
    if (there >= 2 && (content[0] << 8 | content[1]) != FCGI_RESPONDER)
        return RECORD_BAD;
    scan->request.id = header->id;
    return RECORD_PARTIAL;
}

/* True for the records that an application must always answer (section 4). The types up to
 * DATA belong to a request, and two types are themselves answers to management records. */
static bool is_management(const struct header *header)
{
    return header->id == 0 && (header->type == 0 || header->type > FCGI_DATA) &&
           header->type != FCGI_GET_VALUES_RESULT && header->type != FCGI_UNKNOWN_TYPE;
}

/* Judges one record of a request by its header and as much of its content as is there. */
static enum record_verdict scan_record(struct scan *scan, const struct header *header,
                                       const unsigned char *content, size_t there)
{
    if (scan->expected == FCGI_BEGIN_REQUEST)
        return scan_begin(scan, header, content, there);
    if (header->type == FCGI_ABORT_REQUEST && header->id == scan->request.id)
        return RECORD_ABORTED;
    if (header->type != scan->expected || header->id != scan->request.id)
        return RECORD_BAD;
    if (scan->expected == FCGI_STDIN)
        scan->request.body_len += there;
    if (scan->expected == FCGI_PARAMS) {
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
    if (scan->expected == FCGI_BEGIN_REQUEST) {
        scan->expected = FCGI_PARAMS;
    } else if (empty && scan->expected == FCGI_PARAMS) {
        if (scan->pairs.left > 0 || scan->pairs.have > 0)
            return RECORD_BAD;
        scan->request.params_len = end - header->padding;
        scan->request.body_at = end;
        scan->expected = FCGI_STDIN;
    } else if (empty) {
        scan->request.len = end;
        return RECORD_WHOLE;
    }
    return RECORD_PARTIAL;
}

/* The verdict where the request needs more room than there is. */
static enum record_verdict scan_no_room(const struct scan *scan)
{
    return scan->expected == FCGI_STDIN ? RECORD_BODY_LONG : RECORD_TOO_LARGE;
}

/* The record at `at`, whose header has come. `*next` is where the record after it starts. */
static enum record_verdict scan_at(struct scan *scan, const unsigned char *bytes, size_t len,
                                   size_t at, size_t *next)
{
    struct header header = header_at(bytes + at);
    const unsigned char *content = bytes + at + FCGI_HEADER_LEN;
    size_t there = len - at - FCGI_HEADER_LEN;
    enum record_verdict verdict = RECORD_PARTIAL;
    bool management = is_management(&header);
    *next = at + FCGI_HEADER_LEN + header.content + header.padding;
    if (header.version != FCGI_VERSION_1)
        return RECORD_BAD;
    if (!management)
        verdict =
            scan_record(scan, &header, content, there < header.content ? there : header.content);
    if (verdict == RECORD_PARTIAL && *next > RECORD_REQUEST_MOST)
        return scan_no_room(scan);
    if (verdict != RECORD_PARTIAL || *next > len)
        return verdict;
    if (!management)
        return scan_next(scan, &header, *next);
    scan->request.management_at = at;
    scan->request.management_len = *next - at;
    return RECORD_MANAGEMENT;
}

struct record_request record_scan(const unsigned char *bytes, size_t len)
{
    struct scan scan = {.expected = FCGI_BEGIN_REQUEST};
    enum record_verdict verdict = RECORD_PARTIAL;
    size_t next = 0;

    while (verdict == RECORD_PARTIAL && next <= len && len - next >= FCGI_HEADER_LEN)
        verdict = scan_at(&scan, bytes, len, next, &next);
    /* Not even the next record's header would fit. */
    if (verdict == RECORD_PARTIAL && next <= len && next + FCGI_HEADER_LEN > RECORD_REQUEST_MOST)
        verdict = scan_no_room(&scan);
    if (verdict == RECORD_PARTIAL && scan.expected == FCGI_STDIN)
        verdict = RECORD_PARAMS;
    scan.request.verdict = verdict;
    return scan.request;
}

size_t record_body(const unsigned char *bytes, const struct record_request *request, char *out,
                   size_t size)
{
    size_t at = request->body_at;
    size_t left = request->body_len; /* what the scan has seen, and so what is there */
    size_t done = 0;
    while (left > 0 && done < size) {
        struct header header = header_at(bytes + at);
        size_t there = header.content < left ? header.content : left;
        size_t take = there < size - done ? there : size - done;
        memcpy(out + done, bytes + at + FCGI_HEADER_LEN, take);
        done += take;
        left -= there;
        at += FCGI_HEADER_LEN + header.content + header.padding;
    }
    return done;
}

size_t record_skip(struct record_rest *rest, const unsigned char *bytes, size_t len)
{
    size_t at = 0;
    for (;;) {
        size_t take = rest->left < len - at ? rest->left : len - at;
        at += take;
        rest->left -= take;
        if (rest->id == 0 || len - at < FCGI_HEADER_LEN)
            return at;
        struct header header = header_at(bytes + at);
        bool request = header.type == FCGI_STDIN || header.type == FCGI_DATA ||
                       header.type == FCGI_PARAMS || header.type == FCGI_ABORT_REQUEST;
        if (header.version != FCGI_VERSION_1 || header.id != rest->id || !request)
            return at;
        if (header.type == FCGI_ABORT_REQUEST || header.content == 0)
            rest->ended = true;
        at += FCGI_HEADER_LEN;
        rest->left = header.content + header.padding;
    }
}

static size_t put_header(unsigned char *out, unsigned type, uint16_t id, size_t content)
{
    const unsigned char header[FCGI_HEADER_LEN] = {FCGI_VERSION_1,
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
    size_t at = put_header(out, FCGI_STDOUT, id, len);
    memcpy(out + at, text, len);
    at += len;
    at += put_header(out + at, FCGI_STDOUT, id, 0);
    at += put_header(out + at, FCGI_END_REQUEST, id, 8);
    memset(out + at, 0, 8); /* appStatus 0, FCGI_REQUEST_COMPLETE */
    return at + 8;
}

/* The values that GET_VALUES may ask for. */
static const char *const value_names[] = {FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS};

/* Adds a name and its value to GET_VALUES_RESULT; both are shorter than 128 bytes. */
static size_t put_value(unsigned char *out, const char *name, int value)
{
    char text[16];
    size_t name_len = strlen(name);
    size_t len = (size_t)snprintf(text, sizeof text, "%d", value);
    out[0] = (unsigned char)name_len;
    out[1] = (unsigned char)len;
    memcpy(out + 2, name, name_len);
    memcpy(out + 2 + name_len, text, len);
    return 2 + name_len + len;
}

/* Reads the lengths of the pair at `p`. Returns how many bytes they take; 0 where the pair is
 * cut short. */
static size_t pair_lengths(const unsigned char *p, size_t len, uint64_t *name, uint64_t *value)
{
    size_t first = len > 0 ? length_size(p) : 1;
    if (len <= first || len < first + length_size(p + first))
        return 0;
    size_t used = first + length_size(p + first);
    *name = length_value(p);
    *value = length_value(p + first);
    return *name + *value <= len - used ? used : 0;
}

/* Which of the values are asked for, each by a bit; names without a meaning are left out. */
static unsigned values_asked(const unsigned char *p, size_t len)
{
    unsigned asked = 0;
    uint64_t name;
    uint64_t value;
    size_t used;
    while ((used = pair_lengths(p, len, &name, &value)) > 0) {
        for (unsigned i = 0; i < sizeof value_names / sizeof value_names[0]; i++) {
            if (name == strlen(value_names[i]) && memcmp(p + used, value_names[i], name) == 0)
                asked |= 1U << i;
        }
        used += name + value;
        p += used;
        len -= used;
    }
    return asked;
}

size_t record_management_answer(const unsigned char *record, int connections, unsigned char *out)
{
    struct header header = header_at(record);
    /* A connection carries one request at a time: as many requests as connections. */
    const int values[] = {connections, connections, 0};
    if (header.type != FCGI_GET_VALUES) {
        size_t at = put_header(out, FCGI_UNKNOWN_TYPE, 0, 8);
        memset(out + at, 0, 8);
        out[at] = (unsigned char)header.type;
        return at + 8;
    }
    unsigned asked = values_asked(record + FCGI_HEADER_LEN, header.content);
    size_t at = FCGI_HEADER_LEN;
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (asked & 1U << i)
            at += put_value(out + at, value_names[i], values[i]);
    }
    put_header(out, FCGI_GET_VALUES_RESULT, 0, at - FCGI_HEADER_LEN);
    return at;
}
