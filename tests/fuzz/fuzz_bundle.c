/* SPDX-License-Identifier: MIT
 * The file of the trust bundle to a keyring, or to a reason. */
#include "auth/keyring.h"
#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char why[256] = "";
    char path[64];
    int fd = memfd_create("bundle", 0);
    FUZZ_MUST(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct keyring *keyring = keyring_load(path, 1, why, sizeof why);
    FUZZ_MUST(keyring ? keyring_count(keyring) > 0 : strlen(why) > 0);
    keyring_unref(keyring);
    close(fd);
    return 0;
}
