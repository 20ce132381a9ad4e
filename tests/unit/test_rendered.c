/* SPDX-License-Identifier: MIT
 * rendered: a text is used again for the very same rows, and for no others. */
#include "rendered.h"

#include "unit.h"

#define TEXT(s) ((struct span){(s), sizeof(s) - 1})
#define SOME(v) ((struct maybe){true, (v)})

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

static void assert_found(struct rendered *rendered, const struct migration *rows, size_t count,
                         const char *text)
{
    size_t len = 0;
    struct migrations asked = rows_of(rows, count);
    struct rendering *found = rendered_find(rendered, &asked);
    if (text) {
        assert_non_null(found);
        assert_memory_equal(rendering_text(found, &len), text, strlen(text));
        assert_int_equal(len, strlen(text));
    } else {
        assert_null(found);
    }
    rendering_drop(found);
    store_migrations_free(&asked);
}

static void keep(struct rendered *rendered, const struct migration *rows, size_t count,
                 const char *text)
{
    struct migrations taken = rows_of(rows, count);
    struct rendering *kept = rendered_keep(rendered, &taken, text, strlen(text));
    assert_non_null(kept);
    assert_null(taken.rows);
    rendering_drop(kept);
}

static void test_same_rows(void **state)
{
    struct rendered *rendered = rendered_new();
    struct migration other = usual;
    char name[] = "name";
    (void)state;
    assert_found(rendered, &usual, 1, NULL);
    keep(rendered, &usual, 1, "first");
    other.name.at = name; /* the same bytes elsewhere */
    assert_found(rendered, &other, 1, "first");
    keep(rendered, &usual, 0, "none");
    assert_found(rendered, &usual, 0, "none");
    assert_found(rendered, &usual, 1, NULL);
    rendered_free(rendered);
}

/* One value differs, whichever it is. */
static void test_other_rows(void **state)
{
    struct rendered *rendered = rendered_new();
    (void)state;
    keep(rendered, &usual, 1, "usual");
#define DIFFERS(member, value)                                                                     \
    do {                                                                                           \
        struct migration other = usual;                                                            \
        other.member = value;                                                                      \
        assert_found(rendered, &other, 1, NULL);                                                   \
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
    DIFFERS(sub_batch_size, (struct maybe){0});
    DIFFERS(min_value, 99);
    DIFFERS(max_value, 99);
    DIFFERS(batching_strategy, ((struct span){0}));
    DIFFERS(total_tuple_count, SOME(99));
    DIFFERS(failure_error_code, ((struct maybe){0}));
    DIFFERS(created_at, SOME(99));
    DIFFERS(updated_at, SOME(99));
    DIFFERS(started_at, SOME(99));
    DIFFERS(finished_at, SOME(99));
    DIFFERS(finished_jobs, 99);
    DIFFERS(failed_jobs, 99);
    DIFFERS(pace, SOME(99));
    assert_found(rendered, &usual, 1, "usual");
    const struct migration two[] = {usual, usual};
    assert_found(rendered, two, 2, NULL);
    rendered_free(rendered);
}

/* One who holds a rendering keeps it, whatever comes after. */
static void test_held(void **state)
{
    struct rendered *rendered = rendered_new();
    size_t len;
    (void)state;
    struct migrations taken = rows_of(&usual, 1);
    struct rendering *held = rendered_keep(rendered, &taken, "first", 5);
    keep(rendered, &usual, 1, "second");
    rendered_free(rendered);
    assert_memory_equal(rendering_text(held, &len), "first", 5);
    rendering_drop(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_rows),
        cmocka_unit_test(test_other_rows),
        cmocka_unit_test(test_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
