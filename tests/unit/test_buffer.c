/* SPDX-License-Identifier: MIT
 * Text that grows, that stays where it starts, and that is whole or seen as lost; test_injection.py
 * has memory run out. */
#include "unit.h"

#include "base/buffer.h"

#include <stdbool.h>

/* More than malloc ever gives. */
#define TOO_MUCH ((size_t)PTRDIFF_MAX - 8)

/* The sanitizers' malloc ends the program there, unless these say otherwise. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void add_each_kind(struct buffer *buffer)
{
    buffer_char(buffer, 'a');
    buffer_string(buffer, "bc");
    buffer_bytes(buffer, "def", 2);
    buffer_integer(buffer, -70);
    buffer_format(buffer, "%s%d", "x", 5);
}

static void test_each_kind(void **state)
{
    char place[32];
    struct buffer buffer = buffer_start(place, sizeof place);
    (void)state;
    add_each_kind(&buffer);
    assert_string_equal(buffer_text(&buffer), "abcde-70x5");
    assert_int_equal(buffer.len, 10);
    buffer_free(&buffer);
}

/* Text of the usual length stays on the caller's bytes. */
static void test_no_allocation_while_it_fits(void **state)
{
    char place[11];
    struct buffer buffer = buffer_start(place, sizeof place);
    (void)state;
    add_each_kind(&buffer);
    assert_ptr_equal(buffer_text(&buffer), place);
    buffer_char(&buffer, '!');
    assert_ptr_not_equal(buffer_text(&buffer), place);
    assert_string_equal(buffer_text(&buffer), "abcde-70x5!");
    buffer_free(&buffer);
}

static void test_growth_keeps_all(void **state)
{
    (void)state;
    for (size_t lines = 1; lines < 20000; lines *= 3) {
        struct buffer buffer = buffer_start(NULL, 0);
        for (size_t i = 0; i < lines; i++) {
            if (i % 2)
                buffer_format(&buffer, "line %06zu\n", i);
            else
                buffer_string(&buffer, "line 000000\n");
        }
        char *text = buffer_take(&buffer);
        assert_int_equal(strlen(text), lines * 12);
        for (size_t i = 0; i < lines; i++)
            assert_int_equal(strtoul(text + i * 12 + 5, NULL, 10), i % 2 ? i : 0);
        free(text);
    }
}

/* One piece may be longer than twice what is there. */
static void test_long_piece(void **state)
{
    char place[8];
    char piece[5000];
    (void)state;
    memset(piece, 'p', sizeof piece);
    for (size_t len = 0; len < sizeof piece; len += 61) {
        struct buffer buffer = buffer_start(place, sizeof place);
        buffer_string(&buffer, "begin");
        buffer_format(&buffer, "%.*s", (int)len, piece);
        buffer_bytes(&buffer, piece, len);
        buffer_string(&buffer, "end");
        const char *text = buffer_text(&buffer);
        assert_int_equal(strlen(text), 8 + 2 * len);
        assert_int_equal(strspn(text + 5, "p"), 2 * len);
        assert_string_equal(text + 5 + 2 * len, "end");
        buffer_free(&buffer);
    }
}

static void test_nothing_added(void **state)
{
    char place[1] = {'x'};
    struct buffer fixed = buffer_fixed(place, sizeof place);
    struct buffer none = buffer_start(NULL, 0);
    (void)state;
    assert_string_equal(buffer_text(&fixed), "");
    char *text = buffer_take(&none);
    assert_string_equal(text, "");
    free(text);
}

/* Its bytes take the text and the closing zero, and no byte more. */
static void test_fixed_is_whole_or_lost(void **state)
{
    char place[16];
    (void)state;
    for (size_t size = 1; size < sizeof place; size++) {
        memset(place, '#', sizeof place);
        struct buffer buffer = buffer_fixed(place, size);
        add_each_kind(&buffer);
        if (size > 10)
            assert_string_equal(buffer_text(&buffer), "abcde-70x5");
        else
            assert_null(buffer_text(&buffer));
        assert_int_equal(buffer.lost, size <= 10);
        for (size_t i = size; i < sizeof place; i++)
            assert_int_equal(place[i], '#');
    }
}

/* What does not fit is left out whole; a later piece that fits is not. */
static void test_lost_piece(void **state)
{
    char place[8];
    struct buffer buffer = buffer_fixed(place, sizeof place);
    (void)state;
    buffer_string(&buffer, "abc");
    buffer_string(&buffer, "defgh");
    assert_int_equal(buffer.len, 3);
    buffer_format(&buffer, "%s", "defgh");
    assert_int_equal(buffer.len, 3);
    buffer_string(&buffer, "ij");
    assert_int_equal(buffer.len, 5);
    assert_memory_equal(buffer.text, "abcij", 5);
    assert_true(buffer.lost);
    assert_null(buffer_text(&buffer));
}

/* Without memory the text so far stays, and the loss is seen at the end. */
static void test_out_of_memory(void **state)
{
    char place[8];
    struct buffer buffer = buffer_start(place, sizeof place);
    struct buffer owned = buffer_start(NULL, 0);
    (void)state;
    buffer_string(&buffer, "abc");
    buffer_bytes(&buffer, place, TOO_MUCH);
    assert_true(buffer.lost);
    assert_int_equal(buffer.len, 3);
    assert_memory_equal(buffer.text, "abc", 3);
    buffer_char(&buffer, '\n');
    assert_memory_equal(buffer.text, "abc\n", 4);
    assert_null(buffer_text(&buffer));
    buffer_free(&buffer);

    buffer_string(&owned, "abc");
    buffer_bytes(&owned, place, TOO_MUCH);
    assert_null(buffer_take(&owned));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind),        cmocka_unit_test(test_no_allocation_while_it_fits),
        cmocka_unit_test(test_growth_keeps_all), cmocka_unit_test(test_long_piece),
        cmocka_unit_test(test_nothing_added),    cmocka_unit_test(test_fixed_is_whole_or_lost),
        cmocka_unit_test(test_lost_piece),       cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
