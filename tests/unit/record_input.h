/* SPDX-License-Identifier: MIT
 *
 * record_input: FastCGI records under construction, for the tests of record.c.
 */
#ifndef BBM_RECORD_INPUT_H
#define BBM_RECORD_INPUT_H

#include "unit.h"

#include "server/record.h"

/* FastCGI 1.0, section 8. */
enum {
    BEGIN_REQUEST = 1,
    ABORT_REQUEST = 2,
    END_REQUEST = 3,
    PARAMS = 4,
    STDIN = 5,
    STDOUT = 6,
    DATA = 8,
    GET_VALUES = 9,
};

#define ID 0x1234

/* A connection's input under construction. */
struct input {
    unsigned char bytes[3 * RECORD_REQUEST_MOST];
    size_t len;
};

static struct input in;

static inline void put(const void *bytes, size_t len)
{
    assert_true(len <= sizeof in.bytes - in.len);
    memcpy(in.bytes + in.len, bytes, len);
    in.len += len;
}

static inline void put_header(unsigned type, unsigned id, size_t content, unsigned padding)
{
    const unsigned char header[] = {1,
                                    (unsigned char)type,
                                    (unsigned char)(id >> 8),
                                    (unsigned char)id,
                                    (unsigned char)(content >> 8),
                                    (unsigned char)content,
                                    (unsigned char)padding,
                                    0};
    put(header, sizeof header);
}

/* A record whose padding is not of zeros, as nothing says that it must be. */
static inline void put_record(unsigned type, const void *content, size_t len, unsigned padding)
{
    unsigned char filler[255];
    memset(filler, 0xEE, sizeof filler);
    put_header(type, ID, len, padding);
    put(content, len);
    put(filler, padding);
}

static inline void begin(void)
{
    static const unsigned char responder[8] = {0, 1, 1};
    in.len = 0;
    put_record(BEGIN_REQUEST, responder, sizeof responder, 0);
}

static inline struct record_request scan_of(size_t len)
{
    /* Memory of exactly that length, for the sanitizers to watch. */
    unsigned char *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, in.bytes, len);
    struct record_request request = record_scan(copy, len);
    free(copy);
    return request;
}

static inline struct record_request scan(void)
{
    return scan_of(in.len);
}

/* What has been put is a whole request, and nothing short of it is; the parameters end
 * after `params_len` bytes. */
static inline void assert_whole(size_t params_len)
{
    for (size_t len = 0; len < in.len; len++) {
        struct record_request request = scan_of(len);
        bool params_there = request.params_len > 0;
        if (request.verdict != (params_there ? RECORD_PARAMS : RECORD_PARTIAL))
            fail_msg("after %zu of %zu bytes: verdict %d", len, in.len, request.verdict);
        if (request.params_len > len)
            fail_msg("after %zu bytes the parameters end at %zu", len, request.params_len);
    }
    struct record_request request = scan();
    assert_int_equal(request.verdict, RECORD_WHOLE);
    assert_int_equal(request.id, ID);
    assert_int_equal(request.len, in.len);
    assert_int_equal(request.params_len, params_len);
    assert_in_range(request.body_at, params_len, params_len + 255);
    /* What follows on the connection is the next request's. */
    put("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 9);
    request = scan();
    assert_int_equal(request.verdict, RECORD_WHOLE);
    assert_int_equal(request.len, in.len - 9);
}

/* The input is bad from byte `len` on, and was not before. */
static inline void assert_bad_from(size_t len)
{
    for (size_t i = 0; i < len; i++)
        assert_in_range(scan_of(i).verdict, RECORD_PARTIAL, RECORD_PARAMS);
    assert_int_equal(scan_of(len).verdict, RECORD_BAD);
    assert_int_equal(scan().verdict, RECORD_BAD);
}

static inline void assert_too_large_from(size_t len)
{
    assert_int_equal(scan_of(len - 1).verdict, RECORD_PARTIAL);
    assert_int_equal(scan_of(len).verdict, RECORD_TOO_LARGE);
    assert_int_equal(scan().verdict, RECORD_TOO_LARGE);
}

/* Name and value with one-byte lengths. */
static const char pair[] = "\x0E\x04REQUEST_METHODPOST";
#define PAIR_LEN (sizeof pair - 1)

#endif
