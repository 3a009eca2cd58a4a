// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "policy/hits.h"
#include "policy/policy.h"

#define WORKERS 3

/* A policy of some lines, and its counters. */
struct world {
    struct conf *conf;
    struct policy *policy;
    struct hits *hits;
};

static void open_world(struct world *world, const struct world *previous, const char *const *rules,
                       size_t count)
{
    const struct conf_load_options options = {
        .path = "/dev/null", .overrides = rules, .override_count = count};
    struct conf_messages messages = {0};

    cr_assert_eq(conf_read(&options, &world->conf, &messages), 0);
    cr_assert_eq(policy_new(world->conf, NULL, &messages, &world->policy), 0);
    cr_assert_eq(messages.error_count, 0);
    conf_messages_deinit(&messages);
    cr_assert_eq(hits_new(world->policy, previous ? previous->hits : NULL, WORKERS, &world->hits),
                 0);
}

#define OPEN(world, previous, ...)                                                                 \
    open_world(world, previous, (const char *[]){__VA_ARGS__},                                     \
               sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

static void close_world(struct world *world)
{
    hits_free(world->hits);
    policy_free(world->policy);
    conf_free(world->conf);
}

static uint32_t row_of(const struct world *world, struct str name)
{
    for (uint32_t i = 0; i < policy_row_count(world->policy); i++) {
        struct policy_line line;

        policy_row(world->policy, i, &line);
        if (str_eq(line.name, name)) {
            return i;
        }
    }
    cr_assert_fail("no row %.*s", STR_ARG(name));
    return 0;
}

static uint64_t sum(const struct world *world, struct str name)
{
    return hits_sum(world->hits, row_of(world, name));
}

Test(hits, rows_are_the_builtins_and_the_lines_in_their_order)
{
    struct world world;
    struct policy_line line;

    OPEN(&world, NULL, "access.a=deny port 1", "access.b=allow");
    cr_assert_eq(policy_row_count(world.policy), POLICY_BUILTIN_COUNT + 2);
    cr_expect_eq(row_of(&world, STR("builtin:loop")), POLICY_BUILTIN_LOOP);
    cr_expect_eq(row_of(&world, STR("builtin:default")), POLICY_BUILTIN_DEFAULT);
    cr_expect_eq(row_of(&world, STR("builtin:private-address")), POLICY_BUILTIN_PRIVATE_ADDRESS);
    cr_expect_eq(row_of(&world, STR("a")), POLICY_BUILTIN_COUNT);
    cr_expect_eq(row_of(&world, STR("b")), POLICY_BUILTIN_COUNT + 1);
    policy_row(world.policy, row_of(&world, STR("a")), &line);
    cr_expect(str_eq(line.text, STR("deny port 1")));
    cr_expect(str_eq(line.action, STR("deny")));
    close_world(&world);
}

Test(hits, a_verdict_names_the_row_that_made_it)
{
    struct world world;
    struct policy_verdict verdict;
    struct policy_facts facts = {.stage = POLICY_ADDRESS,
                                 .client = addr_ip4(10, 0, 0, 1, 0),
                                 .address = addr_ip4(8, 8, 8, 8, 1),
                                 .port = 1};
    struct host host = {0};

    cr_assert_eq(host_parse(STR("a.example"), &host), 0);
    facts.host = &host;
    OPEN(&world, NULL, "access.r=report port 1", "access.a=deny port 1", "access.b=allow port 2");
    policy_decide(world.policy, &facts, &verdict);
    cr_expect_eq(verdict.row, row_of(&world, STR("a")));
    facts.port = facts.address.port = 2;
    policy_decide(world.policy, &facts, &verdict);
    cr_expect_eq(verdict.row, row_of(&world, STR("b")));
    facts.address = addr_ip4(10, 1, 1, 1, 2);
    policy_decide(world.policy, &facts, &verdict);
    cr_expect_eq(verdict.row, POLICY_BUILTIN_PRIVATE_ADDRESS);
    facts.port = facts.address.port = 3;
    policy_decide(world.policy, &facts, &verdict);
    cr_expect_eq(verdict.row, POLICY_BUILTIN_DEFAULT);
    facts.own_via = true;
    policy_decide(world.policy, &facts, &verdict);
    cr_expect_eq(verdict.row, POLICY_BUILTIN_LOOP);
    close_world(&world);
}

Test(hits, sums_up_over_the_workers)
{
    struct world world;

    OPEN(&world, NULL, "access.a=deny port 1", "access.b=allow");
    for (size_t i = 0; i < WORKERS; i++) {
        hits_count(world.hits, i, row_of(&world, STR("b")));
    }
    hits_count_named(world.hits, 1, STR("b"));
    hits_count_named(world.hits, 2, STR("builtin:default"));
    hits_count_named(world.hits, 2, STR("proto:tls"));
    hits_count_named(world.hits, 2, STR(""));
    cr_expect_eq(sum(&world, STR("a")), 0);
    cr_expect_eq(sum(&world, STR("b")), WORKERS + 1);
    cr_expect_eq(sum(&world, STR("builtin:default")), 1);
    close_world(&world);
}

Test(hits, are_carried_by_name_as_each_worker_goes_over)
{
    struct world old;
    struct world new;

    OPEN(&old, NULL, "access.a=deny port 1", "access.b=allow");
    for (size_t i = 0; i < WORKERS; i++) {
        hits_count_named(old.hits, i, STR("a"));
        hits_count_named(old.hits, i, STR("b"));
        hits_count_named(old.hits, i, STR("builtin:loop"));
    }
    OPEN(&new, &old, "access.b=allow port 80", "access.c=deny port 1", "access.a=deny");
    cr_expect_eq(sum(&new, STR("a")), 0);
    hits_carry(new.hits, old.hits, 0);
    cr_expect_eq(sum(&new, STR("a")), 1);
    hits_count_named(old.hits, 1, STR("a"));
    hits_carry(new.hits, old.hits, 1);
    hits_carry(new.hits, old.hits, 2);
    close_world(&old);
    cr_expect_eq(sum(&new, STR("a")), WORKERS + 1);
    cr_expect_eq(sum(&new, STR("b")), WORKERS);
    cr_expect_eq(sum(&new, STR("c")), 0);
    cr_expect_eq(sum(&new, STR("builtin:loop")), WORKERS);
    close_world(&new);
}
