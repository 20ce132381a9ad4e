/* SPDX-License-Identifier: MIT
 * worker_state: where the worker is, and whether it can still undo a pause. */
#include "fake_db.h"

#include "store/store.h"
#include "store/store_private.h"
#include "store/worker_state.h"

#define COLUMNS "in_run has_chosen past_choosing has_marked one_is_running xids has_error_code"

static struct store store;

static void test_each_column_has_its_field(void **state)
{
    struct worker_state worker = {0};
    struct error error = {0};
    (void)state;
    for (int i = 0; i < 7; i++) {
        PGresult *result = fake_result(COLUMNS);
        FAKE_ROW(result, BOOLEAN(i == 0), BOOLEAN(i == 1), BOOLEAN(i == 2), BOOLEAN(i == 3),
                 BOOLEAN(i == 4), i == 5 ? TEXT("{7,8}") : NOTHING, BOOLEAN(i == 6));
        fake_reads(&SQL_WORKER, result);
        assert_true(worker_state_read(&store, 5, &worker, &error));
        assert_int_equal(worker.in_run, i == 0);
        assert_int_equal(worker.has_chosen, i == 1);
        assert_int_equal(worker.past_choosing, i == 2);
        assert_int_equal(worker.has_marked, i == 3);
        assert_int_equal(worker.one_is_running, i == 4);
        assert_int_equal(worker.xids != NULL, i == 5);
        if (i == 5)
            assert_string_equal(worker.xids, "{7,8}");
        assert_int_equal(worker.has_error_code, i == 6);
        assert_int_equal(fake_answers[i].deadline, 5);
    }
    worker_state_free(&worker);
    assert_null(worker.xids);
}

static void test_hostile_answers(void **state)
{
    struct worker_state worker = {0};
    struct error error = {0};
    PGresult *result = fake_result(COLUMNS);
    (void)state;
    FAKE_ROW(result, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, TEXT(""), NOTHING);
    fake_reads(&SQL_WORKER, fake_result(COLUMNS));
    fake_reads(&SQL_WORKER, fake_result("in"));
    fake_reads(&SQL_WORKER, result);
    for (int i = 0; i < 3; i++) {
        assert_true(worker_state_read(&store, 5, &worker, &error));
        assert_false(worker.in_run || worker.has_chosen || worker.past_choosing ||
                     worker.has_marked || worker.one_is_running || worker.has_error_code);
    }
    assert_string_equal(worker.xids, "");
    worker_state_free(&worker);
}

static void test_no_answer(void **state)
{
    struct worker_state worker = {0};
    struct error error = {0};
    (void)state;
    fake_fails(&SQL_WORKER, false);
    assert_false(worker_state_read(&store, 5, &worker, &error));
    assert_int_equal(error.status, 503);
    error_free(&error);
}

/* Of all states of a worker there is one in which a pause may be undone: it is in a run and has
 * chosen, and nothing shows that it is past setting its migration running. */
static void test_what_may_undo(void **state)
{
    (void)state;
    for (int bits = 0; bits < 32; bits++) {
        const struct worker_state worker = {
            .in_run = bits & 1,
            .has_chosen = bits & 2,
            .past_choosing = bits & 4,
            .has_marked = bits & 8,
            .one_is_running = bits & 16,
        };
        assert_int_equal(worker_state_may_undo(&worker), bits == 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake_db_test(test_each_column_has_its_field),
        fake_db_test(test_hostile_answers),
        fake_db_test(test_no_answer),
        cmocka_unit_test(test_what_may_undo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
