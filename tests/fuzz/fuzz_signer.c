/* SPDX-License-Identifier: MIT
 * A token's header to the key that it names. The key is one of the bundle's, or the one that the
 * bundle's authority has certified, whose fingerprint is in the file `certified`. */
#include "auth/signer.h"
#include "base/json_input.h"
#include "fuzz.h"

#include <string.h>

static struct keyring *keyring;
static char certified[KEY_FINGERPRINT_SIZE];

static void setup(void)
{
    char why[256];
    if (keyring)
        return;
    keyring = keyring_load(FUZZ_FOLDER "/bundle.pem", 1, why, sizeof why);
    FUZZ_MUST(keyring);
    FILE *file = fopen(FUZZ_FOLDER "/certified", "rb");
    FUZZ_MUST(file && fgets(certified, sizeof certified, file));
    fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct signer signer;
    struct refusal refusal = {0};
    struct json_input input = {0};
    const json_t *header;
    setup();
    if (json_input_read(&input, (const char *)bytes, len, &header) == JSON_INPUT_GOOD) {
        if (signer_find(header, keyring, FUZZ_NOW, &signer, &refusal)) {
            FUZZ_MUST(strcmp(signer.key->fingerprint, certified) == 0 ||
                      keyring_find(keyring, signer.key->fingerprint));
            FUZZ_MUST(signer.from <= FUZZ_NOW && FUZZ_NOW <= signer.until);
        } else {
            FUZZ_MUST(refusal.reason);
        }
        signer_clear(&signer);
    }
    json_input_free(&input);
    return 0;
}
