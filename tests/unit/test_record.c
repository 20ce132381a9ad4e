/* SPDX-License-Identifier: MIT
 * FastCGI records as a web server, a broken one and a hostile one send them. */
#include "record_input.h"

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

static void test_one_byte_per_record(void **state)
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

static void test_truncated_parameters(void **state)
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

static void test_parameters_up_to_bound(void **state)
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

static void test_parameters_over_bound(void **state)
{
    (void)state;
    /* Their end does not fit, which the last byte before it says. */
    for (size_t more = 1; more <= 8; more++) {
        begin();
        put_long_parameter(VALUE_MOST + more);
        put_record(PARAMS, "", 0, 0);
        assert_too_large_from(in.len - 8);
    }

    /* The third record does not, as its header says. */
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

static void test_records_that_begin_no_request(void **state)
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

static void test_begin_of_wrong_size(void **state)
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
static void test_records_that_continue_no_request(void **state)
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

static void test_records_that_continue_no_body(void **state)
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
        cmocka_unit_test(test_one_byte_per_record),
        cmocka_unit_test(test_long_value),
        cmocka_unit_test(test_truncated_parameters),
        cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_number_of_parameters),
        cmocka_unit_test(test_parameters_up_to_bound),
        cmocka_unit_test(test_parameters_over_bound),
        cmocka_unit_test(test_records_that_begin_no_request),
        cmocka_unit_test(test_other_protocols),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_begin_of_wrong_size),
        cmocka_unit_test(test_request_id),
        cmocka_unit_test(test_records_that_continue_no_request),
        cmocka_unit_test(test_records_that_continue_no_body),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_any_changed_byte),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_longest_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
