/* SPDX-License-Identifier: MIT
 * The route table: what each route asks of a token, which parameters it takes, and what shares an
 * answer. */
#include "unit.h"

#include "api/actions.h"
#include "api/history.h"
#include "api/list.h"
#include "api/page.h"
#include "api/routes.h"

#define LIST    PARAM(PARAM_STATES)
#define JOBS    (PARAM(PARAM_N) | PARAM(PARAM_LAST_JOB) | PARAM(PARAM_JOB_STATUS))
#define HISTORY (PARAM(PARAM_N) | PARAM(PARAM_LAST_ACTION))
#define ACTION  (PARAM(PARAM_REASON) | PARAM(PARAM_DRY_RUN))
#define UNDO    PARAM(PARAM_ACTION_ID)

/* The contract's table (section 1), but for the page's files. */
static const struct {
    const char *method;
    const char *pattern;
    enum access access;
    unsigned params;
} contract[] = {
    {"GET", "background-migrations", ACCESS_READ, LIST},
    {"GET", "bbm/status", ACCESS_READ, LIST},
    {"GET", "background-migrations/{id}", ACCESS_READ, 0},
    {"GET", "background-migrations/{id}/jobs", ACCESS_READ, JOBS},
    {"GET", "background-migrations/{id}/actions", ACCESS_READ, HISTORY},
    {"GET", "bbm/actions", ACCESS_READ, HISTORY},
    {"POST", "background-migrations/pause", ACCESS_WRITE, ACTION},
    {"POST", "bbm/pause", ACCESS_WRITE, ACTION},
    {"POST", "background-migrations/resume", ACCESS_WRITE, ACTION | UNDO},
    {"POST", "bbm/resume", ACCESS_WRITE, ACTION | UNDO},
    {"POST", "restart/{id}", ACCESS_WRITE, ACTION},
    {"POST", "background-migrations/{id}/pause", ACCESS_WRITE, ACTION},
    {"POST", "background-migrations/{id}/resume", ACCESS_WRITE, ACTION},
    {"POST", "background-migrations/{id}/restart", ACCESS_WRITE, ACTION},
    {"GET", "/-/liveness", ACCESS_NONE, 0},
    {"GET", "/-/readiness", ACCESS_NONE, 0},
    {"GET", "/-/metrics", ACCESS_NONE, 0},
};

/* NULL: there is none. */
static const struct route *find(const char *method, const char *pattern)
{
    const bool from_root = pattern[0] == '/';
    const struct route *routes = from_root ? api_routes.operational : api_routes.api;
    size_t count = from_root ? api_routes.operational_count : api_routes.api_count;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(routes[i].method, method) == 0 && strcmp(routes[i].pattern, pattern) == 0)
            return &routes[i];
    }
    return NULL;
}

static void test_contract(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(contract); i++) {
        const struct route *route = find(contract[i].method, contract[i].pattern);
        if (!route)
            fail_msg("no route %s %s", contract[i].method, contract[i].pattern);
        if (route->access != contract[i].access || route->params != contract[i].params)
            fail_msg("%s %s: access %d, parameters %x", route->method, route->pattern,
                     (int)route->access, route->params);
        assert_non_null(route->handler);
    }
}

/* A route that is in no list here is a file of the page, which holds no data. */
static void test_no_other_route(void **state)
{
    (void)state;
    assert_int_equal(api_routes.operational_count, 3);
    for (size_t i = 0; i < api_routes.api_count; i++) {
        const struct route *route = &api_routes.api[i];
        bool known = false;
        for (size_t j = 0; j < COUNT(contract); j++)
            known |= find(contract[j].method, contract[j].pattern) == route;
        if (known)
            continue;
        assert_ptr_equal(route->handler, page_get);
        assert_string_equal(route->method, "GET");
        assert_int_equal(route->access, ACCESS_NONE);
        assert_int_equal(route->params, 0);
    }
}

/* Only a POST changes something, and each that does needs the right to. */
static void test_writes_are_posts(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_routes.api_count; i++) {
        const struct route *route = &api_routes.api[i];
        bool acts = route->handler == actions_pause || route->handler == actions_resume ||
                    route->handler == actions_restart;
        assert_int_equal(strcmp(route->method, "POST") == 0, acts);
        assert_int_equal(route->access == ACCESS_WRITE, acts);
    }
}

/* A restart is of one migration; an undo, which takes an action's id, is of all. */
static void test_ids(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_routes.api_count; i++) {
        const struct route *route = &api_routes.api[i];
        bool of_one = strstr(route->pattern, "{id}") != NULL;
        if (route->handler == actions_restart || route->handler == list_one)
            assert_true(of_one);
        if (route->handler == list_all || route->params & UNDO)
            assert_false(of_one);
        if (route->params & UNDO)
            assert_ptr_equal(route->handler, actions_resume);
    }
}

/* A parameter's name stands for one kind in each route: `last` for a job or for an action. */
static void test_parameters_of_one_name(void **state)
{
    const unsigned last = PARAM(PARAM_LAST_JOB) | PARAM(PARAM_LAST_ACTION);
    const unsigned status = PARAM(PARAM_STATES) | PARAM(PARAM_JOB_STATUS);
    (void)state;
    for (size_t i = 0; i < api_routes.api_count; i++) {
        unsigned params = api_routes.api[i].params;
        assert_int_not_equal(params & last, last);
        assert_int_not_equal(params & status, status);
        /* A page's size without its start, or the other way round, is no page. */
        assert_int_equal((params & PARAM(PARAM_N)) != 0, (params & last) != 0);
    }
}

/* Who waits for a shared answer gets that of the first: it must be the same for all. */
static void test_shared_answer(void **state)
{
    (void)state;
    for (handler *const *shared = api_routes.coalesced; *shared; shared++) {
        assert_true(*shared == list_all || *shared == list_one);
        for (size_t i = 0; i < api_routes.api_count; i++)
            assert_true(api_routes.api[i].handler != *shared ||
                        api_routes.api[i].access == ACCESS_READ);
    }
}

/* No route is hidden behind one before it. */
static void test_each_route_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_routes.api_count; i++)
        assert_ptr_equal(find(api_routes.api[i].method, api_routes.api[i].pattern),
                         &api_routes.api[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract),
        cmocka_unit_test(test_no_other_route),
        cmocka_unit_test(test_writes_are_posts),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_parameters_of_one_name),
        cmocka_unit_test(test_shared_answer),
        cmocka_unit_test(test_each_route_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
