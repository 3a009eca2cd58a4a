// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../faults.h"
#include "base/text.h"
#include "conf/args.h"
#include "conf/conf.h"
#include "policy/snapshot.h"
#include "server/explain.h"

static struct snapshot *snapshot;
static struct explain_question question;
static struct explain_answer answer;
static char error[512];
static char *shown;
static size_t shown_len;

static const char *const overrides[] = {
    "listen lan.address=10.1.1.1:3128",
    "listen all.address=*:3129",
    "access.ads=deny host ads.example",
    "access.local=allow from loopback,unix to any",
    "access.office=allow from 10.0.0.0/8 port 80,443",
    "access.late=allow from 192.0.2.0/24 time 20:00-22:00",
    "access.weekend=allow from 192.0.2.0/24 time sun",
};

static void set_up(void)
{
    const struct conf_load_options options = {
        .path = "/dev/null", .overrides = overrides, .override_count = ARRAY_LEN(overrides)};
    struct conf_messages messages = {0};

    cr_assert_eq(snapshot_load(&options, NULL, &snapshot, &messages), 0, "%s",
                 messages.count > 0 ? messages.items[0].text : "");
    conf_messages_deinit(&messages);
}

static void tear_down(void)
{
    snapshot_unref(snapshot);
    free(shown);
    shown = NULL;
}

TestSuite(explain, .init = set_up, .fini = tear_down);

static int read_words(struct args_explain words)
{
    error[0] = '\0';
    return explain_read(&words, snapshot, &question, error, sizeof(error));
}

/* The exit status. */
static int ask(struct args_explain words)
{
    cr_assert_eq(read_words(words), 0, "%s", error);
    cr_assert_eq(explain_ask(&question, snapshot, &answer, error, sizeof(error)), 0);
    return explain_status(&answer);
}

#define READ(...) read_words((struct args_explain){__VA_ARGS__})
#define ASK(...) ask((struct args_explain){__VA_ARGS__})

static void expect_rule(const char *rule)
{
    cr_expect(str_eq(answer.verdict.rule, str_of(rule)), "%.*s, not %s",
              STR_ARG(answer.verdict.rule), rule);
}

static const char *show(bool json)
{
    FILE *out;

    free(shown);
    shown = NULL;
    out = open_memstream(&shown, &shown_len);
    cr_assert_not_null(out);
    if (json) {
        explain_show_json(&question, &answer, out);
    } else {
        explain_show(&question, &answer, false, out);
    }
    cr_assert_eq(fclose(out), 0);
    return shown;
}

/* ---- Questions ---- */

Test(explain, a_target_is_read_as_the_proxy_reads_it)
{
    static const struct {
        const char *target, *method, *read_as, *host;
        uint16_t port;
    } rows[] = {
        {"http://a.example/x", NULL, "GET", "a.example", 80},
        {"http://A.example.:81", NULL, "GET", "a.example", 81},
        {"HTTP://a.example", "PUT", "PUT", "a.example", 80},
        {"https://a.example/x", NULL, "CONNECT", "a.example", 443},
        {"https://a.example:8443/", "CONNECT", "CONNECT", "a.example", 8443},
        {"a.example:443", NULL, "CONNECT", "a.example", 443},
        {"[2001:db8::1]:443", NULL, "CONNECT", "[2001:db8::1]", 443},
        {"2130706433:80", NULL, "CONNECT", "127.0.0.1", 80},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char buf[300];
        struct text host = TEXT_OVER(buf);

        cr_assert_eq(READ(.target = rows[i].target, .method = rows[i].method), 0, "%s", error);
        host_put(&host, &question.host);
        cr_expect(str_eq(question.method, str_of(rows[i].read_as)), "%s", rows[i].target);
        cr_expect_str_eq(text_cstr(&host), rows[i].host);
        cr_expect_eq(question.port, rows[i].port);
    }
}

Test(explain, words_that_mean_nothing_are_wrong_usage)
{
    static const struct args_explain rows[] = {
        {.target = "a.example"},
        {.target = ""},
        {.target = "/"},
        {.target = "ftp://a.example/"},
        {.target = "http://u:p@a.example/"},
        {.target = "https://u:p@a.example/"},
        {.target = "https://a.example:0/"},
        {.target = "https://"},
        {.target = "http://a.example/ b"},
        {.target = "a.example:443", .method = "GET"},
        {.target = "http://a.example/", .method = "CONNECT"},
        {.target = "https://a.example/", .method = "GET"},
        {.target = "http://a.example/", .method = "get"},
        {.target = "http://a.example/", .method = ""},
        {.target = "http://a.example/", .method = "FOO"},
        {.target = "http://a.example/", .method = "PRI"},
        {.target = "a.example:1", .client = ""},
        {.target = "a.example:1", .client = "10.0.0"},
        {.target = "a.example:1", .client = "10.0.0.1:80"},
        {.target = "a.example:1", .client = "unix:"},
        {.target = "a.example:1", .client = "unix:x"},
        {.target = "a.example:1", .client = "unix:4294967296"},
        {.target = "a.example:1", .listener = "wan"},
        {.target = "a.example:1", .listener = ""},
        {.target = "a.example:1", .user = ""},
        {.target = "a.example:1", .time = ""},
        {.target = "a.example:1", .time = "10:00"},
        {.target = "a.example:1", .time = "2026-11-22"},
        {.target = "a.example:1", .time = "2026-11-22 10:00:00"},
        {.target = "a.example:1", .time = "2026-11-22T10:00"},
        {.target = "a.example:1", .time = "2026-02-29 10:00"},
        {.target = "a.example:1", .time = "2026-13-01 10:00"},
        {.target = "a.example:1", .time = "2026-00-01 10:00"},
        {.target = "a.example:1", .time = "2026-11-22 24:00"},
        {.target = "a.example:1", .time = "2026-11-22 10:60"},
        {.target = "a.example:1", .resolve = ""},
        {.target = "a.example:1", .resolve = "10.0.0.1,"},
        {.target = "a.example:1", .resolve = "b.example"},
        {.target = "10.0.0.1:1", .resolve = "10.0.0.2"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_eq(read_words(rows[i]), EXPLAIN_WRONG, "row %zu: %s", i, rows[i].target);
        cr_expect(error[0] != '\0' && !strchr(error, '\n'), "row %zu: %s", i, error);
    }
}

Test(explain, as_many_addresses_as_a_name_can_have)
{
    char text[1024];
    struct text out = TEXT_OVER(text);

    for (int i = 0; i < EXPLAIN_MAX_ADDRS; i++) {
        text_printf(&out, "%s192.0.2.%d", i > 0 ? "," : "", i);
    }
    cr_assert_eq(READ(.target = "a.example:1", .resolve = text_cstr(&out)), 0);
    cr_expect_eq(question.addr_count, EXPLAIN_MAX_ADDRS);
    text_puts(&out, ",192.0.2.99");
    cr_expect_eq(READ(.target = "a.example:1", .resolve = text_cstr(&out)), EXPLAIN_WRONG);
}

Test(explain, what_is_not_told_is_this_machine_on_the_first_listener)
{
    cr_assert_eq(READ(.target = "a.example:1"), 0);
    cr_expect(addr_is_loopback(&question.client));
    cr_expect(str_eq(question.listener, STR("lan")));
    cr_expect_eq(question.user.len, 0);
    cr_expect_not(question.time.known);
    cr_expect_eq(question.addr_count, 0);
}

Test(explain, a_client_is_an_address_or_a_user_of_a_unix_socket)
{
    cr_assert_eq(READ(.target = "a.example:1", .client = "::ffff:10.0.0.1"), 0);
    cr_expect_eq(question.client.kind, ADDR_IP4);
    cr_assert_eq(READ(.target = "a.example:1", .client = "2001:db8::1"), 0);
    cr_expect_eq(question.client.kind, ADDR_IP6);
    cr_assert_eq(READ(.target = "a.example:1", .client = "unix:33"), 0);
    cr_expect(question.client.kind == ADDR_UNIX && question.client.uid == 33);
    cr_assert_eq(READ(.target = "a.example:1", .client = "unix"), 0);
    cr_expect(question.client.kind == ADDR_UNIX && question.client.uid == getuid());
}

Test(explain, a_date_has_its_weekday)
{
    static const struct {
        const char *time;
        int weekday, minute;
    } rows[] = {
        {"2026-11-22 00:00", 0, 0},
        {"2026-11-23 23:59", 1, 1439},
        {"2024-02-29 10:05", 4, 605},
        {"1999-12-31 12:00", 5, 720},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(READ(.target = "a.example:1", .time = rows[i].time), 0, "%s", error);
        cr_expect(question.time.known);
        cr_expect_eq(question.time.weekday, rows[i].weekday, "%s", rows[i].time);
        cr_expect_eq(question.time.minute, rows[i].minute, "%s", rows[i].time);
    }
}

/* ---- Answers ---- */

Test(explain, the_first_walk_ends_it_without_a_name)
{
    cr_expect_eq(ASK(.target = "http://ads.example/"), 1);
    cr_expect_eq(answer.end, EXPLAIN_BEFORE_DNS);
    expect_rule("ads");
    cr_expect_eq(answer.addr_count, 0);
    cr_expect(answer.has_nearest);
    cr_expect(str_eq(answer.nearest.name, STR("local")));
}

Test(explain, each_address_has_its_verdict)
{
    cr_expect_eq(
        ASK(.target = "http://a.example/", .client = "10.0.0.9", .resolve = "10.0.0.7,8.8.8.8"), 0);
    cr_expect_eq(answer.end, EXPLAIN_JUDGED);
    expect_rule("office");
    cr_assert_eq(answer.addr_count, 2);
    cr_expect_eq(answer.addrs[0].verdict.action, POLICY_DENY);
    cr_expect_eq(answer.addrs[1].verdict.action, POLICY_ALLOW);
    cr_expect_eq(answer.addrs[1].addr.port, 80);
    cr_expect_not(answer.has_nearest);
    cr_expect_eq(ASK(.target = "http://a.example/", .client = "10.0.0.9", .resolve = "10.0.0.7"),
                 1);
    expect_rule("builtin:private-address");
}

Test(explain, the_answer_may_hang_on_the_time)
{
    cr_expect_eq(ASK(.target = "a.example:1", .client = "192.0.2.1", .resolve = "8.8.8.8"), 3);
    cr_expect_eq(ASK(.target = "a.example:1", .client = "192.0.2.1", .resolve = "8.8.8.8",
                     .time = "2026-11-23 20:00"),
                 0);
    expect_rule("late");
    cr_expect_eq(ASK(.target = "a.example:1", .client = "192.0.2.1", .resolve = "8.8.8.8",
                     .time = "2026-11-22 19:59"),
                 0);
    expect_rule("weekend");
    cr_expect_eq(ASK(.target = "a.example:1", .client = "192.0.2.1", .resolve = "8.8.8.8",
                     .time = "2026-11-23 19:59"),
                 1);
    expect_rule("builtin:default");
}

Test(explain, our_own_listeners_are_a_loop)
{
    cr_expect_eq(ASK(.target = "10.1.1.1:3128"), 1);
    expect_rule("builtin:loop");
    cr_expect_eq(ASK(.target = "127.0.0.1:3129"), 1);
    expect_rule("builtin:loop");
    cr_expect_eq(ASK(.target = "[::1]:3129"), 1);
    expect_rule("builtin:loop");
    cr_expect_eq(ASK(.target = "[::ffff:127.0.0.1]:3129"), 1);
    expect_rule("builtin:loop");
    cr_expect_eq(ASK(.target = "127.0.0.1:3128"), 0);
    expect_rule("local");
}

Test(explain, localhost_needs_no_name_server)
{
    cr_expect_eq(ASK(.target = "http://localhost/"), 0);
    cr_expect(answer.was_asked);
    cr_expect_eq(answer.dns, RESOLVE_OK);
    cr_expect(addr_is_loopback(&answer.addrs[0].addr));
}

/* ---- Shown ---- */

Test(explain, shows_a_person_what_decided_and_what_was_nearest)
{
    cr_expect_eq(
        ASK(.target = "http://a.example/", .client = "10.0.0.9", .resolve = "10.0.0.7,fd00::1"), 1);
    cr_expect_str_eq(
        show(false),
        "DENIED by builtin:private-address: rule office allows it to public addresses only\n"
        "  request     GET http://a.example/\n"
        "  client      10.0.0.9 on listener lan, without credentials\n"
        "  address     10.0.0.7  denied by builtin:private-address\n"
        "              fd00::1   denied by builtin:private-address\n"
        "  nearest     office at -o 5, but for 'to public'\n"
        "              allow from 10.0.0.0/8 port 80,443\n");
    cr_expect_eq(ASK(.target = "http://a.example/", .client = "10.0.0.9", .resolve = "8.8.8.8"), 0);
    cr_expect_str_eq(show(false), "ALLOWED by office at -o 5\n"
                                  "  request     GET http://a.example/\n"
                                  "  client      10.0.0.9 on listener lan, without credentials\n"
                                  "  address     8.8.8.8  allowed by office at -o 5\n");
}

Test(explain, says_how_much_more_stands_in_the_way)
{
    cr_expect_eq(
        ASK(.target = "http://a.example:8080/", .client = "10.0.0.9", .resolve = "10.0.0.7"), 1);
    cr_expect_not_null(strstr(show(false), "office at -o 5, but for 'port 80,443'\n"));
    cr_expect_eq(ASK(.target = "10.0.0.7:8080", .client = "10.0.0.9"), 1);
    cr_expect_not_null(strstr(show(false), "office at -o 5, but for 'port 80,443' and 1 more\n"));
}

Test(explain, colours_are_for_verdicts_only)
{
    FILE *out;

    cr_expect_eq(ASK(.target = "http://a.example/", .client = "10.0.0.9", .resolve = "8.8.8.8"), 0);
    out = open_memstream(&shown, &shown_len);
    explain_show(&question, &answer, true, out);
    cr_assert_eq(fclose(out), 0);
    cr_expect_not_null(strstr(shown, "\033[1;32mALLOWED\033[0m by office"));
    cr_expect_not_null(strstr(shown, "8.8.8.8  \033[1;32mallowed\033[0m by office"));
}

Test(explain, json_holds_the_same)
{
    cr_expect_eq(ASK(.target = "http://a.example/", .client = "10.0.0.9", .resolve = "10.0.0.7"),
                 1);
    cr_expect_str_eq(
        show(true),
        "{\"verdict\":\"deny\",\"rule\":\"builtin:private-address\",\"origin\":null,"
        "\"details\":\"rule office allows it to public addresses only\",\"missing\":null,"
        "\"method\":\"GET\",\"target\":\"http://a.example/\",\"host\":\"a.example\",\"port\":80,"
        "\"client\":\"10.0.0.9\",\"listener\":\"lan\",\"user\":null,\"time\":null,\"dns\":null,"
        "\"addresses\":[{\"address\":\"10.0.0.7\",\"verdict\":\"deny\","
        "\"rule\":\"builtin:private-address\",\"origin\":null,"
        "\"details\":\"rule office allows it to public addresses only\"}],\"would_deny\":[],"
        "\"nearest\":{\"rule\":\"office\",\"origin\":\"-o 5\","
        "\"text\":\"allow from 10.0.0.0/8 port 80,443\",\"answer\":\"no\","
        "\"failed\":\"to public\",\"failed_count\":1}}\n");
}

Test(explain, json_is_escaped_however_long_a_word_is)
{
    char user[1024];

    for (size_t i = 0; i < 300; i++) {
        memcpy(user + 3 * i, "\xe2\x82\xac", 3);
    }
    memcpy(user + 900, "\"\\\n", 4);
    cr_expect_eq(ASK(.target = "a.example:1", .user = user, .resolve = "8.8.8.8"), 0);
    (void)show(true);
    cr_expect_not_null(strstr(shown, "\\\"\\\\\\n\",\"time\""));
    cr_expect_null(strstr(shown, "\\u00"), "%s", shown);
}

/* ---- Memory ---- */

static void read_a_question(void)
{
    cr_assert_eq(READ(.target = "a.example:1", .resolve = "8.8.8.8"), 0);
}

static int ask_it(void)
{
    return explain_ask(&question, snapshot, &answer, error, sizeof(error));
}

Test(explain, every_allocation_may_fail)
{
    cr_expect_geq(fail_each_allocation(read_a_question, ask_it), 2);
}
