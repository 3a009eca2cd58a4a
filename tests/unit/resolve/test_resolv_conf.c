// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/text.h"
#include "resolve/resolv_conf.h"

static const char *servers(const char *content)
{
    static char memory[512];
    struct text text = TEXT_OVER(memory);
    struct resolv_conf conf;

    resolv_conf_parse(str_of(content), &conf);
    for (size_t i = 0; i < conf.count; i++) {
        text_puts(&text, i > 0 ? " " : "");
        addr_put_port(&text, &conf.servers[i]);
    }
    return text_cstr(&text);
}

Test(resolv_conf, reads_nameservers_in_order)
{
    cr_expect_str_eq(servers("nameserver 192.0.2.1\nnameserver\t2001:db8::53\n"),
                     "192.0.2.1:53 [2001:db8::53]:53");
    cr_expect_str_eq(servers("nameserver   192.0.2.1  \r\nnameserver 192.0.2.2 # why"),
                     "192.0.2.1:53 192.0.2.2:53");
}

Test(resolv_conf, takes_three_as_libc_does)
{
    cr_expect_str_eq(
        servers(
            "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n"),
        "10.0.0.1:53 10.0.0.2:53 10.0.0.3:53");
}

Test(resolv_conf, skips_the_rest)
{
    cr_expect_str_eq(
        servers("# nameserver 10.0.0.9\n;nameserver 10.0.0.9\nsearch nameserver 10.0.0.9\n"
                " nameserver 10.0.0.9\nnameservers "
                "10.0.0.9\nnameserver10.0.0.9\nnameserver\nnameserver \n"
                "nameserver fe80::1%eth0\nnameserver dns.example\noptions ndots:5\nnameserver "
                "10.0.0.1\n"),
        "10.0.0.1:53");
}

Test(resolv_conf, without_one_it_is_this_machine)
{
    cr_expect_str_eq(servers(""), "127.0.0.1:53");
    cr_expect_str_eq(servers("search example.com\nnameserver nonsense\n"), "127.0.0.1:53");
}

Test(resolv_conf, file_that_is_not_there_has_none)
{
    struct watched_file file;
    struct resolv_conf conf = {0};

    watched_file_init(&file, "/nonexistent/resolv.conf");
    cr_assert_eq(resolv_conf_read(&file, &conf), 0);
    cr_expect_eq(conf.count, 1);
}

Test(resolv_conf, compares_servers)
{
    struct resolv_conf a, b;

    resolv_conf_parse(STR("nameserver 10.0.0.1\nnameserver 10.0.0.2\n"), &a);
    resolv_conf_parse(STR("search x\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n"), &b);
    cr_expect(resolv_conf_eq(&a, &b));
    resolv_conf_parse(STR("nameserver 10.0.0.2\nnameserver 10.0.0.1\n"), &b);
    cr_expect_not(resolv_conf_eq(&a, &b));
    resolv_conf_parse(STR("nameserver 10.0.0.1\n"), &b);
    cr_expect_not(resolv_conf_eq(&a, &b));
}
