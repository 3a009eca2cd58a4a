// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../faults.h"
#include "base/mem.h"
#include "base/text.h"
#include "resolve/hosts_file.h"

static struct hosts_table *table;
static struct addr addrs[HOSTS_MAX_ADDRS];

static void parse(const char *content)
{
    table = hosts_table_parse(str_of(content));
    cr_assert_not_null(table);
}

static void teardown(void)
{
    hosts_table_free(table);
    table = NULL;
}

TestSuite(hosts_file, .fini = teardown);

static const char *joined(size_t count)
{
    static char memory[2048];
    struct text text = TEXT_OVER(memory);

    for (size_t i = 0; i < count; i++) {
        text_puts(&text, i > 0 ? " " : "");
        addr_put(&text, &addrs[i]);
    }
    return text_cstr(&text);
}

static const char *find(const char *name)
{
    return joined(hosts_table_find(table, str_of(name), true, true, addrs));
}

Test(hosts_file, all_names_of_a_line)
{
    parse("192.0.2.1 a.example b.example\tc.example\n");
    cr_expect_str_eq(find("a.example"), "192.0.2.1");
    cr_expect_str_eq(find("b.example"), "192.0.2.1");
    cr_expect_str_eq(find("c.example"), "192.0.2.1");
    cr_expect_str_eq(find("d.example"), "");
}

Test(hosts_file, a_byte_order_mark_is_no_part_of_an_address)
{
    parse("\xef\xbb\xbf"
          "192.0.2.1 a.example\n");
    cr_expect_str_eq(find("a.example"), "192.0.2.1");
}

Test(hosts_file, lines_add_up_and_ipv6_comes_first)
{
    parse(
        "192.0.2.2 a.example\n2001:db8::1 a.example\n192.0.2.1 x a.example\n192.0.2.2 a.example\n");
    cr_expect_str_eq(find("a.example"), "2001:db8::1 192.0.2.2 192.0.2.1");
}

Test(hosts_file, gives_only_wanted_families)
{
    parse("192.0.2.1 a.example\n2001:db8::1 a.example\n192.0.2.3 four.example\n");
    cr_expect_str_eq(joined(hosts_table_find(table, STR("a.example"), true, false, addrs)),
                     "192.0.2.1");
    cr_expect_str_eq(joined(hosts_table_find(table, STR("a.example"), false, true, addrs)),
                     "2001:db8::1");
    cr_expect_eq(hosts_table_find(table, STR("four.example"), false, true, addrs), 0);
}

Test(hosts_file, names_in_any_case_and_with_a_trailing_dot)
{
    parse("192.0.2.1 WWW.Example.COM other.example.\n");
    cr_expect_str_eq(find("www.example.com"), "192.0.2.1");
    cr_expect_str_eq(find("other.example"), "192.0.2.1");
}

Test(hosts_file, comments_blanks_and_missing_newline)
{
    parse("# 192.0.2.9 a.example\n\n   \n\t 192.0.2.1  a.example # b.example\r\n192.0.2.2 "
          "c.example#d\n"
          "192.0.2.3 last.example");
    cr_expect_str_eq(find("a.example"), "192.0.2.1");
    cr_expect_str_eq(find("b.example"), "");
    cr_expect_str_eq(find("c.example"), "192.0.2.2");
    cr_expect_str_eq(find("last.example"), "192.0.2.3");
}

Test(hosts_file, skips_what_it_cannot_read)
{
    parse("not-an-address a.example\n300.0.0.1 a.example\n192.0.2.1\nfe80::1%eth0 a.example\n"
          "127.1 a.example\n192.0.2.1 bad!name \xff\xfe a.example 10.0.0.1\n");
    cr_expect_str_eq(find("a.example"), "192.0.2.1");
    cr_expect_str_eq(find("bad!name"), "");
    cr_expect_str_eq(find("10.0.0.1"), "");
}

Test(hosts_file, reads_binary_noise)
{
    char noise[4096];

    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (char)(i * 7 % 256);
    }
    table = hosts_table_parse(str_make(noise, sizeof(noise)));
    cr_assert_not_null(table);
}

Test(hosts_file, more_addresses_than_fit_are_left_out)
{
    char content[4096];
    struct text text = TEXT_OVER(content);

    for (unsigned i = 1; i <= 40; i++) {
        text_printf(&text, "192.0.2.%u a.example\n2001:db8::%x a.example\n", i, i);
    }
    parse(text_cstr(&text));
    cr_assert_eq(hosts_table_find(table, STR("a.example"), true, true, addrs), HOSTS_MAX_ADDRS);
    cr_expect_eq(addrs[RESOLVE_MAX_ADDRS - 1].kind, ADDR_IP6);
    cr_expect_eq(addrs[RESOLVE_MAX_ADDRS].kind, ADDR_IP4);
}

Test(hosts_file, takes_a_hundred_thousand_lines)
{
    size_t cap = 100000 * 40;
    char *content = mem_alloc(cap);
    struct text text = text_over(content, cap);

    for (unsigned i = 0; i < 100000; i++) {
        text_puts(&text, "10.0.0.1 host");
        text_u64(&text, i);
        text_puts(&text, ".example\n");
    }
    cr_assert_not(text.full);
    table = hosts_table_parse(text_str(&text));
    mem_free(content);
    cr_assert_not_null(table);
    cr_expect_eq(table->names.count, 100000);
    cr_expect_str_eq(find("host77777.example"), "10.0.0.1");
}

static void write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_geq(fputs(content, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static const char *find_in(struct hosts_file *hosts, const char *name, uint64_t now_ms)
{
    hosts_file_refresh(hosts, now_ms);
    return joined(hosts_file_find(hosts, str_of(name), true, true, addrs));
}

Test(hosts_file, reads_again_when_it_changes_but_looks_once_a_second)
{
    char path[] = "/tmp/viaduct-hosts-XXXXXX";
    int fd = mkstemp(path);
    struct hosts_file hosts;

    cr_assert_geq(fd, 0);
    cr_assert_eq(close(fd), 0);
    write_file(path, "192.0.2.1 a.example\n");
    hosts_file_init(&hosts, path);
    cr_expect_str_eq(find_in(&hosts, "a.example", 5000), "192.0.2.1");
    write_file(path, "192.0.2.22 a.example\n");
    cr_expect_str_eq(find_in(&hosts, "a.example", 5999), "192.0.2.1");
    cr_expect_str_eq(find_in(&hosts, "a.example", 6000), "192.0.2.22");
    cr_assert_eq(unlink(path), 0);
    cr_expect_str_eq(find_in(&hosts, "a.example", 7000), "");
    write_file(path, "192.0.2.3 a.example\n");
    cr_expect_str_eq(find_in(&hosts, "a.example", 8000), "192.0.2.3");
    cr_assert_eq(unlink(path), 0);
    hosts_file_deinit(&hosts);
}

Test(hosts_file, file_of_the_same_size_in_its_place_is_another)
{
    char path[] = "/tmp/viaduct-hosts-XXXXXX";
    char next[64];
    int fd = mkstemp(path);
    struct hosts_file hosts;

    cr_assert_geq(fd, 0);
    cr_assert_eq(close(fd), 0);
    (void)snprintf(next, sizeof(next), "%s.next", path);
    write_file(path, "192.0.2.1 a.example\n");
    hosts_file_init(&hosts, path);
    cr_expect_str_eq(find_in(&hosts, "a.example", 1000), "192.0.2.1");
    write_file(next, "192.0.2.2 a.example\n");
    cr_assert_eq(rename(next, path), 0);
    cr_expect_str_eq(find_in(&hosts, "a.example", 2000), "192.0.2.2");
    cr_assert_eq(unlink(path), 0);
    hosts_file_deinit(&hosts);
}

Test(hosts_file, what_is_no_file_is_empty)
{
    static const char *const paths[] = {"/dev/null", "/tmp", "/nonexistent/hosts", ""};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct hosts_file hosts;

        hosts_file_init(&hosts, paths[i]);
        cr_expect_str_eq(find_in(&hosts, "a.example", 1000), "");
        hosts_file_deinit(&hosts);
    }
}

static int parse_some(void)
{
    table = hosts_table_parse(STR("192.0.2.1 a.example b.example\n2001:db8::1 a.example\n"));
    return table ? 0 : -ENOMEM;
}

Test(hosts_file, all_or_nothing_when_memory_is_out)
{
    cr_expect_gt(fail_each_allocation(teardown, parse_some), 4);
    cr_expect_str_eq(find("a.example"), "2001:db8::1 192.0.2.1");
    cr_expect_str_eq(find("b.example"), "192.0.2.1");
}

#ifdef MEM_FAULTS
Test(hosts_file, old_content_stays_when_memory_is_out)
{
    char path[] = "/tmp/viaduct-hosts-XXXXXX";
    int fd = mkstemp(path);
    struct hosts_file hosts;

    cr_assert_eq(write(fd, "192.0.2.1 a\n", 12), 12);
    hosts_file_init(&hosts, path);
    hosts_file_refresh(&hosts, 0);
    cr_expect_eq(hosts_file_find(&hosts, STR("a"), true, true, addrs), 1);
    cr_assert_eq(write(fd, "192.0.2.2 a\n", 12), 12);
    mem_fail(1, UINT64_MAX);
    hosts_file_refresh(&hosts, 5000);
    mem_fail(0, 0);
    cr_expect_eq(hosts_file_find(&hosts, STR("a"), true, true, addrs), 1);
    hosts_file_refresh(&hosts, 10000);
    cr_expect_eq(hosts_file_find(&hosts, STR("a"), true, true, addrs), 2);
    hosts_file_deinit(&hosts);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(unlink(path), 0);
}
#endif
