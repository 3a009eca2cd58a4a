// SPDX-License-Identifier: MIT
#include "server/explain.h"

#include <errno.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "policy/auth_users.h"
#include "policy/machine.h"
#include "policy/snapshot.h"

/* ---- Names to addresses ---- */

struct lookup {
    struct loop *loop;
    struct explain_answer *answer;
    bool done;
};

static void on_addresses(void *arg, const struct resolve_result *result)
{
    struct lookup *lookup = arg;
    struct explain_answer *answer = lookup->answer;

    for (size_t i = 0; i < result->addr_count && answer->addr_count < EXPLAIN_MAX_ADDRS; i++) {
        answer->addrs[answer->addr_count++].addr = result->addrs[i];
    }
    if (result->done) {
        lookup->done = true;
        answer->dns = answer->addr_count > 0 ? RESOLVE_OK : result->status;
        loop_stop(lookup->loop);
    }
}

static const struct resolve_events lookup_events = {.answer = on_addresses};

static int wait_for_answer(struct lookup *lookup, struct resolver *resolver,
                           const struct host *host)
{
    struct resolve_query *query;
    int r = resolver_ask(resolver, host, &lookup_events, lookup, &query);

    return r < 0 || lookup->done ? MIN(r, 0) : loop_run(lookup->loop);
}

static int look_up(const struct host *host, const struct conf *conf, struct explain_answer *ret)
{
    const struct resolver_options options = {
        .servers = conf->dns.servers,
        .server_count = conf->dns.server_count,
        .hosts_path = conf->dns.hosts_path,
        .want_ip4 = conf->dns.family != CONF_FAMILY_IP6,
        .want_ip6 = conf->dns.family != CONF_FAMILY_IP4,
        .timeout_ms = conf->timeouts.dns_ms,
    };
    struct lookup lookup = {.answer = ret};
    struct resolver *resolver = NULL;
    int r = loop_new(&lookup.loop);

    if (r < 0) {
        return r;
    }
    r = resolver_new(lookup.loop, &options, &resolver);
    if (r == 0) {
        r = wait_for_answer(&lookup, resolver, host);
        resolver_free(resolver);
    }
    loop_free(lookup.loop);
    return r;
}

static int find_addresses(const struct explain_question *question, const struct conf *conf,
                          struct explain_answer *ret)
{
    int r = 0;

    if (question->addr_count == 0) {
        ret->was_asked = !question->host.is_literal;
        r = look_up(&question->host, conf, ret);
    }
    for (size_t i = 0; i < question->addr_count; i++) {
        ret->addrs[ret->addr_count++].addr = question->addrs[i];
    }
    for (size_t i = 0; i < ret->addr_count; i++) {
        ret->addrs[i].addr.port = question->port;
    }
    return r;
}

/* ---- Judgement ---- */

/* Where this configuration listens, as far as it says so: adds to own, which has room for an
 * address of each bind. */
static size_t add_own(const struct conf_listener *listener, struct addr *own, size_t count)
{
    for (size_t i = 0; i < listener->bind_count; i++) {
        const struct conf_bind *bind = &listener->binds[i];

        if (bind->kind == CONF_BIND_IP) {
            own[count++] = bind->addr;
        } else if (bind->kind == CONF_BIND_ANY) {
            own[count++] = (struct addr){.kind = ADDR_IP6, .port = bind->addr.port};
        }
    }
    return count;
}

static int list_own(const struct conf *conf, struct addr **ret, size_t *ret_count)
{
    size_t binds = 0;
    size_t count = 0;
    struct addr *own;

    for (size_t i = 0; i < conf->listener_count; i++) {
        binds += conf->listeners[i].bind_count;
    }
    own = mem_zalloc((binds + 1) * sizeof(*own));
    if (!own) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < conf->listener_count; i++) {
        count = add_own(&conf->listeners[i], own, count);
    }
    *ret = own;
    *ret_count = count;
    return 0;
}

static void judge_addresses(const struct policy *policy, struct policy_facts *facts,
                            struct explain_answer *ret)
{
    facts->stage = POLICY_ADDRESS;
    for (size_t i = 0; i < ret->addr_count; i++) {
        struct explain_address *address = &ret->addrs[i];

        facts->address = address->addr;
        policy_decide(policy, facts, &address->verdict);
        if (i == 0) {
            ret->verdict = address->verdict;
        } else {
            policy_sum_up(&ret->verdict, &address->verdict);
        }
    }
    facts->address = ret->addrs[0].addr;
}

/* As an exchange goes: the first walk, the name, the second walk. */
static int walk(const struct explain_question *question, const struct snapshot *snapshot,
                struct policy_facts *facts, struct explain_answer *ret)
{
    int r = 0;

    facts->stage = POLICY_REQUEST;
    ret->end = EXPLAIN_BEFORE_DNS;
    policy_decide(snapshot->policy, facts, &ret->verdict);
    if (ret->verdict.action == POLICY_OPEN) {
        ret->end = EXPLAIN_UNRESOLVED;
        r = find_addresses(question, snapshot->conf, ret);
    }
    if (r == 0 && ret->addr_count > 0) {
        ret->end = EXPLAIN_JUDGED;
        judge_addresses(snapshot->policy, facts, ret);
    }
    if (r == 0 && ret->end != EXPLAIN_UNRESOLVED && ret->verdict.action != POLICY_ALLOW) {
        ret->has_nearest = policy_nearest_allow(snapshot->policy, facts, &ret->nearest);
    }
    return r;
}

static bool is_unknown_user(const struct snapshot *snapshot, struct str user)
{
    return user.len > 0 && snapshot->users && !auth_users_find(snapshot->users, user);
}

int explain_ask(const struct explain_question *question, const struct snapshot *snapshot,
                struct explain_answer *ret)
{
    struct policy_facts facts = {
        .client = question->client,
        .listener = question->listener,
        .method = question->method,
        .host = &question->host,
        .port = question->port,
        .user = question->user,
        .time = question->time,
    };
    struct machine_addrs *machine = NULL;
    struct addr *own = NULL;
    int r = machine_addrs_read(&machine);

    *ret = (struct explain_answer){.has_unknown_user = is_unknown_user(snapshot, question->user)};
    if (ret->has_unknown_user) {
        facts.user = STR(""); /* nobody's password is right */
    }
    if (r == 0) {
        r = list_own(snapshot->conf, &own, &facts.own_address_count);
    }
    if (r == 0) {
        facts.machine = machine;
        facts.own_addresses = own;
        r = walk(question, snapshot, &facts, ret);
    }
    mem_free(own);
    machine_addrs_free(machine);
    return r;
}

int explain_status(const struct explain_answer *answer)
{
    switch (answer->verdict.action) {
    case POLICY_ALLOW:
        return 0;
    case POLICY_DENY:
    case POLICY_CHALLENGE:
        return 1;
    case POLICY_OPEN:
        break;
    }
    return 3;
}
