// SPDX-License-Identifier: MIT

/* The indexes say what a look at each line would say: random tables, random requests. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "conf/conf.h"
#include "policy/match.h"
#include "policy/rule.h"
#include "policy/table.h"

#define LINES 40
#define ROUNDS 400
#define REQUESTS 40

static struct arena_pool pool;
static struct arena arena;
static struct conf_messages messages;

static void set_up(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    srand(1);
}

static void tear_down(void)
{
    conf_messages_deinit(&messages);
    arena_reset(&arena);
}

TestSuite(table, .init = set_up, .fini = tear_down);

static unsigned draw(unsigned count)
{
    return (unsigned)rand() % count;
}

static void put_name(struct text *out)
{
    static const char *const labels[] = {"a", "b", "c", "aa"};
    unsigned count = 1 + draw(3);

    for (unsigned i = 0; i < count; i++) {
        text_puts(out, i > 0 ? "." : "");
        text_puts(out, labels[draw(ARRAY_LEN(labels))]);
    }
}

static void put_pattern(struct text *out)
{
    static const char *const globs[] = {"*.a", "a*.b", "*a.a.b", "b.*", "*.*", "a.*.c", "*a*"};

    text_puts(out, draw(3) == 0 ? "." : "");
    if (draw(3) == 0) {
        text_puts(out, globs[draw(ARRAY_LEN(globs))]);
    } else {
        put_name(out);
    }
}

static void put_addr(struct text *out)
{
    static const char *const addrs[] = {"10.0.0.0",
                                        "10.0.0.1",
                                        "10.128.0.0",
                                        "11.0.0.0",
                                        "10.0.1.0",
                                        "fd00::",
                                        "fd00:0:1::1",
                                        "64:ff9b::a00:1",
                                        "64:ff9b:1:a00:1:100::",
                                        "fd80::",
                                        "::"};

    text_puts(out, addrs[draw(ARRAY_LEN(addrs))]);
}

static void put_net(struct text *out)
{
    static const unsigned bits[] = {0, 7, 8, 9, 23, 24, 31, 32};

    if (draw(8) == 0) {
        text_puts(out, "loopback");
        return;
    }
    put_addr(out);
    text_printf(out, "/%u", bits[draw(ARRAY_LEN(bits))]);
}

static void put_list(struct text *out, void (*put)(struct text *out))
{
    unsigned count = 1 + draw(4);

    for (unsigned i = 0; i < count; i++) {
        text_puts(out, i > 0 ? "," : "");
        put(out);
    }
}

static void put_condition(struct text *out, const char *word, void (*put)(struct text *out))
{
    if (draw(2) == 0) {
        text_puts(out, draw(4) == 0 ? " not " : " ");
        text_puts(out, word);
        text_char(out, ' ');
        put_list(out, put);
    }
}

static void put_ports(struct text *out)
{
    unsigned first = draw(2) == 0 ? 1 + draw(20) : 1 + draw(65535);
    unsigned last = draw(2) == 0 ? MIN(first + draw(20), 65535) : first + draw(65536 - first);

    text_printf(out, draw(3) == 0 ? "%u" : "%u-%u", first, last);
}

static struct line make_line(unsigned number)
{
    char buf[1024];
    struct text out = TEXT_OVER(buf);
    const char *text;
    struct conf_rule rule = {.table = "access", .name = "r", .dir = ""};
    struct line line = {.action = (enum line_action)draw(3)};

    (void)number;
    text_puts(&out, "x");
    put_condition(&out, "host", put_pattern);
    put_condition(&out, "from", put_net);
    put_condition(&out, "to", put_net);
    put_condition(&out, "port", put_ports);
    text = text_cstr(&out);
    rule.text = arena_copy(&arena, str_make(text, strlen(text) + 1)).ptr;
    cr_assert_eq(rule_parse(&rule, &arena, &messages, &line.rule), 0);
    cr_assert_eq(messages.error_count, 0, "%s: %s", text, messages.items[messages.count - 1].text);
    return line;
}

static struct addr make_addr(void)
{
    char buf[64];
    struct text out = TEXT_OVER(buf);
    struct addr addr = {0};

    put_addr(&out);
    cr_assert(addr_parse_ip(text_str(&out), &addr));
    addr.bytes[draw(addr.kind == ADDR_IP4 ? 4 : 16)] ^= (uint8_t)(1U << draw(8));
    return addr;
}

static bool naive_addrs(const struct rule_addrs *addrs, const struct addr *addr)
{
    if ((addrs->classes & RULE_CLASS_LOOPBACK) != 0 && addr_is_loopback(addr)) {
        return true;
    }
    for (size_t i = 0; i < addrs->net_count; i++) {
        if (addr_in_net(addr, &addrs->nets[i])) {
            return true;
        }
    }
    return false;
}

static bool naive_hosts(const struct rule_condition *condition, struct str name)
{
    for (size_t i = 0; i < condition->hosts.count; i++) {
        if (names_match(&condition->hosts.items[i], name)) {
            return true;
        }
    }
    return false;
}

static bool naive_form(const struct rule_condition *to, const struct addr *addr)
{
    return (!to->to.has_only || naive_addrs(&to->to.only, addr)) &&
           !(to->to.has_except && naive_addrs(&to->to.except, addr));
}

static bool naive_to(const struct line *line, const struct rule_condition *to,
                     const struct addr *addr)
{
    struct addr inner[ADDR_EMBEDDED_MAX];
    unsigned count = addr_embedded_ip4(addr, inner);
    bool all = naive_form(to, addr);
    bool any = all;

    for (unsigned i = 0; i < count; i++) {
        bool holds = naive_form(to, &inner[i]);

        all = all && holds;
        any = any || holds;
    }
    return line->action == LINE_ALLOW ? all : any;
}

static bool naive_ports(const struct rule_condition *condition, uint16_t port)
{
    for (size_t i = 0; i < condition->ports.count; i++) {
        if (condition->ports.items[i].first <= port && port <= condition->ports.items[i].last) {
            return true;
        }
    }
    return false;
}

/* The state of a line, from its conditions alone. */
static unsigned naive_line(const struct line *line, const struct policy_facts *facts)
{
    const struct rule_condition *host = rule_find(&line->rule, RULE_HOST);
    const struct rule_condition *from = rule_find(&line->rule, RULE_FROM);
    const struct rule_condition *to = rule_find(&line->rule, RULE_TO);
    const struct rule_condition *port = rule_find(&line->rule, RULE_PORT);
    bool is_open = to && facts->stage == POLICY_REQUEST;

    if ((host && naive_hosts(host, host_name(facts->host)) == host->negated) ||
        (from && naive_addrs(&from->from, &facts->client) == from->negated) ||
        (port && naive_ports(port, facts->port) == port->negated) ||
        (to && !is_open && !naive_to(line, to, &facts->address))) {
        return MATCH_NO;
    }
    return is_open ? POLICY_NEEDS_ADDRESS : MATCH_YES;
}

static void check_request(const struct table *table, const struct policy_facts *facts)
{
    struct match_view view;
    struct match_walk walk;
    uint32_t next = 0;
    uint32_t line;

    match_view_init(&view, table, facts);
    match_walk_init(&walk, &view);
    while (match_walk_next(&walk, &line)) {
        cr_assert(line >= next && line < table->count);
        for (; next < line; next++) { /* passed over */
            unsigned state = naive_line(&table->lines[next], facts);

            cr_assert(state == MATCH_NO ||
                      (state == POLICY_NEEDS_ADDRESS && table->lines[next].action != LINE_ALLOW));
        }
        next = line + 1;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        cr_assert_eq(match_line(&view, i), naive_line(&table->lines[i], facts));
    }
}

Test(table, finds_what_a_look_at_each_line_finds, .timeout = 60)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct line lines[LINES];
        struct table table;

        for (unsigned i = 0; i < LINES; i++) {
            lines[i] = make_line(i);
        }
        cr_assert_eq(table_init(&table, lines, LINES, &arena), 0);
        for (unsigned i = 0; i < REQUESTS; i++) {
            char buf[64];
            struct text text = TEXT_OVER(buf);
            struct host host = {0};
            struct policy_facts facts = {
                .stage = draw(2) == 0 ? POLICY_REQUEST : POLICY_ADDRESS,
                .client = make_addr(),
                .host = &host,
                .port = (uint16_t)(draw(2) == 0 ? draw(24) : draw(65536)),
                .address = make_addr(),
            };

            put_name(&text);
            cr_assert_eq(host_parse(text_str(&text), &host), 0);
            check_request(&table, &facts);
        }
        arena_reset(&arena);
        conf_messages_deinit(&messages);
    }
}

Test(table, takes_no_lines)
{
    const struct host host = {.name_len = 1, .name = "a"};
    const struct policy_facts facts = {.stage = POLICY_ADDRESS, .host = &host};
    struct match_view view;
    struct match_walk walk;
    struct table table;
    uint32_t line;

    cr_assert_eq(table_init(&table, NULL, 0, &arena), 0);
    match_view_init(&view, &table, &facts);
    match_walk_init(&walk, &view);
    cr_expect_not(match_walk_next(&walk, &line));
}

/* The deepest nesting that an address can have, and the longest name. */
Test(table, takes_the_most_hits_that_there_can_be)
{
    static char text[16384];
    struct text out = TEXT_OVER(text);
    struct conf_rule rule = {.table = "access", .name = "r", .dir = "", .text = text};
    struct line line = {.action = LINE_DENY};
    struct host host = {0};
    struct policy_facts facts = {.stage = POLICY_ADDRESS, .host = &host};
    struct match_view view;
    struct table table;

    text_puts(&out, "x from 2001:db8::1");
    for (unsigned bits = 0; bits <= 128; bits++) {
        text_printf(&out, ",2001:db8::1/%u", bits);
    }
    text_puts(&out, " to ");
    for (unsigned bits = 0; bits <= 32; bits++) {
        text_printf(&out, "1.1.1.1/%u,", bits);
    }
    for (unsigned bits = 0; bits < 96; bits++) {
        text_printf(&out, "::ffff:1.1.1.1/%u,", bits);
    }
    text_puts(&out, "::ffff:1.1.1.1/128 host a");
    for (unsigned i = 0; i < 21; i++) {
        text_puts(&out, ",");
        for (unsigned j = 0; j <= i; j++) {
            text_puts(&out, ".a");
        }
    }
    text_puts(&out, ",");
    for (unsigned i = 0; i < 127; i++) {
        text_puts(&out, i > 0 ? ".a" : "a");
    }
    (void)text_cstr(&out);
    cr_assert(!out.full);
    cr_assert_eq(rule_parse(&rule, &arena, &messages, &line.rule), 0);
    cr_assert_eq(messages.error_count, 0);
    cr_assert_eq(table_init(&table, &line, 1, &arena), 0);
    for (unsigned i = 0; i < 253; i++) {
        host.name[i] = i % 2 == 0 ? 'a' : '.';
    }
    host.name_len = 253;
    cr_assert(addr_parse_ip(STR("2001:db8::1"), &facts.client));
    cr_assert(addr_parse_ip(STR("::ffff:1.1.1.1"), &facts.address));
    match_view_init(&view, &table, &facts);
    cr_expect_eq(view.from.count, 129);
    cr_expect_eq(view.forms[0].to.count, 33 + 96);
    cr_expect_eq(view.names.sure.count, 22);
    cr_expect_eq(match_line(&view, 0), MATCH_YES);
}
