/* SPDX-License-Identifier: MIT
 * Memory that is given back: it is, and what it held is still there. */
#include "unit.h"

#include "base/memory.h"
#include "base/text.h"

/* A sanitizer's own malloc keeps what is freed, and its code is touched all the time. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

/* Resident KiB of the process: all, or what has a file behind it. */
static long resident(const char *kind)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "re");
    assert_non_null(file);
    while (kib < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, kind, strlen(kind)) == 0)
            kib = strtol(line + strlen(kind) + 1, NULL, 10);
    }
    fclose(file);
    assert_true(kib > 0);
    return kib;
}

/* Pages of code come back from their files as they are needed. */
static void test_code(void **state)
{
    char text[32];
    (void)state;
    long before = resident("RssFile");
    memory_drop_code();
    long after = resident("RssFile");
    if (after > before - before / 4)
        fail_msg("%ld KiB of %ld are left", after, before);
    assert_true(text_rfc3339(0, text));
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    memory_drop_code();
    memory_drop_code();
}

/* Freed pieces with one in use behind them: the heap's end cannot go back. */
static void test_heap(void **state)
{
    enum {
        PIECES = 20000,
        SIZE = 1000
    };
    static char *pieces[PIECES];
    (void)state;
    if (IS_SANITIZED)
        skip();
    for (size_t i = 0; i < PIECES; i++) {
        assert_non_null(pieces[i] = malloc(SIZE));
        memset(pieces[i], (int)i, SIZE);
    }
    for (size_t i = 0; i < PIECES - 1; i++) {
        if (i % 1000 != 0)
            free(pieces[i]);
    }
    long before = resident("VmRSS");
    memory_trim_heap();
    long after = resident("VmRSS");
    if (before - after < PIECES * SIZE / 1024 / 2)
        fail_msg("of %d KiB, %ld were given back", PIECES * SIZE / 1024, before - after);
    for (size_t i = 0; i < PIECES; i += 1000) {
        assert_int_equal(pieces[i][SIZE - 1], (char)i);
        free(pieces[i]);
    }
    assert_int_equal(pieces[PIECES - 1][0], (char)(PIECES - 1));
    free(pieces[PIECES - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code),
        cmocka_unit_test(test_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
