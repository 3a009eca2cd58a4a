// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "../faults.h"
#include "policy/auth_failures.h"

static struct auth_failures *failures;

static void set_up(void)
{
    failures = auth_failures_new();
    cr_assert_not_null(failures);
    auth_failures_set(failures, 3, 1000);
}

static void tear_down(void)
{
    auth_failures_free(failures);
}

TestSuite(auth_failures, .init = set_up, .fini = tear_down);

static struct addr ip(const char *text)
{
    struct addr addr;

    cr_assert(addr_parse_ip(str_of(text), &addr));
    return addr;
}

static uint64_t add(const char *client, uint64_t now_ms)
{
    struct addr addr = ip(client);

    return auth_failures_add(failures, &addr, now_ms);
}

static uint64_t wait(const char *client, uint64_t now_ms)
{
    struct addr addr = ip(client);

    return auth_failures_wait_ms(failures, &addr, now_ms);
}

Test(auth_failures, shuts_out_after_so_many_until_the_time_is_over)
{
    cr_expect_eq(wait("192.0.2.1", 0), 0);
    cr_expect_eq(add("192.0.2.1", 0), 0);
    cr_expect_eq(add("192.0.2.1", 100), 0);
    cr_expect_eq(wait("192.0.2.1", 100), 0);
    cr_expect_eq(add("192.0.2.1", 200), 800);
    cr_expect_eq(wait("192.0.2.1", 200), 800);
    cr_expect_eq(wait("192.0.2.1", 999), 1);
    cr_expect_eq(wait("192.0.2.1", 1000), 0);
}

Test(auth_failures, counts_anew_when_the_time_is_over)
{
    (void)add("192.0.2.1", 0);
    (void)add("192.0.2.1", 999);
    cr_expect_eq(add("192.0.2.1", 1000), 0);
    cr_expect_eq(add("192.0.2.1", 1001), 0);
    cr_expect_eq(add("192.0.2.1", 1002), 998);
}

Test(auth_failures, counts_clients_apart_and_ipv6_by_its_network)
{
    for (unsigned i = 0; i < 3; i++) {
        (void)add("2001:db8::1", 0);
    }
    cr_expect_eq(wait("2001:db8::ffff:1", 0), 1000);
    cr_expect_eq(wait("2001:db8:0:1::1", 0), 0);
    cr_expect_eq(wait("192.0.2.1", 0), 0);
    (void)add("192.0.2.1", 0);
    (void)add("192.0.2.2", 0);
    (void)add("192.0.2.3", 0);
    cr_expect_eq(wait("192.0.2.1", 0), 0);
}

Test(auth_failures, more_failures_do_not_make_it_longer)
{
    for (unsigned i = 0; i < 100; i++) {
        (void)add("192.0.2.1", i);
    }
    cr_expect_eq(wait("192.0.2.1", 100), 900);
}

/* A table of fixed size: whoever comes with many addresses pushes out others that failed little,
 * but none that is shut out while there is such a one. */
Test(auth_failures, keeps_who_is_shut_out_when_many_come)
{
    for (unsigned i = 0; i < 3; i++) {
        (void)add("192.0.2.1", 0);
    }
    for (unsigned i = 0; i < 200000; i++) {
        struct addr addr = addr_ip4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 0);

        cr_assert_eq(auth_failures_add(failures, &addr, 1), 0);
    }
    cr_expect_eq(wait("192.0.2.1", 1), 999);
}

Test(auth_failures, follows_other_settings)
{
    (void)add("192.0.2.1", 0);
    auth_failures_set(failures, 2, 5000);
    cr_expect_eq(add("192.0.2.1", 0), 1000, "its time has begun already");
    cr_expect_eq(add("192.0.2.2", 0), 0);
    cr_expect_eq(add("192.0.2.2", 0), 5000);
}

Test(auth_failures, says_when_memory_is_out)
{
#ifdef MEM_FAULTS
    mem_fail(1, 1);
    cr_expect_null(auth_failures_new());
#endif
    auth_failures_free(NULL);
}
