// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

#include "base/addr.h"

static struct addr ip(const char *text)
{
    struct addr addr = {0};

    cr_assert(addr_parse_ip(str_of(text), &addr), "%s", text);
    return addr;
}

static const char *shown(const struct addr *addr, bool port)
{
    static char buf[ADDR_TEXT_MAX + 1];
    struct text text = TEXT_OVER(buf);

    if (port) {
        addr_put_port(&text, addr);
    } else {
        addr_put(&text, addr);
    }
    return text_cstr(&text);
}

Test(addr, reads_and_writes_the_normal_form)
{
    static const char *const rows[][2] = {
        {"10.0.0.1", "10.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"::", "::"},
        {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = ip(rows[i][0]);

        cr_expect_str_eq(shown(&addr, false), rows[i][1]);
    }
}

Test(addr, refuses_all_but_strict_forms)
{
    static const char *const rows[] = {
        "",         "1",         "1.2.3",     "01.2.3.4",  "1.2.3.4.", " 1.2.3.4",
        "1.2.3.4 ", "256.1.1.1", "[::1]",     "fe80::1%1", ":::",      "1::2::3",
        "::12345",  "1.2.3.4/8", "0x1.2.3.4", "::1:",
    };
    struct addr addr;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_not(addr_parse_ip(str_of(rows[i]), &addr), "%s", rows[i]);
    }
    cr_expect_not(addr_parse_ip(str_make("1.2.3.4\0", 8), &addr), "a NUL inside");
}

Test(addr, reads_ports)
{
    struct addr addr;

    cr_assert(addr_parse_ip_port(STR("10.0.0.1:80"), &addr));
    cr_expect_str_eq(shown(&addr, true), "10.0.0.1:80");
    cr_assert(addr_parse_ip_port(STR("[2001:db8::1]:65535"), &addr));
    cr_expect_str_eq(shown(&addr, true), "[2001:db8::1]:65535");
    cr_expect(addr_parse_ip_port(STR("127.0.0.1:0"), &addr));
    cr_expect_not(addr_parse_ip_port(STR("10.0.0.1"), &addr));
    cr_expect_not(addr_parse_ip_port(STR("10.0.0.1:"), &addr));
    cr_expect_not(addr_parse_ip_port(STR("10.0.0.1:65536"), &addr));
    cr_expect_not(addr_parse_ip_port(STR("2001:db8::1:80"), &addr));
    cr_expect_not(addr_parse_ip_port(STR("[10.0.0.1]:80"), &addr));
    cr_expect_not(addr_parse_ip_port(STR("[::1:80"), &addr));
}

Test(addr, shows_what_is_no_ip)
{
    struct addr none = {0};
    struct addr peer = {.kind = ADDR_UNIX, .uid = 4294967295U};

    cr_expect_str_eq(shown(&none, true), "-");
    cr_expect_str_eq(shown(&peer, true), "unix:4294967295");
}

Test(addr, networks_hold_what_they_should)
{
    static const struct {
        const char *net;
        const char *addr;
        bool host_bits;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", false, true},
        {"10.0.0.0/8", "11.0.0.0", false, false},
        {"10.0.0.1/8", "10.9.9.9", true, true},
        {"192.168.128.0/17", "192.168.127.255", false, false},
        {"192.168.128.0/17", "192.168.128.0", false, true},
        {"0.0.0.0/0", "203.0.113.9", false, true},
        {"0.0.0.0/0", "2001:db8::1", false, false},
        {"10.0.0.1", "10.0.0.1", false, true},
        {"10.0.0.1", "10.0.0.2", false, false},
        {"2001:db8::/33", "2001:db8:7fff::", false, true},
        {"2001:db8::/33", "2001:db8:8000::", false, false},
        {"::/0", "10.0.0.1", false, false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", false, true},
        {"::ffff:10.0.0.0/104", "10.1.2.3", false, true},
        {"::ffff:10.0.0.0/104", "11.1.2.3", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = ip(rows[i].addr);
        struct addr_net net;
        bool host_bits;

        cr_assert(addr_parse_net(str_of(rows[i].net), &net, &host_bits), "%s", rows[i].net);
        cr_expect_eq(host_bits, rows[i].host_bits, "%s", rows[i].net);
        cr_expect_eq(addr_in_net(&addr, &net), rows[i].in, "%s %s", rows[i].net, rows[i].addr);
    }
}

Test(addr, host_bits_are_cleared)
{
    struct addr_net net;
    bool host_bits;

    cr_assert(addr_parse_net(STR("10.255.255.255/12"), &net, &host_bits));
    cr_expect(host_bits);
    cr_expect_str_eq(shown(&net.addr, false), "10.240.0.0");
    cr_assert(addr_parse_net(STR("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/1"), &net, &host_bits));
    cr_expect_str_eq(shown(&net.addr, false), "8000::");
    cr_expect_eq(net.bits, 1);
}

Test(addr, refuses_bad_networks)
{
    static const char *const rows[] = {"10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/-1", "::/129",
                                       "10.0/8",      "10.0.0.0/8 ", "/8"};
    struct addr_net net;
    bool host_bits;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_not(addr_parse_net(str_of(rows[i]), &net, &host_bits), "%s", rows[i]);
    }
}

/* First and last address of every block, and the neighbours. */
Test(addr, public_is_what_the_registries_say)
{
    static const struct {
        const char *addr;
        bool is_public;
    } rows[] = {
        {"0.0.0.0", false},
        {"0.255.255.255", false},
        {"1.0.0.0", true},
        {"9.255.255.255", true},
        {"10.0.0.0", false},
        {"11.0.0.0", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.127.255.255", false},
        {"100.128.0.0", true},
        {"126.255.255.255", true},
        {"127.0.0.1", false},
        {"128.0.0.0", true},
        {"168.63.129.15", true},
        {"168.63.129.16", false},
        {"168.63.129.17", true},
        {"169.253.255.255", true},
        {"169.254.169.254", false},
        {"169.255.0.0", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"192.0.0.8", false},
        {"192.0.0.9", true},
        {"192.0.0.10", true},
        {"192.0.0.11", false},
        {"192.0.0.170", false},
        {"192.0.1.0", true},
        {"192.0.2.255", false},
        {"192.0.3.0", true},
        {"192.31.196.1", true},
        {"192.52.193.1", true},
        {"192.88.99.1", false},
        {"192.167.255.255", true},
        {"192.168.0.0", false},
        {"192.169.0.0", true},
        {"192.175.48.1", true},
        {"198.17.255.255", true},
        {"198.18.0.0", false},
        {"198.19.255.255", false},
        {"198.20.0.0", true},
        {"198.51.100.1", false},
        {"203.0.113.1", false},
        {"203.0.114.0", true},
        {"223.255.255.255", true},
        {"224.0.0.0", false},
        {"239.255.255.255", false},
        {"240.0.0.0", false},
        {"255.255.255.255", false},
        {"::", false},
        {"::1", false},
        {"::8.8.8.8", false},
        {"::ffff:8.8.8.8", true},
        {"::ffff:10.0.0.1", false},
        {"64:ff9b::8.8.8.8", true},
        {"64:ff9b::10.0.0.1", true}, /* for itself: the address inside is judged beside it */
        {"64:ff9b:1::8.8.8.8", false},
        {"64:ff9b:0:0:1::8.8.8.8", false},
        {"64:ff9a:ffff::8.8.8.8", false},
        {"64:ff9b::1:0:0", false},
        {"100::1", false},
        {"100:0:0:1::1", false},
        {"1fff:ffff::", false},
        {"2000::1", true},
        {"2001::1", false},
        {"2001:1::", false},
        {"2001:1::1", true},
        {"2001:1::2", true},
        {"2001:1::3", true},
        {"2001:1::4", false},
        {"2001:2::1", false},
        {"2001:3::1", true},
        {"2001:4:112::1", true},
        {"2001:4:113::1", false},
        {"2001:10::1", false},
        {"2001:20::1", true},
        {"2001:2f:ffff::1", true},
        {"2001:30::1", true},
        {"2001:40::1", false},
        {"2001:1ff:ffff::", false},
        {"2001:200::", true},
        {"2001:db7:ffff::", true},
        {"2001:db8::1", false},
        {"2001:db9::", true},
        {"2002:808:808::1", false},
        {"2003::1", true},
        {"2620:4f:8000::1", true},
        {"3ffe:ffff::", true},
        {"3fff::1", false},
        {"3fff:fff:ffff::", false},
        {"3fff:1000::", true},
        {"4000::1", false},
        {"5f00::1", false},
        {"fc00::1", false},
        {"fd00::1", false},
        {"fe80::1", false},
        {"fec0::1", false},
        {"ff02::1", false},
    };
    struct addr peer = {.kind = ADDR_UNIX};
    struct addr none = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = ip(rows[i].addr);

        cr_expect_eq(addr_is_public(&addr), rows[i].is_public, "%s", rows[i].addr);
    }
    cr_expect_not(addr_is_public(&peer));
    cr_expect_not(addr_is_public(&none));
}

Test(addr, classes_follow_from_the_address)
{
    static const struct {
        const char *addr;
        bool loopback, link_local, private;
    } rows[] = {
        {"127.0.0.1", true, false, false},
        {"127.255.255.255", true, false, false},
        {"128.0.0.0", false, false, false},
        {"::1", true, false, false},
        {"::2", false, false, false},
        {"::ffff:127.0.0.1", true, false, false},
        {"::127.0.0.1", false, false, false},
        {"169.254.0.0", false, true, false},
        {"::ffff:169.254.1.1", false, true, false},
        {"fe80::1", false, true, false},
        {"febf::1", false, true, false},
        {"fec0::1", false, false, false},
        {"10.1.2.3", false, false, true},
        {"172.31.0.1", false, false, true},
        {"172.32.0.1", false, false, false},
        {"192.168.1.1", false, false, true},
        {"100.64.0.1", false, false, true},
        {"::ffff:10.0.0.1", false, false, true},
        {"fc00::1", false, false, true},
        {"fdff::1", false, false, true},
        {"fe00::1", false, false, false},
        {"8.8.8.8", false, false, false},
        /* the same bytes as IPv4 prefixes */
        {"7f00::1", false, false, false},
        {"a00::1", false, false, false},
        {"a9fe::1", false, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = ip(rows[i].addr);

        cr_expect_eq(addr_is_loopback(&addr), rows[i].loopback, "%s", rows[i].addr);
        cr_expect_eq(addr_is_link_local(&addr), rows[i].link_local, "%s", rows[i].addr);
        cr_expect_eq(addr_is_private(&addr), rows[i].private, "%s", rows[i].addr);
    }
}

Test(addr, unix_peer_is_of_no_ip_class)
{
    struct addr peer = {.kind = ADDR_UNIX, .bytes = {127}};

    cr_expect_not(addr_is_loopback(&peer));
    cr_expect_not(addr_is_private(&peer));
    cr_expect_not(addr_is_unspecified(&peer));
}

Test(addr, finds_the_embedded_ip4_addresses)
{
    static const char *const rows[][2] = {
        {"::ffff:10.1.2.3", "10.1.2.3 "},
        {"64:ff9b::10.1.2.3", "10.1.2.3 "},
        {"2002:a01:203::1", "10.1.2.3 "},
        {"2001:0:4136:e378:8000:63bf:f5fe:fdfc", "10.1.2.3 "}, /* inverted */
        /* behind a prefix of 96, 64, 56 and 48 bits, as far as it can be told */
        {"64:ff9b:1::10.1.2.3", "10.1.2.3 "},
        {"64:ff9b:1:abcd::10.1.2.3", "10.1.2.3 205.0.0.0 171.205.0.0 "},
        {"64:ff9b:1:0:a:102:300:0", "3.0.0.0 10.1.2.3 "},
        {"64:ff9b:1:a:1:203::", "1.2.3.0 10.1.2.3 "},
        {"64:ff9b:1:a01:2:300::", "2.3.0.0 1.2.3.0 10.1.2.3 "},
        {"64:ff9b:1:7f00:0:100:808:808", "8.8.8.8 127.0.0.1 "},
        {"64:ff9b:1:7f00:ff00:100:808:808", "8.8.8.8 127.0.0.1 "}, /* the bits that are to be 0 */
        {"64:ff9b:1::", "0.0.0.0 "},
        {"2001:db8::10.1.2.3", ""},
        {"2001:1::10.1.2.3", ""},
        {"64:ff9b:2::10.1.2.3", ""},
        {"::10.1.2.3", ""},
        {"10.1.2.3", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = ip(rows[i][0]);
        struct addr inner[ADDR_EMBEDDED_MAX];
        char buf[256];
        struct text found = TEXT_OVER(buf);
        unsigned count;

        addr.port = 80;
        count = addr_embedded_ip4(&addr, inner);
        for (unsigned n = 0; n < count; n++) {
            addr_put(&found, &inner[n]);
            text_char(&found, ' ');
            cr_expect_eq(inner[n].port, 80);
        }
        cr_expect_str_eq(text_cstr(&found), rows[i][1], "%s", rows[i][0]);
    }
}

Test(addr, survives_the_kernels_form)
{
    static const char *const rows[] = {"10.0.0.1", "2001:db8::1", "fe80::1"};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = ip(rows[i]);
        struct sockaddr_storage sa;
        struct addr back;

        addr.port = 8080;
        addr.scope = addr.kind == ADDR_IP6 ? 3 : 0;
        cr_expect_gt(addr_to_sockaddr(&addr, &sa), 0);
        back = addr_from_sockaddr(&sa);
        cr_expect(addr_eq(&addr, &back), "%s", rows[i]);
    }
}

Test(addr, mapped_peer_becomes_ip4)
{
    struct addr mapped = ip("::ffff:10.0.0.1");
    struct addr want = addr_ip4(10, 0, 0, 1, 99);
    struct sockaddr_storage sa;
    struct addr got;

    mapped.port = 99;
    cr_expect_eq(addr_to_sockaddr(&mapped, &sa), sizeof(struct sockaddr_in6));
    got = addr_from_sockaddr(&sa);
    cr_expect(addr_eq(&got, &want));
}

Test(addr, other_families_are_none)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNIX};
    struct addr got = addr_from_sockaddr(&sa);

    cr_expect_eq(got.kind, ADDR_NONE);
    cr_expect_eq(addr_to_sockaddr(&got, &sa), 0);
}

Test(addr, a_network_ends_where_it_should)
{
    static const char *const rows[][2] = {
        {"10.0.0.0/8", "10.255.255.255"},
        {"10.0.0.0/31", "10.0.0.1"},
        {"10.0.0.1/32", "10.0.0.1"},
        {"0.0.0.0/0", "255.255.255.255"},
        {"10.128.0.0/9", "10.255.255.255"},
        {"2001:db8::/33", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"},
        {"2001:db8::1/128", "2001:db8::1"},
        {"fe80::/10", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr last = ip(rows[i][1]);
        struct addr_net net;
        bool host_bits;

        cr_assert(addr_parse_net(str_of(rows[i][0]), &net, &host_bits));
        net.addr = addr_net_last(&net);
        cr_expect(addr_eq(&net.addr, &last), "%s: %s", rows[i][0], shown(&net.addr, false));
    }
}

Test(addr, only_a_mapped_address_is_unwrapped)
{
    static const char *const rows[][2] = {
        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"64:ff9b::10.0.0.1", "64:ff9b::a00:1"},
        {"10.0.0.1", "10.0.0.1"},
        {"::fffe:10.0.0.1", "::fffe:a00:1"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = ip(rows[i][0]);

        addr.port = 80;
        addr = addr_unmapped(&addr);
        cr_expect_str_eq(shown(&addr, false), rows[i][1]);
        cr_expect_eq(addr.port, 80);
    }
}

Test(addr, equality_tells_families_and_ports_apart)
{
    struct addr a = addr_ip4(10, 0, 0, 1, 1);
    struct addr b = addr_ip4(10, 0, 0, 1, 2);
    struct addr six = ip("a00:1::");
    struct addr u1 = {.kind = ADDR_UNIX, .uid = 1};
    struct addr u2 = {.kind = ADDR_UNIX, .uid = 2};

    cr_expect(addr_ip_eq(&a, &b));
    cr_expect_not(addr_eq(&a, &b));
    cr_expect_not(addr_ip_eq(&a, &six));
    cr_expect_not(addr_ip_eq(&u1, &u2));
    cr_expect(addr_ip_eq(&(struct addr){0}, &(struct addr){.port = 1}));
    b = a;
    b.scope = 1;
    cr_expect_not(addr_eq(&a, &b));
}

Test(addr, knows_the_unspecified)
{
    struct addr four = ip("0.0.0.0");
    struct addr six = ip("::");
    struct addr mapped = ip("::ffff:0.0.0.0");
    struct addr one = ip("::1");

    cr_expect(addr_is_unspecified(&four));
    cr_expect(addr_is_unspecified(&six));
    cr_expect(addr_is_unspecified(&mapped));
    cr_expect_not(addr_is_unspecified(&one));
}
