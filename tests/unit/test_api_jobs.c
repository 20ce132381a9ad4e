/* SPDX-License-Identifier: MIT
 * A page of jobs (api/jobs.c): what is asked of the store, and the link to the next page. */
#include "handlers.h"

#include "api/jobs.h"
#include "store/jobs.h"

/* What the store was asked for, and what it answers. */
static struct {
    int64_t id;
    int64_t last; /* 0: none, as the next one */
    int64_t status;
    int64_t n;
    int64_t deadline;
    bool fails;
    struct job jobs[2];
    struct jobs page;
    int freed;
} store;

static int setup(void **state)
{
    memset(&store, 0, sizeof store);
    return handlers_setup(state);
}

bool __wrap_store_jobs(struct store *of, int64_t id, const int64_t *last, const int64_t *status,
                       int64_t n, int64_t deadline, struct jobs *jobs, struct error *error);
void __wrap_store_jobs_free(struct jobs *jobs);

bool __wrap_store_jobs(struct store *of, int64_t id, const int64_t *last, const int64_t *status,
                       int64_t n, int64_t deadline, struct jobs *jobs, struct error *error)
{
    assert_ptr_equal(of, STORE);
    store.id = id;
    store.last = last ? *last : 0;
    store.status = status ? *status : 0;
    store.n = n;
    store.deadline = deadline;
    *jobs = store.page;
    jobs->rows = store.jobs;
    return !store.fails || error_id_not_found(error, id);
}

void __wrap_store_jobs_free(struct jobs *jobs)
{
    assert_ptr_equal(jobs->rows, store.jobs);
    store.freed++;
}

static void test_first_page_of_jobs(void **state)
{
    (void)state;
    call.id = 7;
    assert_true(jobs_page(&call));
    assert_body("{\"jobs\":[]}");
    assert_string_equal(call.link, "");
    assert_int_equal(store.id, 7);
    assert_int_equal(store.last, 0);
    assert_int_equal(store.status, 0);
    assert_int_equal(store.n, 100);
    assert_int_equal(store.deadline, DEADLINE);
    assert_int_equal(store.freed, 1);
}

static void test_next_page_of_jobs(void **state)
{
    (void)state;
    store.jobs[0] = (struct job){.id = 9, .status = JOB_FINISHED};
    store.jobs[1] = (struct job){.id = 8, .status = JOB_FAILED};
    store.page = (struct jobs){.count = 2, .more = true, .last = 8};
    call.id = 7;
    call.params.n = 2;
    assert_true(jobs_page(&call));
    assert_body("{\"jobs\":[{\"id\":9,\"min_value\":0,\"max_value\":0,\"status\":\"finished\","
                "\"attempts\":0},{\"id\":8,\"min_value\":0,\"max_value\":0,"
                "\"status\":\"failed\",\"attempts\":0}]}");
    assert_string_equal(call.link, "</v1/gitlab/path/?n=2&last=8>; rel=\"next\"");
}

/* The link goes on with the same filter, and from where the store stopped, which is not the last
 * row where none of the later ones fitted. */
static void test_next_page_with_a_status(void **state)
{
    (void)state;
    store.page = (struct jobs){.count = 0, .more = true, .last = 4000};
    call.params.status = GIVEN(JOB_FAILED);
    call.params.last = GIVEN(5000);
    assert_true(jobs_page(&call));
    assert_int_equal(store.last, 5000);
    assert_int_equal(store.status, JOB_FAILED);
    assert_body("{\"jobs\":[]}");
    assert_string_equal(call.link,
                        "</v1/gitlab/path/?n=100&last=4000&status=failed>; rel=\"next\"");
}

static void test_longest_link(void **state)
{
    char path[513];
    char expected[HANDLER_LINK_SIZE];
    (void)state;
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    store.page = (struct jobs){.more = true, .last = INT64_MAX};
    call.path = path;
    call.params.n = 1000;
    call.params.status = GIVEN(JOB_FINISHED);
    assert_true(jobs_page(&call));
    snprintf(expected, sizeof expected,
             "<%s?n=1000&last=9223372036854775807&status=finished>; rel=\"next\"", path);
    assert_string_equal(call.link, expected);
}

static void test_unknown_migration(void **state)
{
    (void)state;
    store.fails = true;
    call.id = 7;
    assert_false(jobs_page(&call));
    assert_int_equal(call.error.status, 404);
    assert_null(call.body);
}

#define PAGE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, handlers_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGE_TEST(test_first_page_of_jobs),      PAGE_TEST(test_next_page_of_jobs),
        PAGE_TEST(test_next_page_with_a_status), PAGE_TEST(test_longest_link),
        PAGE_TEST(test_unknown_migration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
