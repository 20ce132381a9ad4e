/* SPDX-License-Identifier: MIT
 * The list of all migrations, and one (api/list.c): which body is served, and when it is made
 * again. */
#include "fake_time.h"
#include "handlers.h"

#include "api/list.h"
#include "base/etag.h"
#include "store/history.h"

/* What the store answers, and how often it was asked. */
static struct {
    struct migration rows[3];
    size_t count;
    struct list_version *version; /* of the rows; NULL: not known */
    bool unchanged;               /* since `known` */
    bool fails;
    bool digest_fails;
    bool pauses_fail;
    bool no_memory;                   /* to keep a body */
    const struct list_version *known; /* as the last list was asked with */
    int64_t id;                       /* 0: all; of the last call, as the next one */
    int64_t deadline;
    unsigned char digest;
    int lists;
    int reads;
    int pauses;
    int open;     /* results that are not freed */
    int versions; /* that are not freed */
} store;

static char version_1;
static char version_2;

#define VERSION(which) ((struct list_version *)(uintptr_t)&version_##which)

bool __wrap_store_list(struct store *of, const struct list_version *known, int64_t deadline,
                       struct migrations *migrations, bool *unchanged, struct error *error);
bool __wrap_store_migrations(struct store *of, const int64_t *id, int64_t deadline,
                             struct migrations *migrations, struct error *error);
void __wrap_store_migrations_free(struct migrations *migrations);
bool __wrap_history_add_pauses(struct store *of, const int64_t *id, int64_t deadline,
                               struct migrations *migrations, struct error *error);
bool __wrap_store_migrations_digest(const struct migrations *migrations,
                                    const struct digest_key *key, unsigned char *digest);
void __wrap_list_version_free(struct list_version *version);
struct cached_body *__real_list_cache_keep(struct list_cache *cache, const unsigned char *digest,
                                           const char *text, size_t len, int64_t expires,
                                           struct list_version *version);
struct cached_body *__wrap_list_cache_keep(struct list_cache *cache, const unsigned char *digest,
                                           const char *text, size_t len, int64_t expires,
                                           struct list_version *version);

static bool answer(struct migrations *migrations, struct error *error)
{
    *migrations = (struct migrations){.rows = store.rows, .count = store.count};
    store.open++;
    return !store.fails || error_unavailable(error, "no database in this test");
}

bool __wrap_store_list(struct store *of, const struct list_version *known, int64_t deadline,
                       struct migrations *migrations, bool *unchanged, struct error *error)
{
    assert_ptr_equal(of, STORE);
    store.lists++;
    store.known = known;
    store.deadline = deadline;
    *unchanged = store.unchanged && !store.fails;
    if (!answer(migrations, error))
        return false;
    if (*unchanged) {
        migrations->count = 0;
        return true;
    }
    migrations->version = store.version;
    store.versions += store.version != NULL;
    return true;
}

bool __wrap_store_migrations(struct store *of, const int64_t *id, int64_t deadline,
                             struct migrations *migrations, struct error *error)
{
    assert_ptr_equal(of, STORE);
    store.reads++;
    store.id = id ? *id : 0;
    store.deadline = deadline;
    return answer(migrations, error);
}

void __wrap_store_migrations_free(struct migrations *migrations)
{
    if (migrations->version)
        __wrap_list_version_free(migrations->version);
    store.open--;
}

bool __wrap_history_add_pauses(struct store *of, const int64_t *id, int64_t deadline,
                               struct migrations *migrations, struct error *error)
{
    assert_ptr_equal(of, STORE);
    assert_int_equal(deadline, DEADLINE);
    store.pauses++;
    store.id = id ? *id : 0;
    for (size_t i = 0; i < migrations->count; i++)
        migrations->rows[i].paused_by = TEXT("alice");
    return !store.pauses_fail || error_unavailable(error, "no history in this test");
}

bool __wrap_store_migrations_digest(const struct migrations *migrations,
                                    const struct digest_key *key, unsigned char *digest)
{
    assert_non_null(migrations->rows);
    assert_ptr_equal(key, list_cache_key(call.list_cache));
    memset(digest, store.digest, DIGEST_SIZE);
    return !store.digest_fails;
}

void __wrap_list_version_free(struct list_version *version)
{
    store.versions -= version != NULL;
}

struct cached_body *__wrap_list_cache_keep(struct list_cache *cache, const unsigned char *digest,
                                           const char *text, size_t len, int64_t expires,
                                           struct list_version *version)
{
    if (!store.no_memory)
        return __real_list_cache_keep(cache, digest, text, len, expires, version);
    __wrap_list_version_free(version);
    return NULL;
}

static int setup(void **state)
{
    memset(&store, 0, sizeof store);
    store.rows[0] = (struct migration){.id = 1, .status = MIGRATION_PAUSED};
    store.rows[1] = (struct migration){.id = 2, .status = MIGRATION_RUNNING};
    store.rows[2] = (struct migration){.id = 3, .status = 99};
    store.count = 3;
    handlers_setup(state);
    call.list_cache = list_cache_new();
    assert_non_null(call.list_cache);
    return 0;
}

static int teardown(void **state)
{
    handlers_clear();
    list_cache_free(call.list_cache);
    assert_int_equal(store.open, 0);
    assert_int_equal(store.versions, 0);
    return handlers_teardown(state);
}

/* The ids in a list's body. */
static void assert_ids(const char *text, size_t len, const char *expected)
{
    char ids[64] = "";
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *body = json_tokener_parse_ex(tokener, text, (int)len);
    struct json_object *list = json_object_object_get(body, "migrations");
    assert_non_null(list);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *migration = json_object_array_get_idx(list, i);
        size_t used = strlen(ids);
        snprintf(ids + used, sizeof ids - used, "%s ",
                 json_object_get_string(json_object_object_get(migration, "id")));
    }
    assert_string_equal(ids, expected);
    json_object_put(body);
    json_tokener_free(tokener);
}

/* The answer to the next request for all; freed by the next one. */
static const char *list(void)
{
    size_t len;
    handlers_clear();
    assert_true(list_all(&call));
    assert_non_null(call.cached_body);
    assert_ptr_equal(call.etag, cached_body_etag(call.cached_body));
    return cached_body_text(call.cached_body, &len);
}

/* ---- the whole list ---- */

static void test_first_list(void **state)
{
    size_t len;
    (void)state;
    store.version = VERSION(1);
    list();
    const char *text = cached_body_text(call.cached_body, &len);
    assert_ids(text, len, "1 2 3 ");
    assert_non_null(memmem(text, len, "\"paused_by\":\"alice\"", 19));
    assert_null(store.known);
    assert_int_equal(store.deadline, DEADLINE);
    assert_ptr_equal(cached_body_version(call.cached_body), VERSION(1));
}

/* Nothing is read of the rows, and nothing is made. */
static void test_unchanged(void **state)
{
    (void)state;
    store.version = VERSION(1);
    const char *first = list();
    store.unchanged = true;
    store.digest = 1; /* of no rows */
    assert_ptr_equal(list(), first);
    assert_ptr_equal(store.known, VERSION(1));
    assert_int_equal(store.pauses, 1);
    handlers_clear();
    assert_int_equal(store.versions, 1); /* the cache still has it */
}

static void test_same_rows_without_a_version(void **state)
{
    (void)state;
    const char *first = list();
    assert_ptr_equal(list(), first);
    assert_int_equal(store.lists, 2);
    assert_int_equal(store.pauses, 1);
}

/* The rows are the same again, and so is the body, which then has the new version. */
static void test_same_rows_with_a_new_version(void **state)
{
    size_t first_len;
    (void)state;
    store.version = VERSION(1);
    list();
    struct cached_body *first = cached_body_hold(call.cached_body);
    const char *first_text = cached_body_text(first, &first_len);
    int64_t expires = cached_body_expires(call.cached_body);
    fake_time_pass(1000);
    store.version = VERSION(2);
    size_t len;
    list();
    const char *text = cached_body_text(call.cached_body, &len);
    assert_int_equal(len, first_len);
    assert_memory_equal(text, first_text, len);
    assert_ptr_equal(cached_body_version(call.cached_body), VERSION(2));
    assert_int_equal(store.pauses, 1);
    /* A body that is kept again expires when it would have expired before: the history may have
     * changed since it was made. */
    assert_int_equal(cached_body_expires(call.cached_body), expires);
    list();
    assert_ptr_equal(store.known, VERSION(2));
    cached_body_drop(first);
}

/* Without memory for the new version, the body is still served. */
static void test_no_memory_for_a_new_version(void **state)
{
    (void)state;
    store.version = VERSION(1);
    const char *first = list();
    store.version = VERSION(2);
    store.no_memory = true;
    assert_ptr_equal(list(), first);
    assert_ptr_equal(cached_body_version(call.cached_body), VERSION(1));
}

static void test_changed_rows(void **state)
{
    size_t len;
    (void)state;
    list();
    store.digest = 1;
    store.count = 1;
    list();
    const char *text = cached_body_text(call.cached_body, &len);
    assert_ids(text, len, "1 ");
    assert_int_equal(store.pauses, 2);
}

/* Who paused a migration may change without a change of any row. */
static void test_body_expires(void **state)
{
    (void)state;
    store.version = VERSION(1);
    store.unchanged = false;
    list();
    fake_time_pass(6000);
    list();
    assert_null(store.known);
    assert_int_equal(store.pauses, 2);
}

static void test_no_migrations(void **state)
{
    size_t len;
    (void)state;
    store.count = 0;
    list();
    const char *text = cached_body_text(call.cached_body, &len);
    assert_memory_equal(text, "{\"migrations\":[],\"job_in_flight\":false}", len);
}

/* ---- failures ---- */

static void assert_fails(handler *handle)
{
    handlers_clear();
    assert_false(handle(&call));
    assert_int_equal(call.error.status, 503);
    assert_null(call.body);
    assert_null(call.cached_body);
}

static void test_store_fails(void **state)
{
    (void)state;
    list();
    store.fails = true;
    assert_fails(list_all);
    assert_fails(list_one);
    call.params.states = 1U << MIGRATION_PAUSED;
    assert_fails(list_all);
}

/* A list without its pauses would be cached and served as if nobody had paused. */
static void test_pauses_fail(void **state)
{
    (void)state;
    store.pauses_fail = true;
    assert_fails(list_all);
    assert_null(list_cache_last(call.list_cache));
    assert_fails(list_one);
    call.params.states = 1U << MIGRATION_PAUSED;
    assert_fails(list_all);
}

static void test_digest_fails(void **state)
{
    (void)state;
    store.version = VERSION(1);
    store.digest_fails = true;
    assert_fails(list_all);
}

/* ---- some states ---- */

static void assert_states(unsigned states, const char *expected)
{
    handlers_clear();
    call.params.states = states;
    assert_true(list_all(&call));
    assert_null(list_cache_last(call.list_cache)); /* part of the list serves nobody else */
    size_t len;
    const char *text = cached_body_text(call.cached_body, &len);
    assert_ids(text, len, expected);
    char etag[ETAG_SIZE];
    etag_of(text, len, etag);
    assert_string_equal(call.etag, etag);
}

/* A state that is unknown to us is none of those that a client can ask for. */
static void test_states(void **state)
{
    (void)state;
    assert_states(1U << MIGRATION_PAUSED, "1 ");
    assert_states(1U << MIGRATION_PAUSED | 1U << MIGRATION_RUNNING, "1 2 ");
    assert_states(1U << MIGRATION_FAILED, "");
    assert_states(0x1F, "1 2 ");
    assert_int_equal(store.lists, 0);
    assert_null(list_cache_last(call.list_cache));
}

/* Numbers that shift beyond the bits, or wrap around to one that was asked for. */
static void test_hostile_states(void **state)
{
    static const int64_t numbers[] = {-1, 5, 32, 33, 64, INT64_MIN, INT64_MAX};
    (void)state;
    store.count = 1;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        store.rows[0].status = numbers[i];
        assert_states(0x1F, "");
    }
}

/* ---- one ---- */

static void test_one(void **state)
{
    (void)state;
    store.count = 1;
    call.id = 1;
    assert_true(list_one(&call));
    assert_int_equal(store.id, 1);
    assert_int_equal(store.deadline, DEADLINE);
    assert_int_equal(store.pauses, 1);
    size_t len;
    const char *text = cached_body_text(call.cached_body, &len);
    struct json_tokener *parser = json_tokener_new();
    struct json_object *body = json_tokener_parse_ex(parser, text, (int)len);
    json_tokener_free(parser);
    struct json_object *migration = json_object_object_get(body, "migration");
    assert_int_equal(json_object_get_int64(json_object_object_get(migration, "id")), 1);
    assert_non_null(json_object_object_get(body, "job_in_flight"));
    assert_ptr_equal(call.etag, cached_body_etag(call.cached_body));
    json_object_put(body);
}

static void test_one_that_is_not_there(void **state)
{
    (void)state;
    store.count = 0;
    call.id = 9;
    assert_false(list_one(&call));
    assert_int_equal(call.error.status, 404);
    assert_int_equal(store.pauses, 0);
    assert_null(call.etag);
}

#define LIST_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIST_TEST(test_first_list),
        LIST_TEST(test_unchanged),
        LIST_TEST(test_same_rows_without_a_version),
        LIST_TEST(test_same_rows_with_a_new_version),
        LIST_TEST(test_no_memory_for_a_new_version),
        LIST_TEST(test_changed_rows),
        LIST_TEST(test_body_expires),
        LIST_TEST(test_no_migrations),
        LIST_TEST(test_store_fails),
        LIST_TEST(test_pauses_fail),
        LIST_TEST(test_digest_fails),
        LIST_TEST(test_states),
        LIST_TEST(test_hostile_states),
        LIST_TEST(test_one),
        LIST_TEST(test_one_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
