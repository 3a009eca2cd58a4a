// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "../faults.h"
#include "server/crowd.h"

static struct crowd *crowd;

static void tear_down(void)
{
    crowd_free(crowd);
    crowd = NULL;
}

TestSuite(crowd, .fini = tear_down);

static int make(void)
{
    int r = crowd_new(&crowd);

    if (r == 0) {
        crowd_set_limit(crowd, 1);
    }
    return r;
}

static struct addr ip(const char *text)
{
    struct addr addr;

    cr_assert(addr_parse_ip(str_of(text), &addr));
    return addr;
}

static bool enter(const char *text)
{
    struct addr addr = ip(text);

    return crowd_enter(crowd, &addr) == 0;
}

Test(crowd, counts_addresses_apart_and_ipv6_by_its_network)
{
    struct addr four = ip("192.0.2.1");

    cr_assert_eq(make(), 0);
    cr_expect(enter("192.0.2.1"));
    cr_expect(enter("192.0.2.2"));
    cr_expect_not(enter("192.0.2.1"));
    cr_expect(enter("2001:db8::1"));
    cr_expect_not(enter("2001:db8::ffff:2"));
    cr_expect(enter("2001:db8:0:1::1"));
    crowd_leave(crowd, &four); /* the one that was refused does not count */
    cr_expect(enter("192.0.2.1"));
}

Test(crowd, counts_users_of_a_unix_socket)
{
    struct addr one = {.kind = ADDR_UNIX, .uid = 1000};
    struct addr other = {.kind = ADDR_UNIX, .uid = 1001};

    cr_assert_eq(make(), 0);
    cr_expect_eq(crowd_enter(crowd, &one), 0);
    cr_expect_eq(crowd_enter(crowd, &other), 0);
    cr_expect_eq(crowd_enter(crowd, &one), CROWD_FULL);
}

static void leave(const char *text)
{
    struct addr addr = ip(text);

    crowd_leave(crowd, &addr);
}

Test(crowd, counts_under_whatever_limit)
{
    cr_assert_eq(make(), 0);
    crowd_set_limit(crowd, 0);
    cr_expect(enter("192.0.2.1"));
    cr_expect(enter("192.0.2.1"));
    crowd_set_limit(crowd, 2);
    cr_expect_not(enter("192.0.2.1"));
    crowd_set_limit(crowd, 0);
    cr_expect(enter("192.0.2.1"));
    leave("192.0.2.1");
    leave("192.0.2.1");
    crowd_set_limit(crowd, 1);
    cr_expect_not(enter("192.0.2.1"));
    leave("192.0.2.1");
    cr_expect(enter("192.0.2.1"));
}

Test(crowd, many_addresses)
{
    struct addr addr = {.kind = ADDR_IP4};

    cr_assert_eq(make(), 0);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < 5000; i++) {
            addr.bytes[2] = (uint8_t)(i >> 8);
            addr.bytes[3] = (uint8_t)i;
            cr_assert_eq(crowd_enter(crowd, &addr), 0);
            cr_assert_eq(crowd_enter(crowd, &addr), CROWD_FULL);
        }
        for (unsigned i = 0; i < 5000; i++) {
            addr.bytes[2] = (uint8_t)(i >> 8);
            addr.bytes[3] = (uint8_t)i;
            crowd_leave(crowd, &addr);
        }
    }
}

Test(crowd, says_when_memory_is_out_and_counts_nobody_then)
{
    struct addr addr = ip("192.0.2.1");

    cr_expect_gt(fail_each_allocation(tear_down, make), 1);
#ifdef MEM_FAULTS
    mem_fail(1, UINT64_MAX);
    cr_expect_eq(crowd_enter(crowd, &addr), -ENOMEM);
    mem_fail(0, 0);
#endif
    cr_expect_eq(crowd_enter(crowd, &addr), 0);
    cr_expect_eq(crowd_enter(crowd, &addr), CROWD_FULL);
}
