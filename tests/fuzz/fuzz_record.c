/* SPDX-License-Identifier: MIT
 * The first bytes of a connection: the bounds of a request, its body, management records. */
#include "fuzz.h"
#include "server/record.h"

/* The body's content, and what record_skip takes for the rest of the request. */
static void check_body(const uint8_t *bytes, size_t len, const struct record_request *request)
{
    struct record_rest rest = {.id = request->id};
    char *body = malloc(request->body_len + 1);
    FUZZ_MUST(body && request->params_len <= request->body_at && request->body_at <= len);
    FUZZ_MUST(request->body_len <= len - request->body_at);
    FUZZ_MUST(record_body(bytes, request, body, request->body_len + 1) == request->body_len);
    size_t skipped = record_skip(&rest, bytes + request->body_at, len - request->body_at);
    FUZZ_MUST(skipped <= len - request->body_at);
    if (request->verdict == RECORD_WHOLE)
        FUZZ_MUST(rest.ended && request->body_at + skipped >= request->len);
    free(body);
}

static void check_management(const uint8_t *bytes, size_t len, const struct record_request *request)
{
    unsigned char answer[RECORD_MANAGEMENT_ANSWER_MOST];
    FUZZ_MUST(request->management_len >= 8 && request->management_at <= len &&
              request->management_len <= len - request->management_at);
    size_t size = record_management_answer(bytes + request->management_at, 1024, answer);
    FUZZ_MUST(size >= 8 && size <= sizeof answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct record_request whole = record_scan(bytes, len);
    FUZZ_MUST(whole.params_len <= len);
    if (len >= RECORD_REQUEST_MOST)
        FUZZ_MUST(whole.verdict != RECORD_PARTIAL && whole.verdict != RECORD_PARAMS);
    if (whole.verdict == RECORD_WHOLE) {
        FUZZ_MUST(whole.len > 0 && whole.len <= len && whole.params_len <= whole.len);
        /* It ends there: alone it is the same, and with one byte less it is not whole. */
        struct record_request alone = record_scan(bytes, whole.len);
        FUZZ_MUST(alone.verdict == RECORD_WHOLE && alone.len == whole.len &&
                  alone.params_len == whole.params_len);
        FUZZ_MUST(record_scan(bytes, whole.len - 1).verdict == RECORD_PARAMS);
    }
    if (whole.verdict == RECORD_WHOLE || whole.verdict == RECORD_BODY_LONG ||
        whole.verdict == RECORD_PARAMS) {
        FUZZ_MUST(whole.id > 0 && whole.params_len > 0);
        check_body(bytes, len, &whole);
    }
    if (whole.verdict == RECORD_MANAGEMENT)
        check_management(bytes, len, &whole);
    return 0;
}
