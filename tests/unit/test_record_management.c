/* SPDX-License-Identifier: MIT
 * FastCGI's management records, between requests and within them. */
#include "record_input.h"

static void put_management(unsigned type, const void *content, size_t len, unsigned padding)
{
    static const char filler[255];
    put_header(type, 0, len, padding);
    put(content, len);
    put(filler, padding);
}

/* Before a request, within its parameters, before its body and within it. */
static void test_management_records_anywhere(void **state)
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

static void test_get_values(void **state)
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
static void test_malformed_get_values(void **state)
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

static void test_unknown_management_types(void **state)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_management_records_anywhere),
        cmocka_unit_test(test_get_values),
        cmocka_unit_test(test_malformed_get_values),
        cmocka_unit_test(test_unknown_management_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
