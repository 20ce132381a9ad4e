/* SPDX-License-Identifier: MIT
 *
 * tokens: for tests of what judges tokens: a bundle of keys, tokens that are good or differ from a
 * good one in one member, and assertions about the verdict.
 */
#ifndef BBM_UNIT_TOKENS_H
#define BBM_UNIT_TOKENS_H

#include "unit.h"

#include "auth/token.h"
#include "jose.h"

#include <openssl/err.h>

#define NOW INT64_C(1700000000)

static const struct token_policy policy = {"gitlab-issuer", "container_registry", NULL};

/* ---- keys ---- */

/* Those of the bundle, and one that is not in it. */
static struct {
    EVP_PKEY *rsa;
    EVP_PKEY *p256;
    EVP_PKEY *p384;
    EVP_PKEY *p521;
    EVP_PKEY *other;
    struct keyring *keyring;
} keys;

static inline int keys_build(void **state)
{
    char why[256];
    const char *path = NULL;
    if (unit_folder_make(state) != 0)
        return -1;
    keys.rsa = jose_rsa(2048);
    keys.p256 = jose_ec("P-256");
    keys.p384 = jose_ec("P-384");
    keys.p521 = jose_ec("P-521");
    keys.other = jose_rsa(2048);
    EVP_PKEY *const trusted[] = {keys.p384, keys.rsa, keys.p521, keys.p256};
    for (size_t i = 0; i < COUNT(trusted); i++)
        path = jose_bundle_add("bundle.pem", trusted[i]);
    keys.keyring = keyring_load(path, 1, why, sizeof why);
    return keys.keyring ? 0 : -1;
}

static inline int keys_remove(void **state)
{
    EVP_PKEY *const all[] = {keys.rsa, keys.p256, keys.p384, keys.p521, keys.other};
    for (size_t i = 0; i < COUNT(all); i++)
        EVP_PKEY_free(all[i]);
    keyring_unref(keys.keyring);
    return unit_folder_remove(state);
}

/* ---- objects that differ in one member ---- */

struct member {
    const char *name;
    const char *raw; /* JSON */
};

/* The members as a JSON object, with `name` replaced or added; left out for raw NULL. The
 * caller frees it. */
static inline char *object_with(const struct member *members, size_t count, const char *name,
                                const char *raw)
{
    char *text = NULL;
    size_t len = 0;
    bool replaced = false;
    const char *comma = "";
    FILE *file = open_memstream(&text, &len);
    assert_non_null(file);
    fputc('{', file);
    for (size_t i = 0; i < count; i++) {
        bool same = name && strcmp(name, members[i].name) == 0;
        const char *value = same ? raw : members[i].raw;
        replaced = replaced || same;
        if (value) {
            fprintf(file, "%s\"%s\":%s", comma, members[i].name, value);
            comma = ",";
        }
    }
    if (name && !replaced)
        fprintf(file, "%s\"%s\":%s", comma, name, raw);
    fputc('}', file);
    fclose(file);
    return text;
}

static inline char *claims_with(const char *name, const char *raw)
{
    static const struct member members[] = {
        {"iss", "\"gitlab-issuer\""},
        {"aud", "\"container_registry\""},
        {"sub", "\"ana\""},
        {"jti", "\"5e8f\""},
        {"nbf", "1699999990"},
        {"exp", "1700000300"},
        {"access", "[{\"type\":\"registry\",\"name\":\"background-migrations\","
                   "\"actions\":[\"read\"]}]"},
    };
    return object_with(members, COUNT(members), name, raw);
}

static inline char *header_with(EVP_PKEY *key, const char *algorithm, const char *name,
                                const char *raw)
{
    char kid[JOSE_FINGERPRINT_SIZE];
    char quoted_kid[JOSE_FINGERPRINT_SIZE + 2];
    char quoted_algorithm[32];
    jose_fingerprint(key, kid);
    snprintf(quoted_kid, sizeof quoted_kid, "\"%s\"", kid);
    snprintf(quoted_algorithm, sizeof quoted_algorithm, "\"%s\"", algorithm);
    const struct member members[] = {
        {"typ", "\"JWT\""}, {"alg", quoted_algorithm}, {"kid", quoted_kid}};
    return object_with(members, COUNT(members), name, raw);
}

static inline const EVP_MD *digest_of(const char *algorithm)
{
    return strstr(algorithm, "384")   ? EVP_sha384()
           : strstr(algorithm, "512") ? EVP_sha512()
                                      : EVP_sha256();
}

/* Signs with `signer`, whatever the header says; frees header and claims. */
static inline char *signed_by(EVP_PKEY *signer, const char *algorithm, char *header, char *claims)
{
    char *text = jose_sign(signer, digest_of(algorithm), header, claims);
    free(header);
    free(claims);
    return text;
}

static inline char *token_of(EVP_PKEY *key, const char *algorithm)
{
    return signed_by(key, algorithm, header_with(key, algorithm, NULL, NULL),
                     claims_with(NULL, NULL));
}

static inline char *token_with_claim(const char *name, const char *raw)
{
    return signed_by(keys.rsa, "RS256", header_with(keys.rsa, "RS256", NULL, NULL),
                     claims_with(name, raw));
}

static inline char *token_with_header(const char *name, const char *raw)
{
    return signed_by(keys.rsa, "RS256", header_with(keys.rsa, "RS256", name, raw),
                     claims_with(NULL, NULL));
}

/* ---- verdicts ---- */

#define ANY_REASON NULL

static inline bool check(const char *text, int64_t now, struct token *token,
                         struct refusal *refusal)
{
    /* Memory of exactly that length, without a closing zero. */
    size_t len = strlen(text);
    char *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, text, len);
    *refusal = (struct refusal){0};
    memset(token, 0xA5, sizeof *token);
    ERR_clear_error();
    bool good = token_check(copy, len, keys.keyring, &policy, now, token, refusal);
    free(copy);
    /* libpq would take an error that is left for its own. */
    assert_int_equal(ERR_peek_error(), 0);
    return good;
}

/* These free the token. */
static inline struct token assert_good_at(char *text, int64_t now)
{
    struct token token;
    struct refusal refusal;
    if (!check(text, now, &token, &refusal))
        fail_msg("refused: %s: %s", refusal.reason, text);
    free(text);
    return token;
}

static inline struct token assert_good(char *text)
{
    return assert_good_at(text, NOW);
}

static inline void assert_refused_at(char *text, int64_t now, const char *expected)
{
    struct token token;
    struct refusal refusal;
    if (check(text, now, &token, &refusal))
        fail_msg("accepted, and not refused as \"%s\": %s", expected ? expected : "any", text);
    assert_non_null(refusal.reason);
    if (expected)
        assert_string_equal(refusal.reason, expected);
    /* A refused token grants nothing and has no subject. */
    assert_int_equal(token.granted, 0);
    assert_string_equal(token.subject, "");
    assert_string_equal(token.id, "");
    free(text);
}

static inline void assert_refused(char *text, const char *expected)
{
    assert_refused_at(text, NOW, expected);
}

#endif
