/* SPDX-License-Identifier: MIT
 * list_cache: a body is served for its digest, until it expires, and for no other. */
#include "base/clock.h"
#include "http/list_cache.h"

#include "unit.h"

static const unsigned char first[DIGEST_SIZE] = {1, [15] = 1};
static const unsigned char second[DIGEST_SIZE] = {1, [15] = 2};

static void assert_found(struct list_cache *cache, const unsigned char *digest, const char *text)
{
    size_t len = 0;
    struct cached_body *found = list_cache_find(cache, digest);
    assert_int_equal(found != NULL, text != NULL);
    if (found) {
        assert_memory_equal(cached_body_text(found, &len), text, strlen(text));
        assert_int_equal(len, strlen(text));
    }
    cached_body_drop(found);
}

static void keep(struct list_cache *cache, const unsigned char *digest, const char *text,
                 int64_t expires)
{
    struct cached_body *kept = list_cache_keep(cache, digest, text, strlen(text), expires, NULL);
    assert_non_null(kept);
    cached_body_drop(kept);
}

static void test_body_of_its_digest(void **state)
{
    struct list_cache *cache = list_cache_new();
    (void)state;
    assert_found(cache, first, NULL);
    keep(cache, first, "one", 0);
    assert_found(cache, first, "one");
    assert_found(cache, second, NULL);
    keep(cache, second, "other", 0);
    assert_found(cache, second, "other");
    assert_found(cache, first, NULL);
    list_cache_free(cache);
}

static void test_expiry(void **state)
{
    struct list_cache *cache = list_cache_new();
    (void)state;
    keep(cache, first, "later", clock_ms() + 3600 * 1000);
    assert_found(cache, first, "later");
    struct cached_body *last = list_cache_last(cache);
    assert_non_null(last);
    cached_body_drop(last);
    keep(cache, first, "now", clock_ms());
    assert_found(cache, first, NULL);
    assert_null(list_cache_last(cache));
    list_cache_free(cache);
}

/* A holder keeps its body, whatever comes after. */
static void test_held(void **state)
{
    struct list_cache *cache = list_cache_new();
    size_t len;
    (void)state;
    struct cached_body *held = list_cache_keep(cache, first, "first", 5, 0, NULL);
    keep(cache, first, "second", 0);
    list_cache_free(cache);
    assert_memory_equal(cached_body_text(held, &len), "first", 5);
    cached_body_drop(held);
}

static void test_entity_tag(void **state)
{
    struct list_cache *cache = list_cache_new();
    (void)state;
    struct cached_body *one = list_cache_keep(cache, first, "one", 3, 0, NULL);
    struct cached_body *other = list_cache_keep(cache, first, "other", 5, 0, NULL);
    assert_string_not_equal(cached_body_etag(one), cached_body_etag(other));
    cached_body_drop(one);
    cached_body_drop(other);
    list_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_of_its_digest),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_entity_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
