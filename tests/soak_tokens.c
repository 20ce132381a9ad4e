/* SPDX-License-Identifier: MIT
 * NUMBER distinct tokens, half of them good: memory must stay flat.
 *   soak_tokens NUMBER
 * Exit code 1 where the process grows by more than a mebibyte between the first tenth and the end.
 * Under a sanitizer or valgrind, whose own memory grows, only leaks count. */
#include "auth/auth.h"
#include "mint.h"

#include <unistd.h>

#define NOW       2000000000
#define KIB_GROWN 1024

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEASURABLE 0
#elif defined(__has_feature)
#define MEASURABLE (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer))
#else
#define MEASURABLE 1
#endif

/* Valgrind preloads its own malloc(). */
static int measurable(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return MEASURABLE && !(preloaded && strstr(preloaded, "vgpreload"));
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    MINT_MUST(file && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Opens with a bundle of one key, and writes the header that names the key. */
static void open_auth(EVP_PKEY *pkey, struct conf *conf, struct auth *auth, char *header,
                      size_t size)
{
    char path[] = "/tmp/bbm-fcgi-soak.XXXXXX";
    char fingerprint[KEY_FINGERPRINT_SIZE];
    char why[512];
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    X509 *certificate = mint_certificate(pkey, "soak", NOW);
    MINT_MUST(file && PEM_write_X509(file, certificate) && fclose(file) == 0);
    conf->token.rootcertbundle = path;
    MINT_MUST(auth_open(auth, conf, why, sizeof why) && unlink(path) == 0);
    MINT_MUST(keyring_key_fingerprint(certificate, fingerprint));
    snprintf(header, size, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", fingerprint);
    X509_free(certificate);
}

/* Asks twice with a token of its own; every other token is damaged and must be refused. */
static void ask(const struct auth *auth, EVP_PKEY *pkey, const char *header, long number)
{
    char claims[256];
    struct token token;
    struct refusal refusal;
    bool good = number % 2 == 0;
    int len = snprintf(claims, sizeof claims,
                       "{\"iss\":\"i\",\"aud\":\"s\",\"sub\":\"s\",\"jti\":\"%ld\",\"exp\":%d,"
                       "\"access\":[{\"type\":\"registry\",\"name\":\"background-migrations\","
                       "\"actions\":[\"*\"]}]}",
                       number, NOW + 100);
    char *text = mint_token(pkey, header, claims, (size_t)len);
    size_t size = strlen(text);
    if (!good)
        text[size - 20] = text[size - 20] == 'A' ? 'B' : 'A';
    for (int i = 0; i < 2; i++)
        MINT_MUST(auth_token(auth, text, size, NOW, &token, &refusal) == good);
    free(text);
}

int main(int argc, char **argv)
{
    long number = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    long start = 0;
    char header[128];
    char issuer[] = "i";
    char service[] = "s";
    MINT_MUST(number >= 10);
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    struct conf conf = {.token.issuer = issuer, .token.service = service, .fcgi.threads = 1};
    struct auth auth;
    open_auth(pkey, &conf, &auth, header, sizeof header);
    for (long i = 0; i < number; i++) {
        if (i == number / 10)
            start = resident_kib();
        ask(&auth, pkey, header, i);
    }
    long end = resident_kib();
    printf("%ld tokens, resident after a tenth %ld KiB, at the end %ld KiB\n", number, start, end);
    auth_close(&auth);
    EVP_PKEY_free(pkey);
    return measurable() && end - start > KIB_GROWN ? EXIT_FAILURE : EXIT_SUCCESS;
}
