/* SPDX-License-Identifier: MIT
 * Which requests share one handler's run (http/service_batch.c). */
#include "asking.h"

#define LIST "PATH_INFO=/v1/gitlab/background-migrations/"

/* Alone, it is a batch of one. One that may not be kept, or has a parameter, runs by itself. */
static void test_which_requests_share(void **state)
{
    (void)state;
    fcgi->may_be_kept = true;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_sent(200, "");
    /* While another batch runs, it waits. */
    struct coalesce_waiter other = {.next = NULL};
    assert_ptr_equal(coalesce_join(service.coalesce, &other, clock_ms()), &other);
    assert_int_equal(ANSWER(GET, LIST, "QUERY_STRING=n=5"), SERVER_ANSWERED);
    assert_int_equal(ANSWER(GET, ONE), SERVER_ANSWERED);
    fcgi->may_be_kept = false;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_int_equal(seen.handler_calls, 4);
    fcgi->may_be_kept = true;
    assert_int_equal(ANSWER(GET, LIST), SERVER_KEPT);
    assert_int_equal(seen.handler_calls, 4);
    assert_non_null(coalesce_clear(service.coalesce));
}

/* Who has no token does not wait with others, nor get their answer. */
static void test_refused_request_does_not_share(void **state)
{
    struct coalesce_waiter other = {.next = NULL};
    (void)state;
    assert_ptr_equal(coalesce_join(service.coalesce, &other, clock_ms()), &other);
    fcgi->may_be_kept = true;
    seen.good = false;
    assert_int_equal(ANSWER(GET, LIST), SERVER_ANSWERED);
    assert_sent(401, "UNAUTHORIZED");
    assert_null(coalesce_clear(service.coalesce));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKING_TEST(test_which_requests_share),
        ASKING_TEST(test_refused_request_does_not_share),
    };
    return cmocka_run_group_tests(tests, unit_folder_make, unit_folder_remove);
}
