// SPDX-License-Identifier: MIT

/* What tests/data/policy.txt cannot say: the table of own listeners, explain, and rules written
 * out. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "conf/conf.h"
#include "policy/machine.h"
#include "policy/policy.h"

static char dir[] = "/tmp/test_policy.XXXXXX";
static struct conf *conf;
static struct conf_messages messages;
static struct policy *policy;

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void tear_down(void)
{
    char command[64];

    policy_free(policy);
    conf_free(conf);
    conf_messages_deinit(&messages);
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(policy, .init = set_up, .fini = tear_down);

static void load(const char *ini)
{
    const struct conf_load_options options = {.path = "v.ini"};
    FILE *file = fopen("v.ini", "w");

    cr_assert_not_null(file);
    (void)fputs(ini, file);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(conf_read(&options, &conf, &messages), 0);
    cr_assert_eq(policy_new(conf, NULL, &messages, &policy), 0);
    cr_assert_eq(messages.error_count, 0, "%s", messages.items[0].text);
}

static struct addr ip_port(const char *text)
{
    struct addr addr = {0};

    cr_assert(addr_parse_ip_port(str_of(text), &addr), "%s", text);
    return addr;
}

static struct host name(const char *text)
{
    struct host host = {0};

    cr_assert_eq(host_parse(str_of(text), &host), 0);
    return host;
}

/* The listeners are `own` and 192.0.2.7:1; the machine has 192.0.2.8, too. */
Test(policy, own_listeners_are_a_loop)
{
    static const struct {
        const char *own, *address;
        bool loop;
    } rows[] = {
        {"10.0.0.1:8080", "10.0.0.1:8080", true},
        {"10.0.0.1:8080", "10.0.0.1:80", false},
        {"10.0.0.1:8080", "10.0.0.2:8080", false},
        {"10.0.0.1:8080", "127.0.0.1:8080", false},
        {"127.0.0.1:8080", "127.0.0.1:8080", true},
        {"127.0.0.1:8080", "127.0.0.2:8080", false},
        {"127.0.0.1:8080", "0.0.0.0:8080", true},
        {"[::1]:8080", "[::1]:8080", true},
        {"[::1]:8080", "[::]:8080", true},
        {"10.0.0.1:8080", "0.0.0.0:8080", false},
        {"0.0.0.0:8080", "127.0.0.1:8080", true},
        {"0.0.0.0:8080", "127.200.1.1:8080", true},
        {"0.0.0.0:8080", "0.0.0.0:8080", true},
        {"0.0.0.0:8080", "192.0.2.7:8080", true},
        {"0.0.0.0:8080", "192.0.2.8:8080", true},
        {"0.0.0.0:8080", "192.0.2.9:8080", false},
        {"0.0.0.0:8080", "127.0.0.1:80", false},
        {"[::]:8080", "[::1]:8080", true},
        {"[::]:8080", "127.0.0.1:8080", true},
        {"[::]:8080", "192.0.2.7:8080", true},
        {"[::]:8080", "192.0.2.8:8080", true},
        {"[::]:8080", "[::ffff:192.0.2.8]:8080", true},
        {"[::]:8080", "[2001:db8::1]:8080", false},
        /* the IPv4 address inside */
        {"10.0.0.1:8080", "[::ffff:10.0.0.1]:8080", true},
        {"10.0.0.1:8080", "[64:ff9b::10.0.0.1]:8080", true},
        {"10.0.0.1:8080", "[64:ff9b:1::10.0.0.1]:8080", true},
        {"10.0.0.1:8080", "[64:ff9b:1:a00:0:100:808:808]:8080", true},
        {"10.0.0.1:8080", "[2002:a00:1::1]:8080", true},
        {"10.0.0.1:8080", "[2001:0:1::f5ff:fffe]:8080", true},
        {"10.0.0.1:8080", "[64:ff9b::10.0.0.1]:80", false},
        {"0.0.0.0:8080", "[::ffff:127.0.0.1]:8080", true},
        {"0.0.0.0:8080", "[64:ff9b::127.0.0.1]:8080", true},
    };
    const struct addr_net machine = {.addr = ip_port("192.0.2.8:0"), .bits = 32};
    struct machine_addrs *addrs = NULL;

    load("");
    cr_assert_eq(machine_addrs_new(&machine, 1, &addrs), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct addr listeners[] = {ip_port(rows[i].own), ip_port("192.0.2.7:1")};
        const struct host host = name("a.example");
        const struct policy_facts facts = {
            .stage = POLICY_ADDRESS,
            .client = ip_port("127.0.0.1:5"),
            .method = STR("GET"),
            .host = &host,
            .address = ip_port(rows[i].address),
            .machine = addrs,
            .own_addresses = listeners,
            .own_address_count = 2,
        };
        struct policy_verdict verdict;

        policy_decide(policy, &facts, &verdict);
        cr_expect_eq(verdict.action, rows[i].loop ? POLICY_DENY : POLICY_ALLOW, "%s to %s",
                     rows[i].own, rows[i].address);
        cr_expect(str_eq(verdict.rule, rows[i].loop ? STR("builtin:loop") : STR("local")));
    }
    machine_addrs_free(addrs);
}

Test(policy, sums_up_addresses)
{
    static const enum policy_action rows[][3] = {
        /* so far, next, together */
        {POLICY_DENY, POLICY_DENY, POLICY_DENY},
        {POLICY_DENY, POLICY_CHALLENGE, POLICY_CHALLENGE},
        {POLICY_CHALLENGE, POLICY_DENY, POLICY_CHALLENGE},
        {POLICY_CHALLENGE, POLICY_ALLOW, POLICY_ALLOW},
        {POLICY_ALLOW, POLICY_CHALLENGE, POLICY_ALLOW},
        {POLICY_DENY, POLICY_OPEN, POLICY_OPEN},
        {POLICY_OPEN, POLICY_ALLOW, POLICY_ALLOW},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy_verdict sum = {.action = rows[i][0], .rule = STR("first")};
        const struct policy_verdict next = {.action = rows[i][1], .rule = STR("next")};
        bool is_next = rows[i][2] != rows[i][0];

        policy_sum_up(&sum, &next);
        cr_expect_eq(sum.action, rows[i][2], "row %zu", i);
        cr_expect(str_eq(sum.rule, is_next ? STR("next") : STR("first")), "row %zu", i);
    }
}

Test(policy, bounds_the_reports_that_a_verdict_names)
{
    char ini[2048];
    struct text text = TEXT_OVER(ini);
    struct host host = name("a.example");
    const struct policy_facts facts = {.stage = POLICY_REQUEST, .host = &host};
    struct policy_verdict verdict;

    text_puts(&text, "[access]\n");
    for (unsigned i = 0; i < 2 * POLICY_REPORTS_MAX; i++) {
        text_printf(&text, "r%u = report\n", i);
    }
    load(text_cstr(&text));
    policy_decide(policy, &facts, &verdict);
    cr_expect_eq(verdict.would_deny_count, POLICY_REPORTS_MAX);
    cr_expect(str_eq(verdict.would_deny[POLICY_REPORTS_MAX - 1], STR("r7")));
}

/* A table of facts may leave things out. */
Test(policy, takes_empty_words_for_no_word)
{
    struct host host = name("a.example");
    const struct policy_facts facts = {.stage = POLICY_REQUEST, .host = &host};
    struct policy_verdict verdict;

    load("[listen lan]\naddress = 127.0.0.1:1\n[access]\na = deny listener lan\n"
         "b = deny method GET\nc = deny not method PUT\n");
    policy_decide(policy, &facts, &verdict);
    cr_expect(str_eq(verdict.rule, STR("c")));
}

Test(policy, knows_what_its_lines_need)
{
    load("[auth]\nusers = u\n[access]\na = allow user bob\n");
    cr_expect_eq(policy_needs(policy), POLICY_NEEDS_USER);
    policy_free(policy);
    conf_free(conf);
    load("[access]\na = allow time mon port 80\n");
    cr_expect_eq(policy_needs(policy), POLICY_NEEDS_TIME);
    policy_free(policy);
    conf_free(conf);
    load("[access]\na = allow port 80\n");
    cr_expect_eq(policy_needs(policy), 0);
}

/* ---- Explain ---- */

static const char explained[] =
    "[auth]\nusers = u\n[access]\n"
    "office = allow from 10.0.0.0/8   port 80,443 to 10.0.0.0/8 not to 10.1.0.0/16\n"
    "web    = allow  not port 25, 26 from 10.0.0.0/8\n"
    "ban    = deny host .bad.example\n"
    "watch  = report method CONNECT\n"
    "staff  = allow user bob, alice from 10.9.0.0/16\n";

static void explain(size_t index, const struct policy_facts *facts, enum policy_answer answer,
                    unsigned needs, const char *failed, size_t failed_count)
{
    struct policy_line line;

    policy_explain_line(policy, index, facts, &line);
    cr_expect_eq(line.answer, answer, "line %zu", index);
    cr_expect_eq(line.needs, needs, "line %zu", index);
    cr_expect(str_eq(line.failed, str_of(failed)), "line %zu: %.*s", index, STR_ARG(line.failed));
    cr_expect_eq(line.failed_count, failed_count, "line %zu", index);
}

Test(policy, explains_each_line)
{
    struct host host = name("www.bad.example");
    struct policy_facts facts = {
        .stage = POLICY_REQUEST,
        .client = ip_port("10.0.0.1:5"),
        .method = STR("GET"),
        .host = &host,
        .port = 80,
    };
    struct policy_line line;

    load(explained);
    cr_assert_eq(policy_line_count(policy), 5);
    policy_explain_line(policy, 0, &facts, &line);
    cr_expect(str_eq(line.name, STR("office")));
    cr_expect(str_eq(line.action, STR("allow")));
    cr_expect(str_starts(line.text, STR("allow from 10.0.0.0/8   port")));
    cr_expect_str_eq(line.origin.file, "v.ini");
    cr_expect_eq(line.origin.line, 4);
    policy_explain_line(policy, 2, &facts, &line);
    cr_expect(str_eq(line.action, STR("deny")));
    policy_explain_line(policy, 3, &facts, &line);
    cr_expect(str_eq(line.action, STR("report")));

    explain(0, &facts, POLICY_LINE_OPEN, POLICY_NEEDS_ADDRESS, "", 0);
    explain(1, &facts, POLICY_LINE_OPEN, POLICY_NEEDS_ADDRESS, "", 0);
    explain(2, &facts, POLICY_YES, 0, "", 0);
    explain(3, &facts, POLICY_NO, 0, "method CONNECT", 1);
    explain(4, &facts, POLICY_NO, 0, "from 10.9.0.0/16", 1);

    facts.stage = POLICY_ADDRESS;
    facts.address = ip_port("10.1.0.1:80");
    explain(0, &facts, POLICY_NO, 0, "not to 10.1.0.0/16", 1);
    explain(1, &facts, POLICY_NO, 0, "to public", 1);
    facts.address = ip_port("192.168.0.1:80");
    facts.port = 25;
    explain(0, &facts, POLICY_NO, 0, "port 80,443", 2);
    explain(1, &facts, POLICY_NO, 0, "not port 25, 26", 2);
    facts.port = 80;
    explain(0, &facts, POLICY_NO, 0, "to 10.0.0.0/8", 1);
    facts.address = ip_port("8.8.8.8:80");
    facts.client = ip_port("10.9.0.1:5");
    explain(4, &facts, POLICY_LINE_OPEN, POLICY_NEEDS_USER, "", 0);
    facts.user = STR("carol");
    explain(4, &facts, POLICY_NO, 0, "user bob, alice", 1);
}

Test(policy, finds_the_nearest_allow)
{
    struct host host = name("www.example");
    struct policy_facts facts = {
        .stage = POLICY_ADDRESS,
        .client = ip_port("10.0.0.1:5"),
        .method = STR("GET"),
        .host = &host,
        .port = 25,
        .address = ip_port("10.2.0.1:25"),
    };
    struct policy_line line;

    load(explained);
    cr_assert(policy_nearest_allow(policy, &facts, &line));
    cr_expect(str_eq(line.name, STR("office")), "%.*s", STR_ARG(line.name));
    cr_expect(str_eq(line.failed, STR("port 80,443")));
    facts.address = ip_port("8.8.8.8:25");
    cr_assert(policy_nearest_allow(policy, &facts, &line));
    cr_expect(str_eq(line.name, STR("web")), "%.*s", STR_ARG(line.name));
    cr_expect(str_eq(line.failed, STR("not port 25, 26")));
}

Test(policy, of_two_lines_that_of_the_client_is_nearer)
{
    struct host host = name("www.example");
    struct policy_facts facts = {.stage = POLICY_ADDRESS,
                                 .client = ip_port("10.0.0.1:5"),
                                 .method = STR("PUT"),
                                 .host = &host,
                                 .port = 25};
    struct policy_line line;

    facts.address = ip_port("8.8.8.8:25");
    load("[access]\nothers = allow from 192.0.2.1\nours = allow from 10.0.0.0/8 method GET port "
         "80\n");
    cr_assert(policy_nearest_allow(policy, &facts, &line));
    cr_expect(str_eq(line.name, STR("ours")), "%.*s", STR_ARG(line.name));
    cr_expect_eq(line.failed_count, 2);
    facts.client = ip_port("192.0.2.2:5");
    cr_assert(policy_nearest_allow(policy, &facts, &line));
    cr_expect(str_eq(line.name, STR("others")), "%.*s", STR_ARG(line.name));
}

Test(policy, of_lines_as_near_that_of_the_place_is_nearest)
{
    struct host host = name("www.example");
    const struct policy_facts facts = {.stage = POLICY_REQUEST,
                                       .client = ip_port("10.0.0.1:5"),
                                       .method = STR("CONNECT"),
                                       .host = &host,
                                       .port = 443};
    struct policy_line line;

    load("[access]\nintranet = allow from 10.0.0.0/8 to 10.0.0.0/8 host .corp.example port 443\n"
         "web = allow from 10.0.0.0/8 port 80\nlist = allow host a.example\n");
    cr_assert(policy_nearest_allow(policy, &facts, &line));
    cr_expect(str_eq(line.name, STR("web")), "%.*s", STR_ARG(line.name));
}

/* Whatever it is that a line says of the place. */
static void expect_same_place(const char *elsewhere)
{
    struct host host = name("www.example");
    const struct policy_facts facts = {.stage = POLICY_ADDRESS,
                                       .client = ip_port("10.0.0.1:5"),
                                       .method = STR("CONNECT"),
                                       .host = &host,
                                       .port = 443,
                                       .address = ip_port("9.9.9.9:443")};
    struct policy_line line;
    char ini[256];

    (void)snprintf(ini, sizeof(ini), "[access]\nelsewhere = allow %s\nweb = allow port 80\n",
                   elsewhere);
    load(ini);
    cr_assert(policy_nearest_allow(policy, &facts, &line));
    cr_expect(str_eq(line.name, STR("web")), "%s: %.*s", elsewhere, STR_ARG(line.name));
}

Test(policy, of_lines_as_near_one_for_another_host_is_not_nearest)
{
    expect_same_place("host .corp.example");
}

Test(policy, of_lines_as_near_one_for_listed_hosts_is_not_nearest)
{
    FILE *file = fopen("list", "w");

    cr_assert_not_null(file);
    (void)fputs("corp.example\n", file);
    cr_assert_eq(fclose(file), 0);
    expect_same_place("hosts list");
}

Test(policy, of_lines_as_near_one_for_other_addresses_is_not_nearest)
{
    expect_same_place("to 10.0.0.0/8");
}

Test(policy, of_lines_as_near_the_first_is_nearest)
{
    struct host host = name("www.example");
    const struct policy_facts facts = {.stage = POLICY_REQUEST,
                                       .client = ip_port("10.0.0.1:5"),
                                       .listener = STR("local"),
                                       .method = STR("GET"),
                                       .host = &host,
                                       .port = 25,
                                       .user = STR("bob")};
    struct policy_line line;

    load("[auth]\nusers = u\n[listen local]\naddress = *:1\n[listen lan]\naddress = *:2\n[access]\n"
         "user = allow user alice\nlistener = allow listener lan\nfirst = allow port 80\n"
         "second = allow port 81\nlast = deny\n");
    cr_assert(policy_nearest_allow(policy, &facts, &line));
    cr_expect(str_eq(line.name, STR("first")), "%.*s", STR_ARG(line.name));
}

/* What costs most is asked last: names and lists, behind addresses. */
Test(policy, explains_conditions_in_the_order_in_which_they_are_judged)
{
    struct host host = name("www.example");
    struct policy_facts facts = {.stage = POLICY_ADDRESS,
                                 .client = ip_port("10.0.0.1:5"),
                                 .method = STR("GET"),
                                 .host = &host,
                                 .port = 80,
                                 .address = ip_port("10.0.0.1:80")};

    load("[access]\na = allow host a.example\nb = allow host a.example method PUT from 10.0.0.2\n"
         "c = allow method PUT\nd = allow\n");
    explain(0, &facts, POLICY_NO, 0, "to public", 2);
    explain(1, &facts, POLICY_NO, 0, "method PUT", 4);
    explain(2, &facts, POLICY_NO, 0, "method PUT", 2);
    explain(3, &facts, POLICY_NO, 0, "to public", 1);
    facts.address = ip_port("8.8.8.8:80");
    explain(0, &facts, POLICY_NO, 0, "host a.example", 1);
}

Test(policy, has_no_nearest_allow_where_nothing_allows)
{
    const struct policy_facts facts = {.stage = POLICY_CONNECTION};
    struct policy_line line;

    load("[access]\na = deny\n");
    cr_expect_not(policy_nearest_allow(policy, &facts, &line));
}

/* ---- Rules written out ---- */

static void put_text(void *arg, struct str text)
{
    text_put(arg, text);
}

static void expect_written(const struct conf_rule *rule, const char *wanted)
{
    char buf[1024];
    struct text out = TEXT_OVER(buf);

    policy_put_rule(rule, put_text, &out);
    cr_expect_str_eq(text_cstr(&out), wanted);
}

Test(policy, writes_rules_with_absolute_paths)
{
    static const char *const rows[][2] = {
        {"deny hosts a.txt", "deny hosts /etc/v/a.txt"},
        {"deny  port 80 not hosts a.txt, /b.txt  from 10.0.0.1",
         "deny  port 80 not hosts /etc/v/a.txt,/b.txt  from 10.0.0.1"},
        {"deny hosts ../a.txt", "deny hosts /etc/v/../a.txt"},
        {"allow user hosts port 80", "allow user hosts port 80"},
        {"allow from loopback,unix to any", "allow from loopback,unix to any"},
        {"what is this", "what is this"},
        {"", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct conf_rule rule = {
            .table = "access", .name = "a", .text = rows[i][0], .dir = "/etc/v"};

        expect_written(&rule, rows[i][1]);
    }
    /* A directory that no rule could name. */
    expect_written(
        &(struct conf_rule){
            .table = "access", .name = "a", .text = "deny hosts a.txt", .dir = "/etc/my v"},
        "deny hosts a.txt");
}

/* ---- The size of things ---- */

/* A line with thousands of networks and names decides as one with few. */
Test(policy, takes_a_line_with_thousands_of_values)
{
    static char ini[140000];
    struct text text = TEXT_OVER(ini);
    struct host host;
    struct policy_facts facts = {.stage = POLICY_REQUEST, .host = &host, .port = 80};
    struct policy_verdict verdict;

    text_puts(&text, "[access]\nnets = deny from 10.0.0.0");
    for (unsigned i = 1; i < 5000; i++) {
        text_printf(&text, ",10.%u.%u.0", i / 256, i % 256);
    }
    text_puts(&text, "\nnames = deny host n0.example");
    for (unsigned i = 1; i < 3000; i++) {
        text_printf(&text, ",.n%u.example", i);
    }
    text_puts(&text, "\nrest = allow\n");
    cr_assert(!text.full);
    load(text_cstr(&text));
    host = name("a.n2999.example");
    facts.client = ip_port("10.19.134.0:1");
    policy_decide(policy, &facts, &verdict);
    cr_expect(str_eq(verdict.rule, STR("nets")));
    facts.client = ip_port("10.19.136.0:1");
    policy_decide(policy, &facts, &verdict);
    cr_expect(str_eq(verdict.rule, STR("names")));
    host = name("a.n3000.example");
    policy_decide(policy, &facts, &verdict);
    cr_expect_eq(verdict.action, POLICY_OPEN);
}
