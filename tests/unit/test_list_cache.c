/* SPDX-License-Identifier: MIT
 * rendered: a text is used again for the very same rows, and for no others. */
#include "api/list_cache.h"
#include "base/clock.h"

#include "unit.h"

#define TEXT(s) ((struct str_view){(s), sizeof(s) - 1})
#define SOME(v) ((struct opt_int64){true, (v)})

/* What would come from the database, each time in memory of its own. */
static struct migrations rows_of(const struct migration *migrations, size_t count)
{
    struct migrations rows = {.rows = calloc(count + 1, sizeof *rows.rows), .count = count};
    assert_non_null(rows.rows);
    memcpy(rows.rows, migrations, count * sizeof *migrations);
    return rows;
}

static const struct migration usual = {
    .id = 1,
    .name = {"name", 4},
    .status = MIGRATION_ACTIVE,
    .job_signature_name = {"signature", 9},
    .table_name = {"table", 5},
    .column_name = {"column", 6},
    .batch_size = 2,
    .sub_batch_size = {true, 3},
    .min_value = 4,
    .max_value = 5,
    .batching_strategy = {"strategy", 8},
    .total_tuple_count = {true, 6},
    .failure_error_code = {true, 7},
    .created_at = {true, 8},
    .updated_at = {true, 9},
    .started_at = {true, 10},
    .finished_at = {true, 11},
    .finished_jobs = 12,
    .failed_jobs = 13,
    .pace = {true, 14},
};

static void assert_found(struct list_cache *list_cache, const struct migration *rows, size_t count,
                         const char *text)
{
    size_t len = 0;
    struct migrations asked = rows_of(rows, count);
    struct cached_body *found = list_cache_find(list_cache, &asked);
    if (text) {
        assert_non_null(found);
        assert_memory_equal(cached_body_text(found, &len), text, strlen(text));
        assert_int_equal(len, strlen(text));
    } else {
        assert_null(found);
    }
    cached_body_drop(found);
    store_migrations_free(&asked);
}

static void keep(struct list_cache *list_cache, const struct migration *rows, size_t count,
                 const char *text)
{
    struct migrations taken = rows_of(rows, count);
    struct cached_body *kept = list_cache_keep(list_cache, &taken, text, strlen(text), 0);
    assert_non_null(kept);
    assert_null(taken.rows);
    cached_body_drop(kept);
}

static void test_same_rows(void **state)
{
    struct list_cache *list_cache = list_cache_new();
    struct migration other = usual;
    char name[] = "name";
    (void)state;
    assert_found(list_cache, &usual, 1, NULL);
    keep(list_cache, &usual, 1, "first");
    other.name.at = name; /* the same bytes elsewhere */
    assert_found(list_cache, &other, 1, "first");
    keep(list_cache, &usual, 0, "none");
    assert_found(list_cache, &usual, 0, "none");
    assert_found(list_cache, &usual, 1, NULL);
    list_cache_free(list_cache);
}

/* One value differs, whichever it is. */
static void test_other_rows(void **state)
{
    struct list_cache *list_cache = list_cache_new();
    (void)state;
    keep(list_cache, &usual, 1, "usual");
#define DIFFERS(member, value)                                                                     \
    do {                                                                                           \
        struct migration other = usual;                                                            \
        other.member = value;                                                                      \
        assert_found(list_cache, &other, 1, NULL);                                                 \
    } while (0)
    DIFFERS(id, 99);
    DIFFERS(name, TEXT("eman"));
    DIFFERS(name, TEXT("names"));
    DIFFERS(status, MIGRATION_RUNNING);
    DIFFERS(job_signature_name, TEXT("signatur3"));
    DIFFERS(table_name, TEXT("tabl3"));
    DIFFERS(column_name, TEXT("c"));
    DIFFERS(batch_size, 99);
    DIFFERS(sub_batch_size, SOME(99));
    DIFFERS(sub_batch_size, (struct opt_int64){0});
    DIFFERS(min_value, 99);
    DIFFERS(max_value, 99);
    DIFFERS(batching_strategy, ((struct str_view){0}));
    DIFFERS(total_tuple_count, SOME(99));
    DIFFERS(failure_error_code, ((struct opt_int64){0}));
    DIFFERS(created_at, SOME(99));
    DIFFERS(updated_at, SOME(99));
    DIFFERS(started_at, SOME(99));
    DIFFERS(finished_at, SOME(99));
    DIFFERS(finished_jobs, 99);
    DIFFERS(failed_jobs, 99);
    DIFFERS(pace, SOME(99));
    assert_found(list_cache, &usual, 1, "usual");
    const struct migration two[] = {usual, usual};
    assert_found(list_cache, two, 2, NULL);
    list_cache_free(list_cache);
}

static void test_expiry(void **state)
{
    struct list_cache *list_cache = list_cache_new();
    struct migrations rows = rows_of(&usual, 1);
    (void)state;
    cached_body_drop(list_cache_keep(list_cache, &rows, "later", 5, clock_ms() + 3600 * 1000));
    assert_found(list_cache, &usual, 1, "later");
    rows = rows_of(&usual, 1);
    cached_body_drop(list_cache_keep(list_cache, &rows, "now", 3, clock_ms()));
    assert_found(list_cache, &usual, 1, NULL);
    list_cache_free(list_cache);
}

/* One who holds a rendering keeps it, whatever comes after. */
static void test_held(void **state)
{
    struct list_cache *list_cache = list_cache_new();
    size_t len;
    (void)state;
    struct migrations taken = rows_of(&usual, 1);
    struct cached_body *held = list_cache_keep(list_cache, &taken, "first", 5, 0);
    keep(list_cache, &usual, 1, "second");
    list_cache_free(list_cache);
    assert_memory_equal(cached_body_text(held, &len), "first", 5);
    cached_body_drop(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_rows),
        cmocka_unit_test(test_other_rows),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
