/* SPDX-License-Identifier: MIT
 * A connection's first bytes to a request's bounds, which libfcgi then relies on. */
#include "fuzz.h"
#include "server/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct record_request whole = record_scan(bytes, len);
    FUZZ_MUST(whole.params_len <= len);
    if (whole.verdict == RECORD_WHOLE) {
        FUZZ_MUST(whole.len > 0 && whole.len <= len && whole.params_len <= whole.len);
        /* It ends there: with nothing after it it is the same, with a byte less not whole. */
        struct record_request alone = record_scan(bytes, whole.len);
        FUZZ_MUST(alone.verdict == RECORD_WHOLE && alone.len == whole.len &&
                  alone.params_len == whole.params_len);
        FUZZ_MUST(record_scan(bytes, whole.len - 1).verdict == RECORD_PARTIAL);
    }
    if (whole.verdict == RECORD_WHOLE || whole.verdict == RECORD_BODY_LONG)
        FUZZ_MUST(whole.id > 0 && whole.params_len > 0);
    return 0;
}
