/* SPDX-License-Identifier: MIT
 * Names and addresses, and how long a look-up may take. */
#include "store/db_resolve.h"
#include "store/db_thread.h"
#include "unit.h"

#include "base/clock.h"

#include <netdb.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

static bool has(const struct db_addresses *addresses, const char *address)
{
    for (size_t i = 0; i < addresses->count; i++) {
        if (strcmp(addresses->at[i], address) == 0)
            return true;
    }
    return false;
}

static void test_what_needs_no_look_up(void **state)
{
    static const char *const hosts[] = {"", "/run/postgresql", "@abstract", "127.0.0.1", "::1"};
    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++) {
        struct db_addresses addresses = {.count = 7};
        struct error error = {0};
        assert_true(db_resolve(hosts[i], clock_ms() - 1, &addresses, &error));
        assert_int_equal(addresses.count, 0);
    }
}

static void test_a_name_gives_numeric_addresses(void **state)
{
    struct db_addresses addresses;
    struct error error = {0};
    (void)state;
    assert_true(db_resolve("localhost", clock_ms() + 10000, &addresses, &error));
    assert_true(addresses.count >= 1 && addresses.count <= DB_ADDRESSES_MAX);
    assert_true(has(&addresses, "127.0.0.1") || has(&addresses, "::1"));
}

static void test_no_such_name(void **state)
{
    struct db_addresses addresses;
    struct error error = {0};
    (void)state;
    assert_false(db_resolve("no such name", clock_ms() + 10000, &addresses, &error));
    assert_int_equal(error.status, 503);
    assert_non_null(strstr(error.reason, "\"no such name\""));
}

/* A name service that does not answer, where a test says so. */
static atomic_bool is_silent;

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    while (!(hints->ai_flags & AI_NUMERICHOST) && atomic_load(&is_silent))
        sched_yield();
    return __real_getaddrinfo(host, service, hints, list);
}

/* Nobody waits beyond the deadline; the thread goes on, and frees what it holds. */
static void test_a_deadline_that_has_passed(void **state)
{
    struct db_addresses addresses;
    struct error error = {0};
    (void)state;
    atomic_store(&is_silent, true);
    assert_false(db_resolve("localhost", clock_ms() - 1, &addresses, &error));
    assert_int_equal(error.status, 503);
    assert_non_null(strstr(error.reason, "in time"));
    assert_false(db_thread_settle(clock_ms()));
    atomic_store(&is_silent, false);
    assert_true(db_thread_settle(clock_ms() + 10000));
}

/* Look-ups that hang take so many threads and no more. */
static void test_very_many_look_ups(void **state)
{
    struct db_addresses addresses;
    bool too_many = false;
    (void)state;
    atomic_store(&is_silent, true);
    for (int i = 0; i < 100 && !too_many; i++) {
        struct error error = {0};
        assert_false(db_resolve("localhost", clock_ms() - 1, &addresses, &error));
        assert_int_equal(error.status, 503);
        too_many = strstr(error.reason, "too many look-ups") != NULL;
    }
    assert_true(too_many);
    assert_false(db_thread_settle(clock_ms()));
    atomic_store(&is_silent, false);
    assert_true(db_thread_settle(clock_ms() + 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_needs_no_look_up),
        cmocka_unit_test(test_a_name_gives_numeric_addresses),
        cmocka_unit_test(test_no_such_name),
        cmocka_unit_test(test_a_deadline_that_has_passed),
        cmocka_unit_test(test_very_many_look_ups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
