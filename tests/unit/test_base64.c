/* SPDX-License-Identifier: MIT
 * base64: what it decodes, and that each text has one spelling. */
#include "unit.h"

#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Decodes from and into memory of exactly the documented sizes, so that a sanitizer reports more.
 */
static bool decode(const char *text, size_t len, unsigned char *bytes, size_t *size)
{
    char *in = malloc(len + (len == 0));
    unsigned char *out = malloc(len / 4 * 3 + 2);
    assert_non_null(in);
    assert_non_null(out);
    memcpy(in, text, len);
    bool good = base64url_decode(in, len, out, size);
    if (good) {
        assert_true(*size <= len / 4 * 3 + 2);
        memcpy(bytes, out, *size);
    }
    free(in);
    free(out);
    return good;
}

static void assert_decodes(const char *text, const char *expected, size_t expected_size)
{
    unsigned char bytes[256];
    size_t size = 999;
    assert_true(decode(text, strlen(text), bytes, &size));
    assert_int_equal(size, expected_size);
    assert_memory_equal(bytes, expected, expected_size);
}

static void assert_refused(const char *text, size_t len)
{
    unsigned char bytes[256];
    size_t size;
    assert_false(decode(text, len, bytes, &size));
}

/* RFC 4648, section 10, without the padding. */
static void test_vectors(void **state)
{
    (void)state;
    assert_decodes("", "", 0);
    assert_decodes("Zg", "f", 1);
    assert_decodes("Zm8", "fo", 2);
    assert_decodes("Zm9v", "foo", 3);
    assert_decodes("Zm9vYg", "foob", 4);
    assert_decodes("Zm9vYmE", "fooba", 5);
    assert_decodes("Zm9vYmFy", "foobar", 6);
    assert_decodes("-_-_", "\xFB\xFF\xBF", 3);
    assert_decodes("AAAA", "\0\0\0", 3);
    /* The header of RFC 7515, appendix A.1. */
    assert_decodes("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
                   "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", 30);
}

static void test_all_symbols(void **state)
{
    unsigned char bytes[48];
    size_t size;
    (void)state;
    assert_true(decode(alphabet, 64, bytes, &size));
    assert_int_equal(size, 48);
    /* Read back six bits at a time, the symbols count from 0 to 63. */
    for (unsigned i = 0; i < 64; i++) {
        unsigned value = 0;
        for (unsigned bit = i * 6; bit < i * 6 + 6; bit++)
            value = value << 1 | (bytes[bit / 8] >> (7 - bit % 8) & 1u);
        assert_int_equal(value, i);
    }
}

static void test_other_characters(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[4] = {'A', (char)c, 'A', 'A'};
        unsigned char bytes[8];
        size_t size;
        bool known = c != 0 && strchr(alphabet, c);
        assert_int_equal(decode(text, 4, bytes, &size), known);
    }
    assert_refused("Zm9v\n", 5);
    assert_refused("Zm9vYg==", 8);
    assert_refused("Zm9vYg=", 7);
    assert_refused("Zm 9v", 5);
    assert_refused("+/+/", 4);
    assert_refused("Zm\0v", 4);
}

static void test_impossible_lengths(void **state)
{
    (void)state;
    assert_refused("A", 1);
    assert_refused("AAAAA", 5);
    assert_refused("AAAAAAAAA", 9);
}

/* Of all texts of two symbols, as many decode as there are bytes; of three, as there are pairs. */
static void test_one_spelling(void **state)
{
    unsigned char bytes[4];
    size_t size;
    size_t two = 0;
    size_t three = 0;
    (void)state;
    for (size_t i = 0; i < (size_t)64 * 64 * 64; i++) {
        const char text[3] = {alphabet[i >> 12], alphabet[i >> 6 & 63], alphabet[i & 63]};
        three += base64url_decode(text, 3, bytes, &size) && size == 2;
        if (i < (size_t)64 * 64)
            two += base64url_decode(text + 1, 2, bytes, &size) && size == 1;
    }
    assert_int_equal(two, 256);
    assert_int_equal(three, 65536);
    assert_decodes("AA", "\0", 1);
    assert_refused("AB", 2);
    assert_decodes("AAA", "\0\0", 2);
    assert_refused("AAB", 3);
    assert_refused("AAAAAAB", 7);
}

/* ---- both spellings, and back ---- */

static bool url(const char *text, const char *expected)
{
    unsigned char out[64];
    size_t len;
    return base64url_decode(text, strlen(text), out, &len) && len == strlen(expected) &&
           memcmp(out, expected, len) == 0;
}

static bool padded(const char *text, const char *expected)
{
    unsigned char out[64];
    size_t len;
    return base64_decode(text, strlen(text), out, &len) && len == strlen(expected) &&
           memcmp(out, expected, len) == 0;
}

/* RFC 4648, section 10. */
static void test_vectors_of_both(void **state)
{
    static const char *const vectors[][3] = {
        {"", "", ""},
        {"f", "Zg", "Zg=="},
        {"fo", "Zm8", "Zm8="},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg", "Zm9vYg=="},
        {"fooba", "Zm9vYmE", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char encoded[BASE64_ENCODED(8)];
        base64url_encode((const unsigned char *)vectors[i][0], strlen(vectors[i][0]), encoded);
        assert_string_equal(encoded, vectors[i][1]);
        assert_true(url(vectors[i][1], vectors[i][0]));
        assert_true(padded(vectors[i][2], vectors[i][0]));
    }
}

static void test_two_alphabets(void **state)
{
    (void)state;
    assert_true(url("-_-_", "\xFB\xFF\xBF"));
    assert_true(padded("+/+/", "\xFB\xFF\xBF"));
    assert_false(url("+/+/", "\xFB\xFF\xBF"));
    assert_false(padded("-_-_", "\xFB\xFF\xBF"));
}

static void test_refused_by_both(void **state)
{
    static const char *const of_url[] = {"Z",   "Zm9vY", "Zg==",  "Zm8=", "Zg=",  "Zh",
                                         "Zm9", "Zm 8",  "Zm8\n", "=",    "Zm.v", "Zm\xE9v"};
    static const char *const of_padded[] = {"Z",     "Zg",     "Zg=",      "Z===",     "====",
                                            "=",     "Zh==",   "Zm9=",     "Zm8=Zm8=", "Zm\n8",
                                            " Zm8=", "Zg==\n", "Zm9vYg==="};
    unsigned char out[64];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof of_url / sizeof of_url[0]; i++)
        assert_false(base64url_decode(of_url[i], strlen(of_url[i]), out, &len));
    for (size_t i = 0; i < sizeof of_padded / sizeof of_padded[0]; i++)
        assert_false(base64_decode(of_padded[i], strlen(of_padded[i]), out, &len));
}

static void test_there_and_back(void **state)
{
    unsigned char bytes[256];
    unsigned char back[BASE64_DECODED(BASE64_ENCODED(256))];
    char text[BASE64_ENCODED(256)];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + 3);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        base64url_encode(bytes, size, text);
        assert_true(base64url_decode(text, strlen(text), back, &len));
        assert_int_equal(len, size);
        assert_memory_equal(back, bytes, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_of_both),  cmocka_unit_test(test_two_alphabets),
        cmocka_unit_test(test_refused_by_both),  cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_vectors),          cmocka_unit_test(test_all_symbols),
        cmocka_unit_test(test_other_characters), cmocka_unit_test(test_impossible_lengths),
        cmocka_unit_test(test_one_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
