/* SPDX-License-Identifier: MIT
 * The Authorization header to a verdict. The private keys of bundle.pem are lost: an accepted token
 * that is not in the file `good` is a forgery. */
#include "auth/bearer.h"
#include "auth/token.h"
#include "fuzz.h"

#include <string.h>

static struct keyring *keyring;
static char *good;

/* The tokens that were signed for this target, one in each line. */
static char *read_good(void)
{
    FILE *file = fopen(FUZZ_FOLDER "/good", "rb");
    size_t size = 0;
    char *text = NULL;
    FUZZ_MUST(file && getdelim(&text, &size, '\0', file) > 0);
    fclose(file);
    return text;
}

static bool is_good(const char *token, size_t len)
{
    for (const char *line = good; *line; line += strcspn(line, "\n") + 1) {
        if (strcspn(line, "\n") == len && memcmp(line, token, len) == 0)
            return true;
    }
    return false;
}

static void setup(void)
{
    char why[256];
    if (keyring)
        return;
    keyring = keyring_load(FUZZ_FOLDER "/bundle.pem", 1, why, sizeof why);
    FUZZ_MUST(keyring);
    good = read_good();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct token_policy policy = {"gitlab-issuer", "container_registry", NULL};
    struct token token;
    struct refusal refusal;
    size_t size;
    setup();
    char *header = strndup((const char *)bytes, len);
    const char *text = bearer_token(header, &size);
    if (text) {
        bool accepted = token_check(text, size, keyring, &policy, FUZZ_NOW, &token, &refusal);
        FUZZ_MUST(accepted == is_good(text, size));
        FUZZ_MUST(accepted != (refusal.reason != NULL));
        FUZZ_MUST(accepted || token.granted == 0);
    }
    free(header);
    return 0;
}
