// SPDX-License-Identifier: MIT
#include "policy/policy.h"

#include <errno.h>

#include "base/mem.h"
#include "policy/match.h"

/* One compiled line of [access]; all of them allow. */
struct line {
    struct str name;
    struct match_addrs from;
    struct match_addrs to;
};

struct policy {
    const struct line *lines;
    size_t line_count;
};

/* What stands for a configuration without an [access] section: this machine alone is served. */
static const struct line builtin_lines[] = {
    {
        .name = {"local", sizeof("local") - 1},
        .from = {.classes = MATCH_LOOPBACK | MATCH_UNIX},
        .to = {.classes = MATCH_ANY},
    },
};

/* How a line stands to the facts: what cannot be known yet is open. Ordered: a line is as good as
 * the worst of its conditions. */
enum answer {
    ANSWER_NO,
    ANSWER_OPEN,
    ANSWER_YES,
};

int policy_new(UNUSED const struct conf *conf, struct policy **ret)
{
    struct policy *policy = mem_zalloc(sizeof(*policy));

    if (!policy) {
        return -ENOMEM;
    }
    policy->lines = builtin_lines;
    policy->line_count = ARRAY_LEN(builtin_lines);
    *ret = policy;
    return 0;
}

void policy_free(struct policy *policy)
{
    mem_free(policy);
}

static bool address_is_known(const struct policy_facts *facts)
{
    return facts->stage >= POLICY_ADDRESS;
}

static enum answer judge_from(const struct line *line, const struct policy_facts *facts)
{
    return match_addr(&line->from, &facts->client) ? ANSWER_YES : ANSWER_NO;
}

static enum answer judge_to(const struct line *line, const struct policy_facts *facts)
{
    if (!address_is_known(facts)) {
        return ANSWER_OPEN;
    }
    return match_addr_all(&line->to, &facts->address) ? ANSWER_YES : ANSWER_NO;
}

static enum answer judge_line(const struct line *line, const struct policy_facts *facts)
{
    enum answer from = judge_from(line, facts);
    enum answer to = judge_to(line, facts);

    return MIN(from, to);
}

/* The first line that is not no, or NULL. It ends both walks: the first, since an allow that may
 * yet become yes stands for asking the resolver; the second, since nothing is open any more. */
static const struct line *walk(const struct policy *policy, const struct policy_facts *facts)
{
    for (size_t i = 0; i < policy->line_count; i++) {
        if (judge_line(&policy->lines[i], facts) != ANSWER_NO) {
            return &policy->lines[i];
        }
    }
    return NULL;
}

static bool is_loop(const struct policy_facts *facts)
{
    return facts->own_via ||
           (address_is_known(facts) &&
            match_own(&facts->address, facts->own_addresses, facts->own_address_count));
}

static struct policy_verdict denied(struct str rule, struct str details)
{
    return (struct policy_verdict){.action = POLICY_DENY, .rule = rule, .details = details};
}

void policy_decide(const struct policy *policy, const struct policy_facts *facts,
                   struct policy_verdict *ret)
{
    const struct line *line;

    if (is_loop(facts)) {
        *ret = denied(STR("builtin:loop"),
                      facts->own_via ? STR("the request has been through this proxy already")
                                     : STR("the address and port are this proxy's own"));
        return;
    }
    line = walk(policy, facts);
    if (!line) {
        *ret = denied(STR("builtin:default"), STR("no rule allows it"));
        return;
    }
    *ret = (struct policy_verdict){.action = POLICY_OPEN};
    if (address_is_known(facts)) {
        *ret = (struct policy_verdict){.action = POLICY_ALLOW, .rule = line->name};
    }
}
