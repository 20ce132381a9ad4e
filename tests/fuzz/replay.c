/* SPDX-License-Identifier: MIT
 * A fuzz target without a fuzzer: gives it each of the files named, once. */
#include "fuzz.h"

static void replay(const char *name)
{
    FILE *file = fopen(name, "rb");
    FUZZ_MUST(file && fseek(file, 0, SEEK_END) == 0);
    long len = ftell(file);
    FUZZ_MUST(len >= 0 && fseek(file, 0, SEEK_SET) == 0);
    /* Of the exact size, so that a sanitizer sees a read beyond it. */
    uint8_t *bytes = malloc(len > 0 ? (size_t)len : 1);
    FUZZ_MUST(bytes && fread(bytes, 1, (size_t)len, file) == (size_t)len);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t)len);
    free(bytes);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%d replayed\n", argc - 1);
    return argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
