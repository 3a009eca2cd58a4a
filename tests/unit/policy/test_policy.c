// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "policy/policy.h"

static struct policy *policy;

static void set_up(void)
{
    cr_assert_eq(policy_new(NULL, &policy), 0);
}

static void tear_down(void)
{
    policy_free(policy);
}

TestSuite(policy, .init = set_up, .fini = tear_down);

static struct addr ip_port(const char *text)
{
    struct addr addr = {0};

    cr_assert(addr_parse_ip_port(str_of(text), &addr), "%s", text);
    return addr;
}

static struct policy_verdict decide(enum policy_stage stage, struct addr client,
                                    const char *address, const char *own)
{
    struct addr listeners[2] = {{0}, ip_port("192.0.2.7:1")};
    struct policy_facts facts = {
        .stage = stage, .client = client, .method = STR("GET"), .own_addresses = listeners};
    struct policy_verdict verdict = {0};

    if (address) {
        facts.address = ip_port(address);
    }
    if (own) {
        listeners[0] = ip_port(own);
        facts.own_address_count = 2;
    }
    policy_decide(policy, &facts, &verdict);
    return verdict;
}

static void expect_verdict(struct policy_verdict got, enum policy_action action, const char *rule,
                           const char *what)
{
    cr_expect_eq(got.action, action, "%s", what);
    cr_expect(str_eq(got.rule, str_of(rule)), "%s: %.*s", what, STR_ARG(got.rule));
    cr_expect_eq(got.details.len > 0, action == POLICY_DENY, "%s", what);
}

Test(policy, fresh_start_serves_this_machine_alone)
{
    static const struct {
        const char *client; /* NULL: of a unix socket */
        bool served;
    } rows[] = {
        {"127.0.0.1:5", true},
        {"127.9.9.9:5", true},
        {"[::1]:5", true},
        {"[::ffff:127.0.0.1]:5", true},
        {NULL, true},
        {"10.0.0.1:5", false},
        {"192.168.1.1:5", false},
        {"0.0.0.0:5", false},
        {"[fe80::1]:5", false},
        {"8.8.8.8:5", false},
        {"[2001:db8::1]:5", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *what = rows[i].client ? rows[i].client : "unix";
        struct addr client =
            rows[i].client ? ip_port(what) : (struct addr){.kind = ADDR_UNIX, .uid = 1000};
        enum policy_action early = rows[i].served ? POLICY_OPEN : POLICY_DENY;
        enum policy_action late = rows[i].served ? POLICY_ALLOW : POLICY_DENY;
        const char *refusal = rows[i].served ? "" : "builtin:default";
        const char *rule = rows[i].served ? "local" : "builtin:default";

        expect_verdict(decide(POLICY_CONNECTION, client, NULL, NULL), early, refusal, what);
        expect_verdict(decide(POLICY_REQUEST, client, NULL, NULL), early, refusal, what);
        expect_verdict(decide(POLICY_ADDRESS, client, "8.8.8.8:80", NULL), late, rule, what);
        expect_verdict(decide(POLICY_HELLO, client, "8.8.8.8:80", NULL), late, rule, what);
    }
}

Test(policy, unknown_client_is_refused)
{
    expect_verdict(decide(POLICY_CONNECTION, (struct addr){0}, NULL, NULL), POLICY_DENY,
                   "builtin:default", "no address");
}

Test(policy, local_rule_reaches_any_address)
{
    static const char *const rows[] = {"10.0.0.1:80", "127.0.0.1:80", "169.254.169.254:80",
                                       "[64:ff9b::a00:1]:80", "[fe80::1]:80"};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect_verdict(decide(POLICY_ADDRESS, ip_port("127.0.0.1:5"), rows[i], NULL), POLICY_ALLOW,
                       "local", rows[i]);
    }
}

/* The listeners are `own` and 192.0.2.7:1. */
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
        {"0.0.0.0:8080", "192.0.2.8:8080", false},
        {"0.0.0.0:8080", "127.0.0.1:80", false},
        {"[::]:8080", "[::1]:8080", true},
        {"[::]:8080", "127.0.0.1:8080", true},
        {"[::]:8080", "192.0.2.7:8080", true},
        {"[::]:8080", "[2001:db8::1]:8080", false},
        /* the IPv4 address inside */
        {"10.0.0.1:8080", "[::ffff:10.0.0.1]:8080", true},
        {"10.0.0.1:8080", "[64:ff9b::10.0.0.1]:8080", true},
        {"10.0.0.1:8080", "[64:ff9b:1::10.0.0.1]:8080", true},
        {"10.0.0.1:8080", "[2002:a00:1::1]:8080", true},
        {"10.0.0.1:8080", "[2001:0:1::f5ff:fffe]:8080", true},
        {"10.0.0.1:8080", "[64:ff9b::10.0.0.1]:80", false},
        {"0.0.0.0:8080", "[::ffff:127.0.0.1]:8080", true},
        {"0.0.0.0:8080", "[64:ff9b::127.0.0.1]:8080", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char what[100];
        struct text text = TEXT_OVER(what);

        text_printf(&text, "%s to %s", rows[i].own, rows[i].address);
        expect_verdict(decide(POLICY_ADDRESS, ip_port("127.0.0.1:5"), rows[i].address, rows[i].own),
                       rows[i].loop ? POLICY_DENY : POLICY_ALLOW,
                       rows[i].loop ? "builtin:loop" : "local", text_cstr(&text));
    }
}

Test(policy, own_via_is_a_loop_before_every_rule)
{
    static const char *const clients[] = {"127.0.0.1:5", "10.0.0.1:5"};

    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        struct policy_facts facts = {
            .stage = POLICY_REQUEST, .client = ip_port(clients[i]), .own_via = true};
        struct policy_verdict verdict;

        policy_decide(policy, &facts, &verdict);
        expect_verdict(verdict, POLICY_DENY, "builtin:loop", clients[i]);
    }
}
