/* SPDX-License-Identifier: MIT
 * Claims under a good signature, for the code behind the signature check. The first byte says how
 * the header names the key, the rest is the claims' JSON. */
#include "auth/token.h"
#include "fuzz.h"
#include "mint.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static EVP_PKEY *pkey;
static struct keyring *keyring;
static char headers[3][4096]; /* by kid, by jwk, by x5c */

static void make_headers(X509 *certificate)
{
    struct key key;
    const char *why;
    unsigned char *der = NULL;
    unsigned char base64[3072];
    int len = i2d_X509(certificate, &der);
    FUZZ_MUST(len > 0 && len < 2048 && keyring_key_read(certificate, &key, &why));
    EVP_EncodeBlock(base64, der, len);
    snprintf(headers[0], sizeof headers[0], "{\"alg\":\"ES256\",\"kid\":\"%s\"}", key.fingerprint);
    snprintf(headers[1], sizeof headers[1],
             "{\"alg\":\"ES256\",\"jwk\":"
             "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}}",
             key.curve, key.jwk[0], key.jwk[1]);
    snprintf(headers[2], sizeof headers[2], "{\"alg\":\"ES256\",\"x5c\":[\"%s\"]}",
             (const char *)base64);
    OPENSSL_free(der);
    keyring_key_clear(&key);
}

static void setup(void)
{
    char why[256];
    char path[64];
    if (keyring)
        return;
    pkey = EVP_EC_gen("P-256");
    FUZZ_MUST(pkey);
    X509 *certificate = mint_certificate(pkey, "fuzz", FUZZ_NOW);
    int fd = memfd_create("bundle", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    FILE *file = fopen(path, "w");
    FUZZ_MUST(file && PEM_write_X509(file, certificate) && fclose(file) == 0);
    keyring = keyring_load(path, 1, why, sizeof why);
    FUZZ_MUST(keyring);
    close(fd);
    make_headers(certificate);
    X509_free(certificate);
}

static bool check(const char *text, int64_t now, struct token *token)
{
    static const struct token_policy policy = {"gitlab-issuer", "container_registry", NULL};
    struct refusal refusal;
    bool accepted = token_check(text, strlen(text), keyring, &policy, now, token, &refusal);
    FUZZ_MUST(accepted != (refusal.reason != NULL));
    FUZZ_MUST(accepted || token->granted == 0);
    return accepted;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct token token;
    struct token other;
    if (len == 0)
        return 0;
    setup();
    char *text = mint_token(pkey, headers[bytes[0] % 3], bytes + 1, len - 1);
    if (check(text, FUZZ_NOW, &token)) {
        FUZZ_MUST(token.granted <= (ACCESS_READ | ACCESS_WRITE));
        FUZZ_MUST(strlen(token.subject) < sizeof token.subject);
        /* It is accepted from `from` to `until`, and not a second more. */
        FUZZ_MUST(token.from <= FUZZ_NOW && FUZZ_NOW <= token.until);
        FUZZ_MUST(check(text, token.until, &other) && other.until == token.until);
        FUZZ_MUST(token.until == INT64_MAX || !check(text, token.until + 1, &other));
        FUZZ_MUST(token.from == INT64_MIN || !check(text, token.from - 1, &other));
    }
    free(text);
    return 0;
}
