// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "conf/conf_state.h"
#include "conf/conf_value.h"

static struct conf_state state;
static struct conf conf;
static struct conf_listener listener;
static char why_buf[512];

static void setup(void)
{
    arena_pool_init(&state.pool, NULL, NULL);
    arena_init(&state.arena, &state.pool);
}

static void teardown(void)
{
    conf_value_clear(conf_key_find("listen", STR("address")), &listener);
    conf_value_clear(conf_key_find("dns", STR("servers")), &conf);
    conf_value_clear(conf_key_find("admin", STR("allow")), &conf);
    arena_reset(&state.arena);
}

TestSuite(conf_value, .init = setup, .fini = teardown);

static void *base_of(const struct conf_key *key)
{
    return strcmp(key->section, "listen") == 0 ? (void *)&listener : (void *)&conf;
}

/* NULL when the value was taken, else the reason why not. */
static const char *set(const char *section, const char *name, const char *value)
{
    const struct conf_key *key = conf_key_find(section, str_of(name));
    const struct conf_place place = {&state, "/dir", {"file", 1}};
    struct text why = TEXT_OVER(why_buf);
    int result;

    cr_assert_not_null(key, "%s.%s", section, name);
    result = conf_value_set(key, base_of(key), str_of(value), &place, &why);
    return result == 0 ? NULL : text_cstr(&why);
}

/* All items, separated as in the file. */
static const char *get(const struct conf_key *key)
{
    static char buf[CONF_VALUE_TEXT_MAX];
    struct text out = TEXT_OVER(buf);
    size_t items = conf_value_items(key, base_of(key));

    for (size_t i = 0; i < items; i++) {
        text_puts(&out, i > 0 ? ", " : "");
        conf_value_put(key, base_of(key), i, &out);
    }
    return text_cstr(&out);
}

#define EXPECT_GOOD(section, name, value, want)                                                    \
    do {                                                                                           \
        cr_assert_null(set(section, name, value), "%s: %s", value, why_buf);                       \
        cr_assert_str_eq(get(conf_key_find(section, STR(name))), want);                            \
    } while (0)
#define EXPECT_BAD(section, name, value, want)                                                     \
    do {                                                                                           \
        const char *why = set(section, name, value);                                               \
        cr_assert_not_null(why, "%s was taken", value);                                            \
        cr_assert_str_eq(why, want);                                                               \
    } while (0)

Test(conf_value, writes_every_default_as_it_reads_it)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];

        cr_assert_null(set(key->section, key->name, key->default_text), "%s.%s", key->section,
                       key->name);
        cr_assert_str_eq(get(key), key->default_text, "%s.%s is %s", key->section, key->name,
                         get(key));
    }
}

Test(conf_value, reads_counts)
{
    EXPECT_GOOD("server", "workers", "1024", "1024");
    EXPECT_GOOD("server", "workers", "auto", "auto");
    cr_assert_eq(conf.server.workers, CONF_AUTO);
    EXPECT_BAD("server", "workers", "0", "expected a number from 1 to 1024, or auto");
    EXPECT_BAD("server", "workers", "1025", "expected a number from 1 to 1024, or auto");
    EXPECT_BAD("server", "workers", "-1", "expected a number from 1 to 1024, or auto");
    EXPECT_BAD("server", "workers", "1 2", "expected a number from 1 to 1024, or auto");
    EXPECT_BAD("server", "workers", "99999999999999999999",
               "expected a number from 1 to 1024, or auto");
    EXPECT_BAD("server", "workers", "", "a value is missing");
    EXPECT_BAD("limits", "fields", "auto", "expected a number from 1 to 10000");
    EXPECT_GOOD("dns", "cache_entries", "0", "0");
}

Test(conf_value, reads_sizes)
{
    EXPECT_GOOD("limits", "head_bytes", "2048", "2K");
    EXPECT_GOOD("limits", "head_bytes", "5000", "5000");
    EXPECT_GOOD("limits", "head_bytes", "8k", "8K");
    cr_assert_eq(conf.limits.head_bytes, 8192);
    EXPECT_GOOD("limits", "body_bytes", "3G", "3G");
    cr_assert_eq(conf.limits.body_bytes, 3221225472);
    EXPECT_GOOD("limits", "body_bytes", "0", "0");
    EXPECT_GOOD("limits", "buffers", "auto", "auto");
    EXPECT_BAD("limits", "head_bytes", "0", "expected a size (K, M, G) from 1K to 1M");
    EXPECT_BAD("limits", "head_bytes", "2M", "expected a size (K, M, G) from 1K to 1M");
    EXPECT_BAD("limits", "head_bytes", "8KB", "expected a size (K, M, G) from 1K to 1M");
    EXPECT_BAD("limits", "head_bytes", "8 K", "expected a size (K, M, G) from 1K to 1M");
    EXPECT_BAD("limits", "head_bytes", "K", "expected a size (K, M, G) from 1K to 1M");
    EXPECT_BAD("limits", "head_bytes", "1.5K", "expected a size (K, M, G) from 1K to 1M");
    cr_assert_not_null(set("limits", "body_bytes", "18446744073709551615G"));
    cr_assert_not_null(set("limits", "body_bytes", "17179869185G"), "wraps around 64 bits");
}

Test(conf_value, reads_times)
{
    EXPECT_GOOD("timeouts", "header", "250ms", "250ms");
    EXPECT_GOOD("timeouts", "header", "90s", "90s");
    EXPECT_GOOD("timeouts", "header", "5m", "5m");
    cr_assert_eq(conf.timeouts.header_ms, 300000);
    EXPECT_GOOD("timeouts", "header", "7h", "7h");
    EXPECT_GOOD("timeouts", "header", "2d", "2d");
    EXPECT_GOOD("timeouts", "header", "90m", "90m");
    EXPECT_BAD("timeouts", "header", "15", "a time needs a unit: ms, s, m, h or d");
    EXPECT_BAD("timeouts", "header", "15x", "expected a time (ms, s, m, h, d) from 1ms to 365d");
    EXPECT_BAD("timeouts", "header", "15S", "expected a time (ms, s, m, h, d) from 1ms to 365d");
    cr_assert_not_null(set("timeouts", "header", "366d"));
    cr_assert_not_null(set("timeouts", "header", "213503982335d"), "wraps around 64 bits");
}

Test(conf_value, takes_zero_only_where_it_means_something)
{
    EXPECT_GOOD("timeouts", "exchange", "0", "0");
    EXPECT_GOOD("timeouts", "exchange", "0s", "0");
    EXPECT_GOOD("server", "drain_delay", "0", "0s");
    EXPECT_GOOD("server", "tcp_keepalive", "0", "0");
    EXPECT_BAD("timeouts", "header", "0", "expected a time (ms, s, m, h, d) from 1ms to 365d");
    EXPECT_BAD("timeouts", "header", "0s", "expected a time (ms, s, m, h, d) from 1ms to 365d");
    EXPECT_BAD("server", "tcp_keepalive", "1500ms", "only whole seconds can be set");
    EXPECT_BAD("server", "tcp_keepalive", "10h",
               "expected a time (ms, s, m, h, d) from 1s to 32767s, or 0");
}

Test(conf_value, reads_words)
{
    EXPECT_GOOD("server", "via", "off", "off");
    EXPECT_BAD("server", "via", "yes", "expected on or off");
    EXPECT_GOOD("server", "explain", "none", "none");
    cr_assert_eq(conf.server.explain, CONF_EXPLAIN_NONE);
    EXPECT_BAD("server", "explain", "all", "expected rule, class or none");
    EXPECT_BAD("log", "tunnels", "Both", "expected end or both");
    EXPECT_GOOD("listen", "forwarded", "x-forwarded-for", "x-forwarded-for");
    EXPECT_GOOD("listen", "mode", "600", "0600");
    EXPECT_BAD("listen", "mode", "0888", "expected octal permissions such as 0660");
    EXPECT_BAD("listen", "mode", "1777", "expected octal permissions such as 0660");
}

Test(conf_value, reads_names)
{
    EXPECT_GOOD("server", "name", "proxy-1.example", "proxy-1.example");
    cr_assert_not_null(set("server", "name", "a b"));
    cr_assert_not_null(set("server", "name", "1a"));
    cr_assert_not_null(set("server", "name", "a,b"));
    cr_assert_not_null(set("server", "name", ""));
    EXPECT_GOOD("server", "user", "nobody", "nobody");
    EXPECT_GOOD("server", "user", "", "");
    cr_assert_null(conf.server.user);
    cr_assert_not_null(set("server", "user", "a:b"));
}

Test(conf_value, makes_paths_absolute)
{
    EXPECT_GOOD("dns", "hosts", "/etc/hosts", "/etc/hosts");
    EXPECT_GOOD("dns", "hosts", "my/hosts", "/dir/my/hosts");
    EXPECT_BAD("dns", "hosts", "\"/etc/hosts\"", "a path is written without quotes");
    EXPECT_GOOD("log", "destination", "access.log", "/dir/access.log");
    EXPECT_GOOD("log", "destination", "stdout", "stdout");
    cr_assert_null(conf.log.path);
}

Test(conf_value, reads_every_kind_of_address)
{
    const struct conf_bind *b;

    EXPECT_GOOD("listen", "address",
                "10.0.0.1:1, [2001:DB8::1]:2,*:3 , unix:/run/x.sock, unix:y.sock, systemd",
                "10.0.0.1:1, [2001:db8::1]:2, *:3, unix:/run/x.sock, unix:/dir/y.sock, systemd");
    b = listener.binds;
    cr_assert_eq(listener.bind_count, 6);
    cr_assert(b[0].kind == CONF_BIND_IP && b[0].addr.kind == ADDR_IP4 && b[0].addr.port == 1);
    cr_assert(b[1].kind == CONF_BIND_IP && b[1].addr.kind == ADDR_IP6);
    cr_assert(b[2].kind == CONF_BIND_ANY && b[2].addr.port == 3);
    cr_assert(b[3].kind == CONF_BIND_UNIX);
    cr_assert(b[5].kind == CONF_BIND_SYSTEMD);
    cr_assert(!b[0].is_default);
}

Test(conf_value, takes_an_address_that_an_ipv6_one_stands_for)
{
    EXPECT_GOOD("listen", "address", "[::ffff:10.0.0.1]:1", "10.0.0.1:1");
    EXPECT_GOOD("admin", "address", "[::ffff:10.0.0.1]:1", "10.0.0.1:1");
}

Test(conf_value, takes_port_0_in_a_listener)
{
    EXPECT_GOOD("listen", "address", "127.0.0.1:0, *:0", "127.0.0.1:0, *:0");
}

Test(conf_value, adds_to_a_list)
{
    EXPECT_GOOD("listen", "address", "127.0.0.1:1", "127.0.0.1:1");
    EXPECT_GOOD("listen", "address", "127.0.0.1:2", "127.0.0.1:1, 127.0.0.1:2");
}

Test(conf_value, refuses_what_is_no_address)
{
    static const char expected[] = "expected IP:PORT, [IP6]:PORT, *:PORT, unix:/PATH or systemd";
    static const char *const bad[] = {
        "8080",         ":8080",    "localhost:80",  "127.0.0.1", "*:65536",
        "*:",           "*",        "1.2.3.4:99999", "::1:80",    "[::1]",
        "[1.2.3.4]:80", "127.1:80", "1.2.3.4:+1",    "Systemd",   "[fe80::1%lo]:1"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        EXPECT_BAD("listen", "address", bad[i], expected);
    }
    EXPECT_BAD("listen", "address", "*:1,,*:2", "an item of the list is empty");
    EXPECT_BAD("listen", "address", "*:1,", "an item of the list is empty");
    EXPECT_BAD("listen", "address", "unix:", "no usable path");
    cr_assert_not_null(strstr(set("listen", "address", "*:1, nonsense"), "(not nonsense)"));
}

Test(conf_value, refuses_a_unix_path_longer_than_the_kernel_takes)
{
    char value[200] = "unix:/";

    memset(value + 6, 'x', 106);
    cr_assert_null(set("listen", "address", value), "107 bytes fit");
    value[6 + 106] = 'x';
    EXPECT_BAD("listen", "address", value, "the path of a unix socket takes at most 107 bytes");
}

Test(conf_value, reads_dns_servers)
{
    EXPECT_GOOD("dns", "servers",
                "1.2.3.4, 1.2.3.4:54, 2001:db8::1, [2001:db8::2], [2001:db8::3]:5",
                "1.2.3.4:53, 1.2.3.4:54, [2001:db8::1]:53, [2001:db8::2]:53, [2001:db8::3]:5");
    EXPECT_GOOD("dns", "servers", "",
                "1.2.3.4:53, 1.2.3.4:54, [2001:db8::1]:53, [2001:db8::2]:53, [2001:db8::3]:5");
    EXPECT_BAD("dns", "servers", "1.2.3.4:0", "expected IP, IP:PORT or [IP6]:PORT");
    EXPECT_BAD("dns", "servers", "dns.example", "expected IP, IP:PORT or [IP6]:PORT");
    EXPECT_BAD("dns", "servers", "[1.2.3.4]", "expected IP, IP:PORT or [IP6]:PORT");
    EXPECT_BAD("dns", "servers", "[", "expected IP, IP:PORT or [IP6]:PORT");
}

Test(conf_value, reads_where_admin_listens)
{
    static const char expected[] = "expected unix:/PATH, IP:PORT, [IP6]:PORT, auto or off";

    EXPECT_GOOD("admin", "address", "off", "off");
    EXPECT_GOOD("admin", "address", "auto", "auto");
    EXPECT_GOOD("admin", "address", "unix:a.sock", "unix:/dir/a.sock");
    EXPECT_GOOD("admin", "address", "[::1]:9", "[::1]:9");
    EXPECT_BAD("admin", "address", "*:9", expected);
    EXPECT_BAD("admin", "address", "systemd", expected);
    EXPECT_BAD("admin", "address", "127.0.0.1:9, [::1]:9", expected);
    EXPECT_BAD("admin", "address", "unix:", "no usable path");
    cr_assert_str_eq(get(conf_key_find("admin", STR("address"))), "[::1]:9");
}

static bool allows(const char *ip)
{
    struct addr addr;

    cr_assert(addr_parse_ip(str_of(ip), &addr));
    return conf_addrs_have(conf.admin.allow, conf.admin.allow_count, &addr);
}

Test(conf_value, reads_who_may_ask_admin)
{
    EXPECT_GOOD("admin", "allow", "10.0.0.0/8, 2001:db8::1", "10.0.0.0/8, 2001:db8::1/128");
    cr_expect(allows("10.1.2.3"));
    cr_expect(allows("2001:db8::1"));
    cr_expect_not(allows("2001:db8::2"));
    cr_expect_not(allows("127.0.0.1"));
    EXPECT_GOOD("admin", "allow", "loopback, link-local, private",
                "10.0.0.0/8, 2001:db8::1/128, loopback, link-local, private");
    cr_expect(allows("127.9.9.9"));
    cr_expect(allows("::1"));
    cr_expect(allows("fe80::1"));
    cr_expect(allows("192.168.1.1"));
    cr_expect_not(allows("8.8.8.8"));
    cr_expect_null(set("admin", "allow", "any"));
    cr_expect(allows("8.8.8.8"));
    cr_expect_not_null(set("admin", "allow", "10.0.0.1/8"));
    cr_expect_not_null(set("admin", "allow", "public"));
    cr_expect_not_null(set("admin", "allow", "10.0.0.0/33"));
}

Test(conf_value, knows_what_cannot_stand_in_a_file)
{
    cr_assert(conf_value_is_plain(STR("a;b\tc \xc3\xa4")));
    cr_assert(!conf_value_is_plain(STR("a ;b")));
    cr_assert(!conf_value_is_plain(STR("a\nb")));
    cr_assert(!conf_value_is_plain(STR("a\0b")));
    cr_assert(!conf_value_is_plain(STR("a\x7f")));
}
