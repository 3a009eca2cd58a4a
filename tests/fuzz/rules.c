// SPDX-License-Identifier: MIT

/*
 * The rule reader: each line of the input is a rule. Whatever it holds, it is read or every fault
 * is told in one line; what was read and is written out again reads as the same; and the lines
 * together make a table whose indexes miss no line that a look at each would find.
 */

#include <string.h>

#include "base/arena.h"
#include "base/host.h"
#include "base/text.h"
#include "conf/conf.h"
#include "fuzz.h"
#include "policy/cover.h"
#include "policy/match.h"
#include "policy/policy.h"
#include "policy/rule.h"
#include "policy/table.h"

#define LINES_MAX 64
#define REQUESTS 16

static struct {
    struct arena_pool pool;
    struct arena arena;
    struct conf_messages messages;
    struct line lines[LINES_MAX];
    uint32_t count;
    uint64_t random;
} f;

static void check_messages(void)
{
    for (size_t i = 0; i < f.messages.count; i++) {
        for (const char *c = f.messages.items[i].text; *c; c++) {
            CHECK((unsigned char)*c >= ' ' && *c != 0x7f, "%s", f.messages.items[i].text);
        }
    }
}

static void put(void *arg, struct str text)
{
    fuzz_bytes_put(arg, text);
}

static bool parse(const char *text, struct rule *ret)
{
    const struct conf_rule rule = {.table = "access", .name = "a", .text = text, .dir = "/etc"};
    size_t errors = f.messages.error_count;

    CHECK(rule_parse(&rule, &f.arena, &f.messages, ret) == 0, "memory");
    return f.messages.error_count == errors;
}

/* The rule, written out, is the same rule. */
static void check_again(const char *text, const struct rule *rule)
{
    const struct conf_rule line = {.table = "access", .name = "a", .text = text, .dir = "/etc"};
    struct fuzz_bytes first = {0};
    struct fuzz_bytes second = {0};
    struct conf_rule again = line;
    struct rule read;

    policy_put_rule(&line, put, &first);
    fuzz_bytes_put(&first, str_make("", 1));
    again.text = first.ptr;
    CHECK(parse(again.text, &read), "own spelling %s", again.text);
    CHECK(read.condition_count == rule->condition_count, "own spelling %s", again.text);
    for (size_t i = 0; i < read.condition_count; i++) {
        CHECK(read.conditions[i].kind == rule->conditions[i].kind &&
                  read.conditions[i].negated == rule->conditions[i].negated,
              "own spelling %s", again.text);
    }
    policy_put_rule(&again, put, &second);
    fuzz_bytes_put(&second, str_make("", 1));
    CHECK(strcmp(first.ptr, second.ptr) == 0, "%s and then %s", first.ptr, second.ptr);
    free(first.ptr);
    free(second.ptr);
}

/* Sorted, whole, and of the order in which they are judged. */
static void check_rule(const struct rule *rule)
{
    for (size_t i = 0; i < rule->condition_count; i++) {
        const struct rule_condition *condition = &rule->conditions[i];

        CHECK(i == 0 || rule->conditions[i - 1].kind < condition->kind, "order");
        CHECK(condition->text.len > 0 || condition->kind == RULE_TO, "text");
        if (condition->kind == RULE_PORT) {
            for (size_t j = 0; j < condition->ports.count; j++) {
                const struct rule_ports *ports = &condition->ports.items[j];

                CHECK(ports->first > 0 && ports->first <= ports->last, "ports");
                CHECK(j == 0 || ports[-1].last + 1 < ports->first, "ports");
            }
        }
    }
}

static void add_line(struct str text)
{
    struct str kept = arena_copy(&f.arena, str_make(text.ptr, text.len));
    char *line = arena_alloc_bytes(&f.arena, text.len + 1);
    struct rule rule = {0};

    CHECK(kept.ptr && line, "memory");
    memcpy(line, text.ptr, text.len);
    line[text.len] = '\0';
    if (!parse(line, &rule)) {
        return;
    }
    check_rule(&rule);
    check_again(line, &rule);
    if (f.count < LINES_MAX && !rule_find(&rule, RULE_HOSTS)) { /* its lists are not loaded */
        f.lines[f.count++] = (struct line){
            .text = text, .action = (enum line_action)fuzz_random(&f.random, 3), .rule = rule};
    }
}

/* An address from one of the lines, or near it. */
static struct addr draw_addr(void)
{
    const struct rule *rule = &f.lines[fuzz_random(&f.random, f.count)].rule;
    const struct rule_condition *from = rule_find(rule, RULE_FROM);
    const struct rule_condition *to = rule_find(rule, RULE_TO);
    struct addr addr = addr_ip4(10, 0, 0, 1, 0);

    if (from && from->from.net_count > 0) {
        addr = from->from.nets[fuzz_random(&f.random, from->from.net_count)].addr;
    } else if (to && to->to.only.net_count > 0) {
        addr = to->to.only.nets[fuzz_random(&f.random, to->to.only.net_count)].addr;
    }
    if (fuzz_random(&f.random, 2) == 0) {
        addr.bytes[fuzz_random(&f.random, addr.kind == ADDR_IP4 ? 4 : 16)] ^=
            (uint8_t)(1U << fuzz_random(&f.random, 8));
    }
    return addr;
}

/* A host that one of the lines may mean. */
static void draw_host(struct host *ret)
{
    const struct rule_condition *host =
        rule_find(&f.lines[fuzz_random(&f.random, f.count)].rule, RULE_HOST);
    char buf[HOST_NAME_MAX_BYTES + 8];
    struct text text = TEXT_OVER(buf);
    struct str name = STR("a.example");

    if (host) {
        name = host->hosts.items[fuzz_random(&f.random, host->hosts.count)].name;
    }
    text_puts(&text, fuzz_random(&f.random, 2) == 0 ? "x." : "");
    for (size_t i = 0; i < name.len; i++) {
        text_char(&text, name.ptr[i] == '*' ? 'b' : name.ptr[i]);
    }
    if (host_parse(text_str(&text), ret) != 0) {
        CHECK(host_parse(STR("a"), ret) == 0, "a");
    }
}

static void check_request(const struct table *table)
{
    struct host host;
    const struct policy_facts facts = {
        .stage = fuzz_random(&f.random, 2) == 0 ? POLICY_REQUEST : POLICY_ADDRESS,
        .client = draw_addr(),
        .listener = STR("lan"),
        .method = STR("GET"),
        .host = &host,
        .port = (uint16_t)(1 + fuzz_random(&f.random, fuzz_random(&f.random, 2) ? 100 : 65535)),
        .user = fuzz_random(&f.random, 2) == 0 ? STR("") : STR("bob"),
        .time = {true, (unsigned char)fuzz_random(&f.random, 7),
                 (unsigned short)fuzz_random(&f.random, 1440)},
        .address = draw_addr(),
    };
    struct match_view view;
    struct match_walk walk;
    uint32_t line;
    uint32_t next = 0;

    draw_host(&host);
    match_view_init(&view, table, &facts);
    match_walk_init(&walk, &view);
    while (match_walk_next(&walk, &line)) {
        CHECK(line >= next && line < table->count, "order");
        for (; next < line; next++) {
            unsigned state = match_line(&view, next);

            CHECK(state == MATCH_NO || ((state & POLICY_NEEDS_ADDRESS) != 0 &&
                                        table->lines[next].action != LINE_ALLOW),
                  "missed %.*s", STR_ARG(table->lines[next].text));
        }
        next = line + 1;
    }
    for (; next < table->count; next++) {
        unsigned state = match_line(&view, next);

        CHECK(state == MATCH_NO ||
                  ((state & POLICY_NEEDS_ADDRESS) != 0 && table->lines[next].action != LINE_ALLOW),
              "missed %.*s", STR_ARG(table->lines[next].text));
    }
}

struct covered {
    const struct line *by;
    bool save_inner;
};

/* A line that another is said to cover is never yes where that one is not. */
static void check_covered(const struct table *table, const struct covered *covered)
{
    struct host host;
    const struct policy_facts facts = {
        .stage = POLICY_ADDRESS,
        .client = draw_addr(),
        .listener = STR("lan"),
        .method = STR("GET"),
        .host = &host,
        .port = (uint16_t)(1 + fuzz_random(&f.random, 100)),
        .user = STR("bob"),
        .time = {true, 2, 700},
        .address = draw_addr(),
    };
    struct match_view view;

    draw_host(&host);
    match_view_init(&view, table, &facts);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct line *by = covered[i].by;

        if (by && (view.form_count == 1 || !covered[i].save_inner) &&
            match_line(&view, i) == MATCH_YES) {
            CHECK(match_line(&view, (uint32_t)(by - table->lines)) == MATCH_YES,
                  "%.*s is no, and %.*s yes", STR_ARG(by->text), STR_ARG(table->lines[i].text));
        }
    }
}

static void check_table(void)
{
    struct table table;
    struct covered covered[LINES_MAX];
    struct cover cover = {.left = 100000};

    CHECK(table_init(&table, f.lines, f.count, &f.arena) == 0, "memory");
    cover.table = &table;
    for (uint32_t i = 0; i < f.count; i++) {
        covered[i].save_inner = false;
        covered[i].by = cover_find(&cover, i, &covered[i].save_inner);
    }
    for (unsigned i = 0; i < REQUESTS; i++) {
        check_request(&table);
        check_covered(&table, covered);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make((const char *)data, size);

    arena_pool_init(&f.pool, NULL, NULL);
    arena_init(&f.arena, &f.pool);
    f.count = 0;
    f.random = fuzz_hash(data, size);
    while (rest.len > 0) {
        size_t end = str_find(rest, '\n');
        struct str line = str_head(rest, end);

        rest = str_from(rest, end + 1);
        if (!str_has(line, '\0')) {
            add_line(line);
        }
    }
    if (f.count > 0) {
        check_table();
    }
    check_messages();
    conf_messages_deinit(&f.messages);
    arena_reset(&f.arena);
    return 0;
}
