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
    return crowd_new(1, &crowd);
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

    return crowd_enter(crowd, &addr);
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
    cr_expect(crowd_enter(crowd, &one));
    cr_expect(crowd_enter(crowd, &other));
    cr_expect_not(crowd_enter(crowd, &one));
}

Test(crowd, says_when_memory_is_out_and_refuses_nobody_for_it)
{
    struct addr addr = ip("192.0.2.1");

    cr_expect_eq(fail_each_allocation(tear_down, make), 2);
#ifdef MEM_FAULTS
    mem_fail(1, UINT64_MAX);
    cr_expect(enter("192.0.2.1"));
    cr_expect(enter("192.0.2.1"));
    mem_fail(0, 0);
#endif
    crowd_leave(crowd, &addr);
    cr_expect(enter("192.0.2.1"));
}
