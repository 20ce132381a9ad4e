/* SPDX-License-Identifier: MIT
 * Tokens: which are believed, and each reason why one is not. */
#include "unit.h"

#include "auth/token.h"
#include "jose.h"

#define NOW INT64_C(1700000000)

static const struct token_policy policy = {"gitlab-issuer", "container_registry", NULL};

/* The keys of the bundle, and one that is not in it. */
static struct {
    EVP_PKEY *rsa;
    EVP_PKEY *p256;
    EVP_PKEY *p384;
    EVP_PKEY *p521;
    EVP_PKEY *other;
    struct keyring *keyring;
} house;

static int house_build(void **state)
{
    char why[256];
    const char *path = NULL;
    if (unit_folder_make(state) != 0)
        return -1;
    house.rsa = jose_rsa(2048);
    house.p256 = jose_ec("P-256");
    house.p384 = jose_ec("P-384");
    house.p521 = jose_ec("P-521");
    house.other = jose_rsa(2048);
    EVP_PKEY *const trusted[] = {house.p384, house.rsa, house.p521, house.p256};
    for (size_t i = 0; i < COUNT(trusted); i++)
        path = jose_bundle_add("bundle.pem", trusted[i]);
    house.keyring = keyring_load(path, 1, why, sizeof why);
    return house.keyring ? 0 : -1;
}

static int house_remove(void **state)
{
    EVP_PKEY *const keys[] = {house.rsa, house.p256, house.p384, house.p521, house.other};
    for (size_t i = 0; i < COUNT(keys); i++)
        EVP_PKEY_free(keys[i]);
    keyring_unref(house.keyring);
    return unit_folder_remove(state);
}

/* ---- objects that differ in one member ---- */

struct member {
    const char *name;
    const char *raw; /* JSON */
};

/* The members as a JSON object, with `name` replaced or added; left out for raw NULL. The
 * caller frees it. */
static char *object_with(const struct member *members, size_t count, const char *name,
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

static char *claims_with(const char *name, const char *raw)
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

static char *header_with(EVP_PKEY *key, const char *algorithm, const char *name, const char *raw)
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

static const EVP_MD *digest_of(const char *algorithm)
{
    return strstr(algorithm, "384")   ? EVP_sha384()
           : strstr(algorithm, "512") ? EVP_sha512()
                                      : EVP_sha256();
}

/* Signs by `signer` what says it is by `key`; frees header and claims. */
static char *signed_by(EVP_PKEY *signer, const char *algorithm, char *header, char *claims)
{
    char *text = jose_sign(signer, digest_of(algorithm), header, claims);
    free(header);
    free(claims);
    return text;
}

static char *token_of(EVP_PKEY *key, const char *algorithm)
{
    return signed_by(key, algorithm, header_with(key, algorithm, NULL, NULL),
                     claims_with(NULL, NULL));
}

static char *token_with_claim(const char *name, const char *raw)
{
    return signed_by(house.rsa, "RS256", header_with(house.rsa, "RS256", NULL, NULL),
                     claims_with(name, raw));
}

static char *token_with_header(const char *name, const char *raw)
{
    return signed_by(house.rsa, "RS256", header_with(house.rsa, "RS256", name, raw),
                     claims_with(NULL, NULL));
}

/* ---- verdicts ---- */

#define ANY_REASON NULL

static bool check(const char *text, int64_t now, struct token *token, struct refusal *refusal)
{
    /* Memory of exactly that length, without a closing zero. */
    size_t len = strlen(text);
    char *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, text, len);
    *refusal = (struct refusal){0};
    memset(token, 0xA5, sizeof *token);
    bool good = token_check(copy, len, house.keyring, &policy, now, token, refusal);
    free(copy);
    return good;
}

/* These free the token. */
static struct token assert_good_at(char *text, int64_t now)
{
    struct token token;
    struct refusal refusal;
    if (!check(text, now, &token, &refusal))
        fail_msg("refused: %s: %s", refusal.reason, text);
    free(text);
    return token;
}

static struct token assert_good(char *text)
{
    return assert_good_at(text, NOW);
}

static void assert_refused_at(char *text, int64_t now, const char *expected)
{
    struct token token;
    struct refusal refusal;
    if (check(text, now, &token, &refusal))
        fail_msg("accepted, and not refused as \"%s\": %s", expected ? expected : "any", text);
    assert_non_null(refusal.reason);
    if (expected)
        assert_string_equal(refusal.reason, expected);
    /* A refused token grants nothing and names nobody. */
    assert_int_equal(token.granted, 0);
    assert_string_equal(token.subject, "");
    assert_string_equal(token.id, "");
    free(text);
}

static void assert_refused(char *text, const char *expected)
{
    assert_refused_at(text, NOW, expected);
}

/* ---- algorithms ---- */

static const char *const algorithms[] = {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"};

static EVP_PKEY *key_for(const char *algorithm)
{
    return algorithm[0] == 'R'        ? house.rsa
           : strstr(algorithm, "256") ? house.p256
           : strstr(algorithm, "384") ? house.p384
                                      : house.p521;
}

static void test_every_algorithm(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(algorithms); i++) {
        struct token token = assert_good(token_of(key_for(algorithms[i]), algorithms[i]));
        assert_int_equal(token.granted, ACCESS_READ);
        assert_int_equal(token.until, 1700000300 + TOKEN_LEEWAY);
        assert_string_equal(token.subject, "ana");
        assert_string_equal(token.id, "5e8f");
    }
}

/* ES256 on a P-384 key, RS256 on any EC key, and so on: properly signed with that key and
 * that digest, and still not what the algorithm's name means. */
static void test_algorithm_fits_the_key(void **state)
{
    EVP_PKEY *const keys[] = {house.rsa, house.p256, house.p384, house.p521};
    (void)state;
    for (size_t i = 0; i < COUNT(keys) * COUNT(algorithms); i++) {
        const char *algorithm = algorithms[i % COUNT(algorithms)];
        EVP_PKEY *key = keys[i / COUNT(algorithms)];
        if (key != key_for(algorithm))
            assert_refused(token_of(key, algorithm), "algorithm does not fit the key");
    }
}

/* RFC 7518 means P-256 by ES256, and other curves have 256 bits too. Whether the bundle
 * or the token is refused, such a token must not be taken. */
static void test_other_curves(void **state)
{
    static const char *const curves[] = {"secp256k1", "brainpoolP256r1", "brainpoolP384r1"};
    static const char *const names[] = {"ES256", "ES256", "ES384"};
    (void)state;
    for (size_t i = 0; i < COUNT(curves); i++) {
        char why[256];
        struct token token;
        struct refusal refusal;
        EVP_PKEY *key = jose_ec(curves[i]);
        char *text = token_of(key, names[i]);
        struct keyring *keyring = keyring_load(jose_bundle_add(curves[i], key), 1, why, sizeof why);
        bool taken =
            keyring && token_check(text, strlen(text), keyring, &policy, NOW, &token, &refusal);
        keyring_unref(keyring);
        EVP_PKEY_free(key);
        free(text);
        if (taken)
            fail_msg("%s is taken on curve %s", names[i], curves[i]);
    }
}

static void test_other_algorithms(void **state)
{
    static const char *const raw[] = {
        "\"none\"",  "\"None\"",  "\"NONE\"",    "\"nOnE\"",  "\"\"",       "\"HS256\"",
        "\"HS384\"", "\"HS512\"", "\"PS256\"",   "\"PS512\"", "\"EdDSA\"",  "\"ES256K\"",
        "\"rs256\"", "\"RS1\"",   "\"RS256 \"",  "\"RS2\"",   "\"RS2567\"", "256",
        "null",      "true",      "[\"RS256\"]", "{}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++)
        assert_refused(token_with_header("alg", raw[i]), "algorithm is not one of those accepted");
    assert_refused(token_with_header("alg", NULL), "algorithm is not one of those accepted");
}

/* What libjwt would take: the trusted key's public PEM as the secret of an HMAC. */
static void test_hmac_with_the_public_key(void **state)
{
    static const char *const names[] = {"HS256", "HS384", "HS512"};
    char kid[JOSE_FINGERPRINT_SIZE];
    (void)state;
    jose_fingerprint(house.rsa, kid);
    const struct key *key = keyring_find(house.keyring, kid);
    assert_non_null(key);
    EVP_PKEY *secret = jose_hmac(key->pem);
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_refused(signed_by(secret, names[i], header_with(house.rsa, names[i], NULL, NULL),
                                 claims_with(NULL, NULL)),
                       "algorithm is not one of those accepted");
    }
    /* The same under an accepted name. */
    assert_refused(signed_by(secret, "RS256", header_with(house.rsa, "RS256", NULL, NULL),
                             claims_with(NULL, NULL)),
                   "signature does not verify");
    EVP_PKEY_free(secret);
}

/* Two names at once: whichever of them counts, none gets through. */
static void test_two_algorithms(void **state)
{
    static const char *const order[][2] = {
        {"RS256", "none"}, {"none", "RS256"}, {"RS256", "HS256"}, {"HS256", "RS256"}};
    char kid[JOSE_FINGERPRINT_SIZE];
    (void)state;
    jose_fingerprint(house.rsa, kid);
    EVP_PKEY *secret = jose_hmac(keyring_find(house.keyring, kid)->pem);
    for (size_t i = 0; i < COUNT(order); i++) {
        char header[256];
        struct token token;
        struct refusal refusal;
        char *claims = claims_with(NULL, NULL);
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\",\"alg\":\"%s\"}",
                 order[i][0], kid, order[i][1]);
        char *text = jose_sign(secret, EVP_sha256(), header, claims);
        assert_false(check(text, NOW, &token, &refusal));
        free(text);
        free(claims);
    }
    EVP_PKEY_free(secret);
}

static void test_none_without_signature(void **state)
{
    (void)state;
    char *text = token_with_header("alg", "\"none\"");
    strrchr(text, '.')[1] = '\0';
    assert_refused(text, "not three parts");
}

/* ---- signatures ---- */

static void test_signature_of_another_digest(void **state)
{
    (void)state;
    char *text = signed_by(house.rsa, "RS256", header_with(house.rsa, "RS384", NULL, NULL),
                           claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
}

static void test_signature_of_another_key(void **state)
{
    (void)state;
    char *text = signed_by(house.other, "RS256", header_with(house.rsa, "RS256", NULL, NULL),
                           claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
    EVP_PKEY *stranger = jose_ec("P-256");
    text = signed_by(stranger, "ES256", header_with(house.p256, "ES256", NULL, NULL),
                     claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
    EVP_PKEY_free(stranger);
}

static char flipped(char c)
{
    return c == 'A' ? 'B' : 'A';
}

/* Any change to what is signed, as long as it still reads as a token for us. */
static void test_tampered_claims(void **state)
{
    (void)state;
    char *more = claims_with("access", "[{\"type\":\"registry\",\"name\":\"background-migrations\","
                                       "\"actions\":[\"*\"]}]");
    char *good = token_of(house.rsa, "RS256");
    char *forged = jose_join(jose_base64url(more, strlen(more)), strdup(strrchr(good, '.') + 1));
    free(more);
    *strchr(good, '.') = '\0';
    assert_refused(jose_join(good, forged), "signature does not verify");
}

static void test_tampered_signature(void **state)
{
    EVP_PKEY *const keys[] = {house.rsa, house.p256};
    static const char *const names[] = {"RS256", "ES256"};
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        char *text = token_of(keys[i], names[i]);
        size_t start = (size_t)(strrchr(text, '.') - text) + 1;
        size_t len = strlen(text);
        /* All but the last, some of whose bits stand for nothing. */
        for (size_t at = start; at < len - 1; at += 17) {
            char *changed = strdup(text);
            assert_non_null(changed);
            changed[at] = flipped(changed[at]);
            assert_refused(changed, "signature does not verify");
        }
        free(text);
    }
}

/* A text's last character holds bits beyond the last byte: they must be zero, or one
 * token would have several spellings. */
static void test_one_spelling(void **state)
{
    (void)state;
    char *text = token_of(house.rsa, "RS256"); /* 256 bytes: four bits to spare */
    size_t last = strlen(text) - 1;
    assert_non_null(strchr("AQgw", text[last]));
    text[last]++;
    assert_refused(text, "signature is not base64url");
}

static void test_padding(void **state)
{
    char *text = token_of(house.rsa, "RS256");
    char padded[4096];
    (void)state;
    snprintf(padded, sizeof padded, "%s==", text);
    free(text);
    assert_refused(strdup(padded), "signature is not base64url");
}

/* The token's signature replaced by these bytes. */
static char *with_signature(EVP_PKEY *key, const char *algorithm, const void *bytes, size_t len)
{
    char *text = token_of(key, algorithm);
    *strrchr(text, '.') = '\0';
    return jose_join(text, jose_base64url(bytes, len));
}

static void test_signatures_of_other_sizes(void **state)
{
    static const unsigned char zeros[512];
    static const size_t sizes[] = {1, 2, 16, 32, 63, 64, 65, 96, 128, 132, 256, 257, 512};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t j = 0; j < COUNT(algorithms); j++) {
            assert_refused(with_signature(key_for(algorithms[j]), algorithms[j], zeros, sizes[i]),
                           "signature does not verify");
        }
    }
}

/* ECDSA as X.509 writes it is no JWS signature. */
static void test_signature_in_der(void **state)
{
    unsigned char der[128];
    size_t len = sizeof der;
    char *text = token_of(house.p256, "ES256");
    (void)state;
    *strrchr(text, '.') = '\0';
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_true(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, house.p256) > 0);
    assert_true(EVP_DigestSign(context, der, &len, (const unsigned char *)text, strlen(text)) > 0);
    EVP_MD_CTX_free(context);
    assert_refused(jose_join(text, jose_base64url(der, len)), "signature does not verify");
}

/* ---- key ids ---- */

static void test_key_ids(void **state)
{
    char kid[JOSE_FINGERPRINT_SIZE];
    char raw[JOSE_FINGERPRINT_SIZE + 16];
    (void)state;
    assert_refused(token_with_header("kid", NULL), "no key id");
    assert_refused(token_with_header("kid", "7"), "no key id");
    assert_refused(token_with_header("kid", "null"), "no key id");
    assert_refused(token_with_header("kid", "\"\""), "key is not trusted");
    jose_fingerprint(house.other, kid);
    snprintf(raw, sizeof raw, "\"%s\"", kid);
    assert_refused(token_with_header("kid", raw), "key is not trusted");
    assert_refused(token_of(house.other, "RS256"), "key is not trusted");
    /* The fingerprint, and then some, or not all of it. */
    jose_fingerprint(house.rsa, kid);
    snprintf(raw, sizeof raw, "\"%s:\"", kid);
    assert_refused(token_with_header("kid", raw), "key is not trusted");
    snprintf(raw, sizeof raw, "\"%s\\u0000\"", kid);
    assert_refused(token_with_header("kid", raw),
                   "libjwt cannot parse the header: the character \\u0000");
    kid[strlen(kid) - 1] = '\0';
    snprintf(raw, sizeof raw, "\"%s\"", kid);
    assert_refused(token_with_header("kid", raw), "key is not trusted");
}

/* A trusted key, but not the one that the id names. */
static void test_key_id_of_another(void **state)
{
    (void)state;
    char *text = signed_by(house.p256, "ES256", header_with(house.p384, "ES256", NULL, NULL),
                           claims_with(NULL, NULL));
    assert_refused(text, "algorithm does not fit the key");
    text = signed_by(house.p256, "ES256", header_with(house.rsa, "RS256", NULL, NULL),
                     claims_with(NULL, NULL));
    assert_refused(text, "signature does not verify");
}

static void test_critical_extensions(void **state)
{
    (void)state;
    assert_refused(token_with_header("crit", "[\"exp\"]"), "critical header extensions");
    assert_refused(token_with_header("crit", "[]"), "critical header extensions");
    assert_good(token_with_header("x-other", "1"));
}

/* ---- shape ---- */

static void test_not_three_parts(void **state)
{
    static const char *const texts[] = {"",      ".",      "..",     "...",  "a",
                                        "a.b",   "a.b.",   "a..",    ".b.",  "a.b.c.d",
                                        "a.b..", "Bearer", "a.b.c.", "....", "a.b.c.d.e"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_refused(strdup(texts[i]), "not three parts");
    char *text = token_of(house.rsa, "RS256");
    size_t size = strlen(text) + 3;
    char *longer = malloc(size);
    assert_non_null(longer);
    snprintf(longer, size, "%s.x", text);
    free(text);
    assert_refused(longer, "not three parts");
}

static void test_not_base64url(void **state)
{
    (void)state;
    assert_refused(strdup("e30.e30.a+b="), "signature is not base64url");
    assert_refused(strdup("e30.e30.AAAAA"), "signature is not base64url");
    assert_refused(strdup("e3!.e30.AAAA"), "header is not a JSON object in base64url");
    assert_refused(strdup("e30=.e30.AAAA"), "header is not a JSON object in base64url");
    assert_refused(strdup(".e30.AAAA"), "header is not a JSON object in base64url");
    char *text = token_of(house.rsa, "RS256");
    strchr(text, '.')[1] = '+';
    assert_refused(text, "claims are not a JSON object in base64url");
}

static const struct {
    const char *text;
    size_t len;
} not_objects[] = {
#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    TEXT(""),
    TEXT("null"),
    TEXT("true"),
    TEXT("1"),
    TEXT("\"{}\""),
    TEXT("[]"),
    TEXT("[{}]"),
    TEXT("{"),
    TEXT("}"),
    TEXT("{}}"),
    TEXT("{}{}"),
    TEXT("{} x"),
    TEXT("{}\0"),
    TEXT("{\"a\":1,}"),
    TEXT("{a:1}"),
    TEXT("{\"a\":01}"),
    TEXT("{\"a\":/**/1}"),
    TEXT("{\"a\":\"\xFF\"}"),
    TEXT("{\"a\":\"b"),
    TEXT("\xEF\xBB\xBF{}"),
};

static void test_not_json_objects(void **state)
{
    (void)state;
    char *header = header_with(house.rsa, "RS256", NULL, NULL);
    char *claims = claims_with(NULL, NULL);
    for (size_t i = 0; i < COUNT(not_objects); i++) {
        assert_refused(jose_sign_bytes(house.rsa, EVP_sha256(), not_objects[i].text,
                                       not_objects[i].len, claims, strlen(claims)),
                       "header is not a JSON object in base64url");
        assert_refused(jose_sign_bytes(house.rsa, EVP_sha256(), header, strlen(header),
                                       not_objects[i].text, not_objects[i].len),
                       "claims are not a JSON object in base64url");
    }
    free(header);
    free(claims);
}

/* JSON that is refused for what it holds, though nobody reads that member. */
static void test_reasons_for_json(void **state)
{
    static const struct {
        const char *raw;
        const char *header;
        const char *claims;
    } cases[] = {
        {"1,\"x\":1", "header has a name twice", "claims have a name twice"},
        {"9223372036854775808", "libjwt cannot parse the header: a number beyond 64 bits",
         "libjwt cannot parse the claims: a number beyond 64 bits"},
        {"1e400", "libjwt cannot parse the header: a number beyond 64 bits",
         "libjwt cannot parse the claims: a number beyond 64 bits"},
        {"\"\\u0000\"", "libjwt cannot parse the header: the character \\u0000",
         "libjwt cannot parse the claims: the character \\u0000"},
        {"\"\\ud800\"", "libjwt cannot parse the header: half a surrogate pair",
         "libjwt cannot parse the claims: half a surrogate pair"},
        {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", "header is nested too deeply",
         "claims are nested too deeply"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_refused(token_with_header("x", cases[i].raw), cases[i].header);
        assert_refused(token_with_claim("x", cases[i].raw), cases[i].claims);
    }
    assert_refused(token_with_header("alg", "\"RS256\\u0000\""), cases[3].header);
    assert_refused(token_with_header("kid", "\"x\\u0000\""), cases[3].header);
    assert_refused(token_with_claim("iss", "\"gitlab-issuer\\u0000\""), cases[3].claims);
    assert_refused(token_with_claim("aud", "\"container_registry\\u0000x\""), cases[3].claims);
    assert_refused(token_with_claim("exp", "9223372036854775808"), cases[1].claims);
    assert_refused(token_with_claim("nbf", "-9223372036854775809"), cases[1].claims);
    assert_refused(token_with_claim("iat", "99999999999999999999999"), cases[1].claims);
    assert_good(token_with_header("x", "\"\\u00e9\\ud83d\\ude00\""));
    assert_good(token_with_claim("x", "[9223372036854775807,-9223372036854775808,1e308,\"\\n\"]"));
}

/* Almost JSON, which one parser or another lets pass. */
static void test_not_quite_json(void **state)
{
    static const char *const raw[] = {"NaN",  "Infinity",         "-Infinity",   "'a'", "1.",
                                      "-01",  "\"\xED\xA0\x80\"", "\"\t\"",      "01",  "+1",
                                      "True", "\"\\x41\"",        "\"\\ud800\"", ".5",  "1,"};
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++) {
        assert_refused(token_with_header("x", raw[i]), ANY_REASON);
        assert_refused(token_with_claim("x", raw[i]), ANY_REASON);
    }
}

static void test_zero_byte_in_the_text(void **state)
{
    struct token token;
    struct refusal refusal;
    char *text = token_of(house.rsa, "RS256");
    size_t len = strlen(text);
    (void)state;
    /* What follows the first `len` bytes is not looked at, and a zero within is seen. */
    assert_false(token_check(text, len + 1, house.keyring, &policy, NOW, &token, &refusal));
    assert_string_equal(refusal.reason, "signature is not base64url");
    assert_false(token_check(text, len - 1, house.keyring, &policy, NOW, &token, &refusal));
    assert_true(token_check(text, len, house.keyring, &policy, NOW, &token, &refusal));
    free(text);
}

/* ---- issuer and audience ---- */

static void test_issuer(void **state)
{
    static const char *const others[] = {
        "\"\"",
        "\"gitlab-issuer \"",
        "\"Gitlab-issuer\"",
        "\"gitlab-issue\"",
        "7",
        "null",
        "[\"gitlab-issuer\"]",
        "{}",
        NULL,
    };
    (void)state;
    for (size_t i = 0; i < COUNT(others); i++)
        assert_refused(token_with_claim("iss", others[i]), "another issuer");
}

static void test_audience(void **state)
{
    static const char *const good[] = {
        "\"container_registry\"",
        "[\"container_registry\"]",
        "[\"other\",\"container_registry\"]",
        "[\"container_registry\",\"other\",\"container_registry\"]",
        "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"container_registry\"]",
    };
    static const char *const bad[] = {
        NULL,
        "null",
        "7",
        "{}",
        "{\"container_registry\":true}",
        "\"\"",
        "\"container_registry \"",
        "\"Container_registry\"",
        "\"other,container_registry\"",
        "[]",
        "[\"other\"]",
        "[[\"container_registry\"]]",
        "[null]",
        /* a list of strings, says the claim's definition */
        "[\"container_registry\",7]",
        "[\"container_registry\",null]",
        /* one more than may be */
        "[\"container_registry\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\"]",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_good(token_with_claim("aud", good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_refused(token_with_claim("aud", bad[i]), "another audience");
}

/* ---- times ---- */

static void test_expiry(void **state)
{
    (void)state;
    assert_good_at(token_with_claim("exp", "1700000000"), 1700000000);
    assert_good_at(token_with_claim("exp", "1700000000"), 1700000000 + 60);
    assert_refused_at(token_with_claim("exp", "1700000000"), 1700000000 + 61, "expired");
    assert_refused(token_with_claim("exp", "0"), "expired");
    assert_refused(token_with_claim("exp", "-1"), "expired");
    assert_refused(token_with_claim("exp", "-9223372036854775807"), "expired");
    struct token token = assert_good(token_with_claim("exp", "9223372036854775807"));
    assert_int_equal(token.until, INT64_MAX);
}

static void test_expiry_that_is_none(void **state)
{
    static const char *const raw[] = {
        NULL,           "null", "\"1700000300\"",       "1700000300.0", "1.7e9", "true",
        "[1700000300]", "{}",   "-9223372036854775808",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++)
        assert_refused(token_with_claim("exp", raw[i]), "no integer exp");
}

static void test_not_before(void **state)
{
    (void)state;
    assert_good(token_with_claim("nbf", NULL));
    assert_good_at(token_with_claim("nbf", "1700000000"), 1700000000);
    assert_good_at(token_with_claim("nbf", "1700000000"), 1700000000 - 60);
    assert_refused_at(token_with_claim("nbf", "1700000000"), 1700000000 - 61, "not valid yet");
    assert_good(token_with_claim("nbf", "0"));
    assert_good(token_with_claim("nbf", "-9223372036854775807"));
    assert_refused(token_with_claim("nbf", "9223372036854775807"), "not valid yet");
}

static void test_not_before_that_is_none(void **state)
{
    static const char *const raw[] = {
        "null", "\"1\"", "1.0", "true", "[1]", "{}", "-9223372036854775808"};
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++)
        assert_refused(token_with_claim("nbf", raw[i]), "nbf is not an integer");
}

/* Nobody asks for it, so nothing that it may hold matters. */
static void test_issued_at_is_a_number_and_any(void **state)
{
    (void)state;
    assert_good(token_with_claim("iat", "9223372036854775807"));
    assert_good(token_with_claim("iat", "-1"));
    assert_refused(token_with_claim("iat", "\"yesterday\""), "iat is not an integer");
}

/* ---- access ---- */

#define OURS(actions)                                                                              \
    "{\"type\":\"registry\",\"name\":\"background-migrations\",\"actions\":" actions "}"

static void test_access(void **state)
{
    static const struct {
        const char *raw;
        unsigned granted;
    } cases[] = {
        {NULL, 0},
        {"null", 0},
        {"[]", 0},
        {"{}", 0},
        {"\"registry:background-migrations:*\"", 0},
        {OURS("[\"*\"]"), 0}, /* no list */
        {"[" OURS("[\"read\"]") "]", ACCESS_READ},
        {"[" OURS("[\"write\"]") "]", ACCESS_WRITE},
        {"[" OURS("[\"*\"]") "]", ACCESS_READ | ACCESS_WRITE},
        {"[" OURS("[\"read\",\"write\"]") "]", ACCESS_READ | ACCESS_WRITE},
        {"[" OURS("[\"read\",\"read\"]") "]", ACCESS_READ},
        /* several entries add up, in any order, with others between */
        {"[" OURS("[\"read\"]") "," OURS("[\"write\"]") "]", ACCESS_READ | ACCESS_WRITE},
        {"[null," OURS("[\"write\"]") ",null,{\"type\":\"repository\",\"name\":\"a/b\","
                                      "\"actions\":[\"pull\",\"*\"]}," OURS("[]") "]",
         ACCESS_WRITE},
        {"[1,\"x\",[],true," OURS("[\"read\"]") "]", ACCESS_READ},
        /* unknown actions, and what is none */
        {"[" OURS("[]") "]", 0},
        {"[" OURS("null") "]", 0},
        {"[" OURS("\"read\"") "]", 0},
        {"[" OURS("{\"read\":true}") "]", 0},
        {"[" OURS("[\"Read\",\"reads\",\"rea\",\"\",\" read\",\"**\",\"admin\"]") "]", 0},
        {"[" OURS("[null,7,[\"read\"],{\"*\":1}]") "]", 0},
        {"[" OURS("[\"delete\",null,\"write\"]") "]", ACCESS_WRITE},
        /* other resources */
        {"[{\"type\":\"repository\",\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"catalog\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"Background-Migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"Registry\",\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"*\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"background-migrations/x\",\"actions\":[\"*\"]}]", 0},
        {"[{\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"actions\":[\"*\"]}]", 0},
        {"[{\"type\":\"registry\",\"name\":\"background-migrations\"}]", 0},
        {"[{\"type\":[\"registry\"],\"name\":\"background-migrations\",\"actions\":[\"*\"]}]", 0},
        {"[[" OURS("[\"*\"]") "]]", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct token token;
        struct refusal refusal;
        char *text = token_with_claim("access", cases[i].raw);
        if (!check(text, NOW, &token, &refusal))
            fail_msg("refused: %s: %s", refusal.reason, cases[i].raw);
        if (token.granted != cases[i].granted)
            fail_msg("%s grants %u", cases[i].raw ? cases[i].raw : "nothing", token.granted);
        free(text);
    }
}

/* ---- names for the log ---- */

static void test_subject_and_id(void **state)
{
    char longest[300];
    char raw[310];
    struct token token;
    (void)state;
    token = assert_good(token_with_claim("sub", NULL));
    assert_string_equal(token.subject, "");
    assert_string_equal(token.id, "5e8f");
    assert_refused(token_with_claim("sub", "7"), "sub or jti is not a string");
    assert_refused(token_with_claim("jti", "[]"), "sub or jti is not a string");
    token = assert_good(token_with_claim("sub", "null"));
    assert_string_equal(token.subject, "");
    token = assert_good(token_with_claim("jti", NULL));
    assert_string_equal(token.id, "");
    token = assert_good(token_with_claim("sub", "\"J\xC3\xB6rg \\\"J\\\" <j>\""));
    assert_string_equal(token.subject, "J\xC3\xB6rg \"J\" <j>");
    token = assert_good(token_with_claim("sub", "\"J\\u00f6rg\\ud83d\\ude00\""));
    assert_string_equal(token.subject, "J\xC3\xB6rg\xF0\x9F\x98\x80");

    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    snprintf(raw, sizeof raw, "\"%s\"", longest);
    token = assert_good(token_with_claim("sub", raw));
    assert_int_equal(strlen(token.subject), sizeof token.subject - 1);
    token = assert_good(token_with_claim("jti", raw));
    assert_int_equal(strlen(token.id), sizeof token.id - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_algorithm),
        cmocka_unit_test(test_algorithm_fits_the_key),
        cmocka_unit_test(test_other_curves),
        cmocka_unit_test(test_other_algorithms),
        cmocka_unit_test(test_hmac_with_the_public_key),
        cmocka_unit_test(test_two_algorithms),
        cmocka_unit_test(test_none_without_signature),
        cmocka_unit_test(test_signature_of_another_digest),
        cmocka_unit_test(test_signature_of_another_key),
        cmocka_unit_test(test_tampered_claims),
        cmocka_unit_test(test_tampered_signature),
        cmocka_unit_test(test_one_spelling),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_signatures_of_other_sizes),
        cmocka_unit_test(test_signature_in_der),
        cmocka_unit_test(test_key_ids),
        cmocka_unit_test(test_key_id_of_another),
        cmocka_unit_test(test_critical_extensions),
        cmocka_unit_test(test_not_three_parts),
        cmocka_unit_test(test_not_base64url),
        cmocka_unit_test(test_not_json_objects),
        cmocka_unit_test(test_reasons_for_json),
        cmocka_unit_test(test_not_quite_json),
        cmocka_unit_test(test_zero_byte_in_the_text),
        cmocka_unit_test(test_issuer),
        cmocka_unit_test(test_audience),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_expiry_that_is_none),
        cmocka_unit_test(test_not_before),
        cmocka_unit_test(test_not_before_that_is_none),
        cmocka_unit_test(test_issued_at_is_a_number_and_any),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_subject_and_id),
    };
    return cmocka_run_group_tests(tests, house_build, house_remove);
}
