/* SPDX-License-Identifier: MIT
 * migration_rows: results made by hand, of migrations and jobs; and their digest. */
#include "store/job_status.h"
#include "store/migration_rows.h"

#include "unit.h"

/* A bigint in network byte order. */
struct bigint {
    char bytes[8];
};

static struct bigint bigint(int64_t value)
{
    struct bigint big;
    for (int i = 0; i < 8; i++)
        big.bytes[i] = (char)((uint64_t)value >> (56 - 8 * i));
    return big;
}

static void set(PGresult *result, int row, int column, const char *value, int len)
{
    char *copy = len >= 0 ? malloc((size_t)len + 1) : NULL; /* libpq takes no const */
    if (copy)
        memcpy(copy, value, (size_t)len);
    assert_true(PQsetvalue(result, row, column, copy, len));
    free(copy);
}

static void set_integer(PGresult *result, int row, int column, int64_t value)
{
    set(result, row, column, bigint(value).bytes, 8);
}

/* An empty result with these columns. */
static PGresult *result_of(const char *const *names, int count)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[32] = {0};
    assert_non_null(result);
    for (int i = 0; i < count; i++)
        columns[i] = (PGresAttDesc){.name = (char *)names[i], .format = 1};
    assert_true(PQsetResultAttrs(result, count, columns));
    return result;
}

/* One migration as a registry of 2026 has it, with a last column that says that all is as it was.
 */
static const char *const names[] = {"id",
                                    "name",
                                    "created_at",
                                    "updated_at",
                                    "min_value",
                                    "max_value",
                                    "batch_size",
                                    "status",
                                    "job_signature_name",
                                    "table_name",
                                    "column_name",
                                    "started_at",
                                    "finished_at",
                                    "failure_error_code",
                                    "batching_strategy",
                                    "total_tuple_count",
                                    "sub_batch_size",
                                    "a_new_column",
                                    "jobs_unchanged"};
#define COLUMNS ((int)(sizeof names / sizeof names[0]))

static PGresult *one_migration(void)
{
    PGresult *result = result_of(names, COLUMNS);
    for (int column = 0; column < COLUMNS; column++)
        set_integer(result, 0, column, column + 1);
    return result;
}

static struct listing read_rows(PGresult *result, int extra)
{
    struct listing listing;
    struct error error = {0};
    assert_true(listing_read(result, extra, extra == 4, &listing, &error));
    return listing;
}

static void digest_listing(const struct digest_key *key, struct listing *listing,
                           unsigned char digest[DIGEST_SIZE])
{
    assert_true(store_migrations_digest(&listing->migrations, key, digest));
}

static void test_columns_by_name(void **state)
{
    struct listing listing = read_rows(one_migration(), 1);
    const struct migration *m = &listing.migrations.rows[0];
    (void)state;
    assert_int_equal(listing.migrations.count, 1);
    assert_int_equal(listing.job_count, 0);
    assert_int_equal(m->id, 1);
    assert_int_equal(m->name.len, 8);
    assert_int_equal(m->min_value, 5);
    assert_int_equal(m->status, 8);
    assert_int_equal(m->sub_batch_size.value, 17);
    listing_free(&listing);
}

/* The registry may give its table columns with the names that the statement uses. */
static void test_columns_of_the_same_name(void **state)
{
    static const char *const both[] = {"id",         "job_id",        "job_status",
                                       "status",     "job_id",        "job_migration_id",
                                       "job_status", "job_created_at"};
    PGresult *result = result_of(both, 8);
    (void)state;
    for (int column = 0; column < 8; column++)
        set(result, 0, column, NULL, -1);
    set_integer(result, 0, 0, 7);
    set_integer(result, 0, 1, 70);
    set_integer(result, 0, 3, 4);
    for (int column = 0; column < 4; column++)
        set(result, 1, column, NULL, -1);
    set_integer(result, 1, 4, 55);
    set_integer(result, 1, 5, 7);
    set_integer(result, 1, 6, JOB_FAILED);
    set_integer(result, 1, 7, 0);
    struct listing listing = read_rows(result, 4);
    assert_int_equal(listing.migrations.count, 1);
    assert_int_equal(listing.migrations.rows[0].id, 7);
    assert_int_equal(listing.job_count, 1);
    assert_int_equal(listing.jobs[0].id, 55);
    assert_int_equal(listing.jobs[0].migration_id, 7);
    assert_int_equal(listing.jobs[0].status, JOB_FAILED);
    listing_free(&listing);
}

static void test_jobs_are_sorted_and_each_comes_once(void **state)
{
    static const char *const few[] = {"id", "job_id", "job_migration_id", "job_status",
                                      "job_created_at"};
    static const int64_t ids[] = {9, 3, 9, 5};
    PGresult *result = result_of(few, 5);
    (void)state;
    for (int row = 0; row < 4; row++) {
        set(result, row, 0, NULL, -1);
        set_integer(result, row, 1, ids[row]);
        for (int column = 2; column < 5; column++)
            set_integer(result, row, column, 2);
    }
    struct listing listing = read_rows(result, 4);
    assert_int_equal(listing.job_count, 3);
    assert_int_equal(listing.jobs[0].id, 3);
    assert_int_equal(listing.jobs[1].id, 5);
    assert_int_equal(listing.jobs[2].id, 9);
    listing_free(&listing);
}

/* Any value, or NULL in its place, and any name of a column makes another digest. */
static void test_digest_changes_with_each_column(void **state)
{
    struct digest_key *key = digest_key_new();
    unsigned char usual[DIGEST_SIZE];
    unsigned char other[DIGEST_SIZE];
    (void)state;
    struct listing listing = read_rows(one_migration(), 1);
    digest_listing(key, &listing, usual);
    listing_free(&listing);
    listing = read_rows(one_migration(), 1);
    digest_listing(key, &listing, other);
    assert_memory_equal(usual, other, DIGEST_SIZE);
    listing_free(&listing);
    for (int column = 0; column < COLUMNS - 1; column++) {
        for (int len = column == 0 ? 0 : -1; len <= 0; len++) {
            PGresult *result = one_migration();
            if (len == 0)
                set_integer(result, 0, column, 99);
            else
                set(result, 0, column, NULL, -1);
            listing = read_rows(result, 1);
            digest_listing(key, &listing, other);
            assert_memory_not_equal(usual, other, DIGEST_SIZE);
            listing_free(&listing);
        }
    }
    digest_key_free(key);
}

/* What the statement adds is no part of the rows; the counts of jobs are. */
static void test_digest_of_counts(void **state)
{
    struct digest_key *key = digest_key_new();
    unsigned char usual[DIGEST_SIZE];
    unsigned char other[DIGEST_SIZE];
    PGresult *result = one_migration();
    (void)state;
    struct listing listing = read_rows(one_migration(), 1);
    digest_listing(key, &listing, usual);
    set_integer(result, 0, COLUMNS - 1, 0);
    struct listing flag = read_rows(result, 1);
    digest_listing(key, &flag, other);
    assert_memory_equal(usual, other, DIGEST_SIZE);
    listing_free(&flag);

    struct migration *m = &listing.migrations.rows[0];
    for (int64_t *count = NULL, i = 0; i < 3; i++) {
        count = i == 0 ? &m->finished_jobs : i == 1 ? &m->failed_jobs : &m->pace.value;
        ++*count;
        digest_listing(key, &listing, other);
        assert_memory_not_equal(usual, other, DIGEST_SIZE);
        --*count;
    }
    listing_free(&listing);
    digest_key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_by_name),
        cmocka_unit_test(test_columns_of_the_same_name),
        cmocka_unit_test(test_jobs_are_sorted_and_each_comes_once),
        cmocka_unit_test(test_digest_changes_with_each_column),
        cmocka_unit_test(test_digest_of_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
