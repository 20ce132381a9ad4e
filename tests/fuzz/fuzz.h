/* SPDX-License-Identifier: MIT
 *
 * fuzz: what the fuzz targets share. A target gets any bytes and aborts where an invariant is
 * violated. libFuzzer finds such bytes (`make fuzz`), replay.c repeats them.
 */
#ifndef BBM_FUZZ_H
#define BBM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* When it is for all targets: seeds are valid then. 2033-05-18. */
#define FUZZ_NOW 2000000000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define FUZZ_MUST(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
