/* SPDX-License-Identifier: MIT
 * Text in memory; test_injection.py has memory run out. */
#include "base/buffer.h"
#include "unit.h"

#include <string.h>

static void test_text(void **state)
{
    struct buffer stream;
    (void)state;
    for (size_t lines = 1; lines < 20000; lines *= 3) {
        assert_true(buffer_open(&stream));
        for (size_t i = 0; i < lines; i++)
            assert_int_equal(fprintf(stream.out, "line %06zu\n", i), 12);
        char *text = buffer_close(&stream);
        assert_int_equal(strlen(text), lines * 12);
        for (size_t i = 0; i < lines; i++)
            assert_int_equal(strtoul(text + i * 12 + 5, NULL, 10), i);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
