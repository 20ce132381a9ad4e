/* SPDX-License-Identifier: MIT
 * FastCGI records as a web server sends them, as a broken one might, and as a hostile one. */
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

static void put(const void *bytes, size_t len)
{
    assert_true(len <= sizeof in.bytes - in.len);
    memcpy(in.bytes + in.len, bytes, len);
    in.len += len;
}

static void put_header(unsigned type, unsigned id, size_t content, unsigned padding)
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
static void put_record(unsigned type, const void *content, size_t len, unsigned padding)
{
    unsigned char filler[255];
    memset(filler, 0xEE, sizeof filler);
    put_header(type, ID, len, padding);
    put(content, len);
    put(filler, padding);
}

static void begin(void)
{
    static const unsigned char responder[8] = {0, 1, 1};
    in.len = 0;
    put_record(BEGIN_REQUEST, responder, sizeof responder, 0);
}

static struct record_request scan_of(size_t len)
{
    /* Memory of exactly that length, for the sanitizers to watch. */
    unsigned char *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, in.bytes, len);
    struct record_request request = record_scan(copy, len);
    free(copy);
    return request;
}

static struct record_request scan(void)
{
    return scan_of(in.len);
}

/* What has been put is a whole request, and nothing short of it is; the parameters end
 * after `params_len` bytes. */
static void assert_whole(size_t params_len)
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
static void assert_bad_from(size_t len)
{
    for (size_t i = 0; i < len; i++)
        assert_in_range(scan_of(i).verdict, RECORD_PARTIAL, RECORD_PARAMS);
    assert_int_equal(scan_of(len).verdict, RECORD_BAD);
    assert_int_equal(scan().verdict, RECORD_BAD);
}

static void assert_too_large_from(size_t len)
{
    assert_int_equal(scan_of(len - 1).verdict, RECORD_PARTIAL);
    assert_int_equal(scan_of(len).verdict, RECORD_TOO_LARGE);
    assert_int_equal(scan().verdict, RECORD_TOO_LARGE);
}

/* Name and value with one-byte lengths. */
static const char pair[] = "\x0E\x04REQUEST_METHODPOST";
#define PAIR_LEN (sizeof pair - 1)

static void test_smallest(void **state)
{
    (void)state;
    begin();
    put_record(PARAMS, "", 0, 0);
    put_record(STDIN, "", 0, 0);
    assert_whole(24);
}

static void test_with_parameters_and_body(void **state)
{
    (void)state;
    begin();
    put_record(PARAMS, pair, PAIR_LEN, 0);
    put_record(PARAMS, "", 0, 0);
    size_t params_len = in.len;
    put_record(STDIN, "a body", 6, 2);
    put_record(STDIN, "of two", 6, 0);
    put_record(STDIN, "", 0, 0);
    assert_whole(params_len);
}

static void test_padding_everywhere(void **state)
{
    static const unsigned char responder[8] = {0, 1};
    (void)state;
    in.len = 0;
    put_record(BEGIN_REQUEST, responder, 8, 5);
    put_record(PARAMS, pair, PAIR_LEN, 255);
    put_record(PARAMS, "", 0, 7);
    size_t params_len = in.len - 7; /* libfcgi need not see padding */
    put_record(STDIN, "x", 1, 7);
    put_record(STDIN, "", 0, 3);
    assert_whole(params_len);
}

/* Every way to cut the pairs into two records, the lengths too. */
static void test_pairs_split_over_records(void **state)
{
    static const char pairs[] = "\x01\x02"
                                "abb"
                                "\x80\x00\x00\x03\x80\x00\x00\x02"
                                "cccdd"
                                "\x00\x80\x00\x00\x01"
                                "e"
                                "\x00\x00";
    (void)state;
    for (size_t cut = 1; cut < sizeof pairs - 1; cut++) {
        begin();
        put_record(PARAMS, pairs, cut, 1);
        put_record(PARAMS, pairs + cut, sizeof pairs - 1 - cut, 0);
        put_record(PARAMS, "", 0, 0);
        size_t params_len = in.len;
        put_record(STDIN, "", 0, 0);
        assert_whole(params_len);
    }
}

static void test_one_byte_a_record(void **state)
{
    static const char pairs[] = "\x80\x00\x00\x01\x80\x00\x00\x02"
                                "abb";
    (void)state;
    begin();
    for (size_t i = 0; i < sizeof pairs - 1; i++)
        put_record(PARAMS, pairs + i, 1, 0);
    put_record(PARAMS, "", 0, 0);
    size_t params_len = in.len;
    put_record(STDIN, "", 0, 0);
    assert_whole(params_len);
}

/* A value of 300 bytes needs the long form, whose first byte has the highest bit set. */
static void test_long_value(void **state)
{
    char content[1 + 4 + 1 + 300] = "\x01\x80\x00\x01\x2Cn";
    (void)state;
    memset(content + 6, 'v', 300);
    begin();
    put_record(PARAMS, content, sizeof content, 0);
    put_record(PARAMS, "", 0, 0);
    size_t params_len = in.len;
    put_record(STDIN, "", 0, 0);
    assert_whole(params_len);
}

static void test_parameters_cut_short(void **state)
{
    static const struct {
        const char *content;
        size_t len;
    } cases[] = {
        {"\x05", 1},                           /* one length of two */
        {"\x80", 1},                           /* a quarter of one */
        {"\x05\x80\x00\x00", 4},               /* three quarters of the second */
        {"\x01\x01", 2},                       /* lengths, and no text */
        {"\x01\x01n", 3},                      /* the value is missing */
        {pair, PAIR_LEN - 1},                  /* its last byte */
        {"\x01\x01nv\x01", 5},                 /* a second pair that only begins */
        {"\x80\x01\x00\x00\x00too short", 14}, /* a length of 65536 */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        begin();
        put_record(PARAMS, cases[i].content, cases[i].len, 0);
        put_record(PARAMS, "", 0, 0);
        assert_bad_from(in.len);
    }
}

static void test_hostile_lengths(void **state)
{
    static const struct {
        const char *content;
        size_t len;
    } cases[] = {
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8}, /* the sum passes 32 bits */
        {"\xFF\xFF\xFF\xFF\x00", 5},
        {"\x00\xFF\xFF\xFF\xFF", 5},
        {"\x80\x02\x00\x00\x80\x00\x00\x01", 8}, /* one byte more than the bound */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        begin();
        size_t start = in.len + 8;
        put_record(PARAMS, cases[i].content, cases[i].len, 0);
        put_record(PARAMS, "", 0, 0);
        put_record(STDIN, "", 0, 0);
        assert_too_large_from(start + cases[i].len);
    }
}

static void put_pairs(size_t count)
{
    static unsigned char zeros[2 * (RECORD_PARAMS_MOST + 1)];
    put_record(PARAMS, zeros, 2 * count, 0);
}

static void test_number_of_parameters(void **state)
{
    (void)state;
    begin();
    put_pairs(RECORD_PARAMS_MOST);
    put_record(PARAMS, "", 0, 0);
    size_t params_len = in.len;
    put_record(STDIN, "", 0, 0);
    assert_whole(params_len);

    begin();
    put_pairs(RECORD_PARAMS_MOST + 1);
    assert_too_large_from(in.len);

    begin();
    put_pairs(RECORD_PARAMS_MOST);
    put_pairs(1);
    assert_too_large_from(in.len);
}

#define CHUNK 60000

/* One parameter without a name, in as many records as it takes. */
static void put_long_parameter(size_t value_len)
{
    static unsigned char text[2 * RECORD_REQUEST_MOST];
    const unsigned char lengths[8] = {0x80,
                                      0,
                                      0,
                                      0,
                                      (unsigned char)(0x80 | value_len >> 24),
                                      (unsigned char)(value_len >> 16),
                                      (unsigned char)(value_len >> 8),
                                      (unsigned char)value_len};
    size_t len = sizeof lengths + value_len;
    memset(text, 'v', sizeof text);
    memcpy(text, lengths, sizeof lengths);
    for (size_t at = 0; at < len; at += CHUNK)
        put_record(PARAMS, text + at, len - at < CHUNK ? len - at : CHUNK, 0);
}

/* What a request takes beside the value: its begin, three records for the parameter, its
 * lengths, and the end of the parameters. */
#define VALUE_MOST (RECORD_REQUEST_MOST - 16 - 3 * 8 - 8 - 8)

static void test_parameters_up_to_the_bound(void **state)
{
    (void)state;
    /* With the body's end. */
    begin();
    put_long_parameter(VALUE_MOST - 8);
    put_record(PARAMS, "", 0, 0);
    size_t params_len = in.len;
    put_record(STDIN, "", 0, 0);
    assert_int_equal(in.len, RECORD_REQUEST_MOST);
    assert_int_equal(scan().verdict, RECORD_WHOLE);
    assert_int_equal(scan().params_len, params_len);

    /* Without it: the body, of which there is none, is what passes the bound, and nothing
     * more need come to know that. */
    for (size_t short_of = 0; short_of < 8; short_of++) {
        begin();
        put_long_parameter(VALUE_MOST - short_of);
        put_record(PARAMS, "", 0, 0);
        assert_int_equal(in.len, RECORD_REQUEST_MOST - short_of);
        assert_int_equal(scan().verdict, RECORD_BODY_LONG);
        assert_int_equal(scan_of(in.len - 1).verdict, RECORD_PARTIAL);
    }
}

static void test_parameters_over_the_bound(void **state)
{
    (void)state;
    /* Their end does not fit, which the last byte before it says. */
    for (size_t more = 1; more <= 8; more++) {
        begin();
        put_long_parameter(VALUE_MOST + more);
        put_record(PARAMS, "", 0, 0);
        assert_too_large_from(in.len - 8);
    }

    /* The third record does not, as its header tells. */
    begin();
    put_long_parameter(VALUE_MOST + 9);
    put_record(PARAMS, "", 0, 0);
    assert_too_large_from(16 + 2 * (8 + CHUNK) + 8);

    /* Padding takes place as well. */
    begin();
    put_long_parameter(VALUE_MOST - 200);
    put_header(PARAMS, ID, 0, 201);
    assert_too_large_from(in.len);
}

static void test_body_up_to_the_bound(void **state)
{
    static char body[60000];
    (void)state;
    begin();
    put_record(PARAMS, "", 0, 0);
    put_record(STDIN, body, sizeof body, 0);
    put_record(STDIN, body, sizeof body, 0);
    size_t last = RECORD_REQUEST_MOST - in.len - 2 * 8;
    put_record(STDIN, body, last, 0);
    put_record(STDIN, "", 0, 0);
    assert_int_equal(in.len, RECORD_REQUEST_MOST);
    struct record_request request = scan();
    assert_int_equal(request.verdict, RECORD_WHOLE);
    assert_int_equal(request.len, RECORD_REQUEST_MOST);
    assert_int_equal(request.body_len, 2 * sizeof body + last);
}

/* Whatever the sizes of its records, a full buffer is not waited on. */
static void test_body_that_ends_in_the_last_bytes(void **state)
{
    static char body[60000];
    (void)state;
    for (size_t left = 0; left <= 9; left++) {
        begin();
        put_record(PARAMS, "", 0, 0);
        put_record(STDIN, body, sizeof body, 0);
        put_record(STDIN, body, sizeof body, 0);
        put_record(STDIN, body, RECORD_REQUEST_MOST - in.len - 8 - left, 0);
        assert_int_equal(scan().verdict, left < 8 ? RECORD_BODY_LONG : RECORD_PARAMS);
    }
}

/* The parameters are whole, so that a request with too long a body can be answered; what
 * of the body would pass the bound need not have come. */
static void test_body_over_the_bound(void **state)
{
    static char body[65535];
    (void)state;
    begin();
    put_record(PARAMS, pair, PAIR_LEN, 0);
    put_record(PARAMS, "", 0, 0);
    size_t params_len = in.len;
    put_record(STDIN, body, sizeof body, 0);
    put_header(STDIN, ID, 65535, 0);
    assert_int_equal(scan_of(in.len - 1).verdict, RECORD_PARAMS);
    struct record_request request = scan();
    assert_int_equal(request.verdict, RECORD_BODY_LONG);
    assert_int_equal(request.params_len, params_len);
    assert_int_equal(request.id, ID);

    /* By a single byte, and that of padding. */
    begin();
    put_record(PARAMS, "", 0, 0);
    put_record(STDIN, body, sizeof body, 0);
    put_header(STDIN, ID, RECORD_REQUEST_MOST - in.len - 8, 1);
    assert_int_equal(scan().verdict, RECORD_BODY_LONG);
}

/* What of the body has come is there without its headers and padding, wherever it is cut. */
static void test_content_of_a_body(void **state)
{
    static const char text[] = "a body of three records";
    char out[sizeof text];
    (void)state;
    begin();
    put_record(PARAMS, pair, PAIR_LEN, 0);
    put_record(PARAMS, "", 0, 3);
    size_t start = in.len;
    put_record(STDIN, text, 7, 5);
    put_record(STDIN, text + 7, 1, 0);
    put_record(STDIN, text + 8, sizeof text - 9, 255);
    put_record(STDIN, "", 0, 0);
    for (size_t len = start; len <= in.len; len++) {
        struct record_request request = scan_of(len);
        assert_int_equal(request.body_at, start);
        memset(out, 0, sizeof out);
        assert_int_equal(record_body(in.bytes, &request, out, sizeof out), request.body_len);
        assert_memory_equal(out, text, request.body_len);
        size_t cut = request.body_len / 2;
        assert_int_equal(record_body(in.bytes, &request, out, cut), cut);
    }
    assert_int_equal(scan().body_len, sizeof text - 1);
}

/* Of a request that was answered when its parameters had come. */
static void test_rest_of_an_answered_request(void **state)
{
    static char body[60000];
    (void)state;
    in.len = 0;
    for (int i = 0; i < 4; i++)
        put_record(STDIN, body, sizeof body, 11);
    put_record(STDIN, "", 0, 9);
    size_t end = in.len;
    put_header(BEGIN_REQUEST, ID, 8, 0);
    for (size_t step = 1; step < end; step += step < 30 ? 1 : 4999) {
        struct record_rest rest = {.id = ID};
        size_t done = 0;
        /* As it comes: what is undecided is looked at once more. */
        for (size_t at = 0; at < in.len; at += step) {
            size_t there = at + step < in.len ? at + step : in.len;
            if (there > done)
                done += record_skip(&rest, in.bytes + done, there - done);
        }
        assert_int_equal(done, end);
        assert_true(rest.ended);
        assert_int_equal(rest.left, 0);
    }
}

static void test_rest_ends(void **state)
{
    struct record_rest rest = {.id = ID};
    (void)state;
    /* With an abort. */
    in.len = 0;
    put_header(ABORT_REQUEST, ID, 0, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), in.len);
    assert_true(rest.ended);
    /* Nothing follows but what is another request's. */
    rest = (struct record_rest){.id = ID};
    in.len = 0;
    put_header(STDIN, ID + 1, 0, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
    in.len = 0;
    put_header(BEGIN_REQUEST, ID, 8, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
    in.len = 0;
    put("\x02\x05\x12\x34\x00\x00\x00\x00", 8); /* another version */
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
    assert_false(rest.ended);
    /* And there is none where no request was. */
    rest = (struct record_rest){0};
    in.len = 0;
    put_header(STDIN, 0, 0, 0);
    assert_int_equal(record_skip(&rest, in.bytes, in.len), 0);
}

/* ---- management records ---- */

static void put_management(unsigned type, const void *content, size_t len, unsigned padding)
{
    static const char filler[255];
    put_header(type, 0, len, padding);
    put(content, len);
    put(filler, padding);
}

/* Before a request, within its parameters, before its body and within it. */
static void test_management_record_anywhere(void **state)
{
    (void)state;
    for (int place = 0; place < 4; place++) {
        in.len = 0;
        if (place > 0)
            begin();
        if (place > 1)
            put_record(PARAMS, "", 0, 0);
        if (place > 2)
            put_record(STDIN, "x", 1, 0);
        size_t at = in.len;
        put_management(GET_VALUES, "abc", 3, 5);
        enum record_verdict before = place > 1 ? RECORD_PARAMS : RECORD_PARTIAL;
        for (size_t len = at; len < in.len; len++)
            assert_int_equal(scan_of(len).verdict, before);
        struct record_request request = scan();
        assert_int_equal(request.verdict, RECORD_MANAGEMENT);
        assert_int_equal(request.management_at, at);
        assert_int_equal(request.management_len, in.len - at);
    }
}

static void assert_answer(const char *expected, size_t len)
{
    unsigned char out[RECORD_MANAGEMENT_ANSWER_MOST];
    assert_true(len <= sizeof out);
    assert_int_equal(record_management_answer(in.bytes, 1024, out), len);
    assert_memory_equal(out, expected, len);
}

static void test_values_asked(void **state)
{
    static const char all[] = "\x0E\x00"
                              "FCGI_MAX_CONNS"
                              "\x00\x00"
                              "\x0F\x00"
                              "FCGI_MPXS_CONNS"
                              "\x04\x03"
                              "NAMEodd"
                              "\x0E\x00"
                              "FCGI_MAX_REQS\0";
    static const char twice[] = "\x80\x00\x00\x0D\x80\x00\x00\x01"
                                "FCGI_MAX_REQSx"
                                "\x0D\x00"
                                "FCGI_MAX_REQS";
    (void)state;
    in.len = 0;
    put_management(GET_VALUES, all, sizeof all - 1, 2);
    assert_answer("\x01\x0A\x00\x00\x00\x26\x00\x00"
                  "\x0E\x04"
                  "FCGI_MAX_CONNS1024"
                  "\x0F\x01"
                  "FCGI_MPXS_CONNS0",
                  8 + 38);
    in.len = 0;
    put_management(GET_VALUES, twice, sizeof twice - 1, 0);
    assert_answer("\x01\x0A\x00\x00\x00\x13\x00\x00"
                  "\x0D\x04"
                  "FCGI_MAX_REQS1024",
                  8 + 19);
    in.len = 0;
    put_management(GET_VALUES, "", 0, 0);
    assert_answer("\x01\x0A\x00\x00\x00\x00\x00\x00", 8);
}

/* What cannot be read is not answered, and what stood before it is. */
static void test_values_asked_wrongly(void **state)
{
    static const char good[] = "\x0D\x00"
                               "FCGI_MAX_REQS";
    static const struct {
        const char *content;
        size_t len;
    } bad[] = {
        {"\x05", 1},
        {"\x80\x00", 2},
        {"\x0D\x01"
         "FCGI_MAX_REQS",
         15},
        {"\x05\x80\x00", 3},
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFx", 9},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        /* Memory of exactly that length, for the sanitizers to watch. */
        unsigned char out[RECORD_MANAGEMENT_ANSWER_MOST];
        in.len = 0;
        put_header(GET_VALUES, 0, sizeof good - 1 + bad[i].len, 0);
        put(good, sizeof good - 1);
        put(bad[i].content, bad[i].len);
        unsigned char *copy = malloc(in.len);
        assert_non_null(copy);
        memcpy(copy, in.bytes, in.len);
        assert_int_equal(record_management_answer(copy, 7, out), 8 + 16);
        assert_memory_equal(out + 8,
                            "\x0D\x01"
                            "FCGI_MAX_REQS7",
                            16);
        free(copy);
    }
}

static void test_unknown_management_records(void **state)
{
    static const unsigned types[] = {0, 12, 77, 255};
    (void)state;
    for (size_t i = 0; i < COUNT(types); i++) {
        char expected[] = "\x01\x0B\x00\x00\x00\x08\x00\x00?\0\0\0\0\0\0";
        expected[8] = (char)types[i];
        in.len = 0;
        put_management(types[i], "whatever", 8, 1);
        assert_int_equal(scan().verdict, RECORD_MANAGEMENT);
        assert_answer(expected, sizeof expected);
    }
}

static void test_what_does_not_begin_a_request(void **state)
{
    static const unsigned types[] = {0, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, 6,
                                     7, DATA,          GET_VALUES,  10,     11,    255};
    (void)state;
    for (size_t i = 0; i < COUNT(types); i++) {
        in.len = 0;
        put_record(types[i], "\x00\x01\x00\x00\x00\x00\x00\x00", 8, 0);
        assert_bad_from(8);
    }
}

static void test_other_protocols(void **state)
{
    static const char *const starts[] = {"GET / HTTP/1.1", "\x16\x03\x01\x02\x05\x01\x02\x01",
                                         "PRI * HTTP/2.0", "\n\n\n\n\n\n\n\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        in.len = 0;
        put(starts[i], 8);
        assert_bad_from(8);
    }
}

static void test_roles(void **state)
{
    (void)state;
    for (unsigned role = 0; role < 0x10000; role += role < 4 ? 1 : 251) {
        unsigned char content[8] = {(unsigned char)(role >> 8), (unsigned char)role};
        in.len = 0;
        put_record(BEGIN_REQUEST, content, 8, 0);
        assert_int_equal(scan().verdict, role == 1 ? RECORD_PARTIAL : RECORD_BAD);
        /* The role is not there yet. */
        assert_int_equal(scan_of(9).verdict, RECORD_PARTIAL);
    }
}

static void test_begin_of_another_size(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 7, 9, 16, 65535};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        in.len = 0;
        put_header(BEGIN_REQUEST, ID, sizes[i], 0);
        assert_bad_from(8);
    }
}

static void test_request_id(void **state)
{
    (void)state;
    in.len = 0;
    put_header(BEGIN_REQUEST, 0, 8, 0);
    assert_bad_from(8);

    in.len = 0;
    put_header(BEGIN_REQUEST, 0xFFFF, 8, 0);
    put("\x00\x01\x00\x00\x00\x00\x00\x00", 8);
    assert_int_equal(scan().verdict, RECORD_PARTIAL);
    assert_int_equal(scan().id, 0xFFFF);
}

/* In the middle of a request: another one's record, one of another version, and types
 * that do not belong there. */
static void test_what_does_not_continue_a_request(void **state)
{
    static const struct {
        unsigned version;
        unsigned type;
        unsigned id;
    } wrong[] = {
        {1, PARAMS, ID + 1},
        {1, PARAMS, 0},
        {1, PARAMS, 0x3412},
        {0, PARAMS, ID},
        {2, PARAMS, ID},
        {255, PARAMS, ID},
        {1, BEGIN_REQUEST, ID},
        {1, STDIN, ID},
        {1, DATA, ID},
        {1, GET_VALUES, ID},
        {1, 10, 0},
        {1, 11, 0},
        {1, 0, ID},
        {1, ABORT_REQUEST, ID + 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        begin();
        put_record(PARAMS, pair, PAIR_LEN, 3);
        size_t at = in.len;
        put_header(wrong[i].type, wrong[i].id, 4, 0);
        in.bytes[at] = (unsigned char)wrong[i].version;
        put("\x01\x01nv", 4);
        assert_bad_from(at + 8);
    }
}

static void test_what_does_not_continue_a_body(void **state)
{
    static const struct {
        unsigned type;
        unsigned id;
    } wrong[] = {{PARAMS, ID}, {STDIN, ID + 1}, {BEGIN_REQUEST, ID}, {STDIN, 0}, {7, ID}};
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        begin();
        put_record(PARAMS, "", 0, 0);
        put_record(STDIN, "x", 1, 0);
        put_header(wrong[i].type, wrong[i].id, 0, 0);
        assert_bad_from(in.len);
    }
}

static void test_abort(void **state)
{
    (void)state;
    for (int place = 0; place < 3; place++) {
        begin();
        if (place > 0)
            put_record(PARAMS, "", 0, 0);
        if (place > 1)
            put_record(STDIN, "x", 1, 0);
        put_record(ABORT_REQUEST, "", 0, 0);
        assert_int_equal(scan().verdict, RECORD_ABORTED);
    }
}

/* Whatever one byte is changed to, the scan ends with a verdict, and one that says whole
 * lies within the input. */
static void test_any_changed_byte(void **state)
{
    static struct input sound;
    (void)state;
    begin();
    put_record(PARAMS, pair, PAIR_LEN, 1);
    put_record(PARAMS, "", 0, 0);
    put_record(STDIN, "x", 1, 0);
    put_record(STDIN, "", 0, 0);
    sound = in;
    for (size_t i = 0; i < sound.len * 256; i++) {
        in.bytes[i / 256] = (unsigned char)i;
        struct record_request request = scan();
        in.bytes[i / 256] = sound.bytes[i / 256];
        assert_in_range(request.verdict, RECORD_PARTIAL, RECORD_BAD);
        assert_true(request.len <= in.len && request.params_len <= in.len);
        if (request.verdict == RECORD_WHOLE)
            assert_true(request.params_len > 0 && request.len > request.params_len);
    }
}

static void test_answer(void **state)
{
    static const char text[] = "Status: 400 Bad Request\r\n\r\n";
    const size_t len = sizeof text - 1;
    unsigned char out[sizeof text - 1 + 32];
    (void)state;
    in.len = 0;
    put_record(STDOUT, text, len, 0);
    put_record(STDOUT, "", 0, 0);
    put_record(END_REQUEST, "\0\0\0\0\0\0\0\0", 8, 0);
    assert_int_equal(record_answer(ID, text, out), in.len);
    assert_int_equal(in.len, sizeof out);
    assert_memory_equal(out, in.bytes, in.len);
}

static void test_longest_answer(void **state)
{
    static char text[65535 + 1];
    static unsigned char out[65535 + 32];
    (void)state;
    memset(text, 'x', 65535);
    assert_int_equal(record_answer(1, text, out), sizeof out);
    assert_memory_equal(out, "\x01\x06\x00\x01\xFF\xFF\x00\x00", 8);
    assert_memory_equal(out + 8 + 65535, "\x01\x06\x00\x01\x00\x00\x00\x00", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_with_parameters_and_body),
        cmocka_unit_test(test_padding_everywhere),
        cmocka_unit_test(test_pairs_split_over_records),
        cmocka_unit_test(test_one_byte_a_record),
        cmocka_unit_test(test_long_value),
        cmocka_unit_test(test_parameters_cut_short),
        cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_number_of_parameters),
        cmocka_unit_test(test_parameters_up_to_the_bound),
        cmocka_unit_test(test_parameters_over_the_bound),
        cmocka_unit_test(test_body_up_to_the_bound),
        cmocka_unit_test(test_body_over_the_bound),
        cmocka_unit_test(test_body_that_ends_in_the_last_bytes),
        cmocka_unit_test(test_content_of_a_body),
        cmocka_unit_test(test_rest_of_an_answered_request),
        cmocka_unit_test(test_rest_ends),
        cmocka_unit_test(test_management_record_anywhere),
        cmocka_unit_test(test_values_asked),
        cmocka_unit_test(test_values_asked_wrongly),
        cmocka_unit_test(test_unknown_management_records),
        cmocka_unit_test(test_what_does_not_begin_a_request),
        cmocka_unit_test(test_other_protocols),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_begin_of_another_size),
        cmocka_unit_test(test_request_id),
        cmocka_unit_test(test_what_does_not_continue_a_request),
        cmocka_unit_test(test_what_does_not_continue_a_body),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_any_changed_byte),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_longest_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
