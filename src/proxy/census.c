// SPDX-License-Identifier: MIT
#include "proxy/census.h"

#include "base/arena.h"
#include "http/target.h"
#include "io/io.h"
#include "policy/auth.h"
#include "policy/local_time.h"
#include "policy/machine.h"
#include "policy/policy.h"
#include "policy/snapshot.h"
#include "proxy/client_h1.h"
#include "proxy/roll.h"
#include "proxy/tenure.h"
#include "proxy/tunnel.h"

static void see(struct roll_entry *entry, struct census_item *ret)
{
    *ret = (struct census_item){.entry = entry};
    if (entry->kind == ROLL_TUNNEL) {
        tunnel_see(entry, ret);
    } else {
        client_h1_see(entry, ret);
    }
}

void census_begin(struct proxy *proxy)
{
    roll_walk(&proxy->roll);
}

bool census_next(struct proxy *proxy, struct census_item *ret)
{
    struct roll_entry *entry = roll_next(&proxy->roll);

    if (entry) {
        see(entry, ret);
    }
    return entry != NULL;
}

/* ------------------------------------------------------------------ what policy says now */

/* By the file as it is followed: who was struck from it is nobody, who was added is somebody. */
static bool is_known_user(const struct proxy *proxy, struct str user)
{
    return !proxy->tenure->snapshot->users || auth_desk_knows(proxy->auth, user);
}

bool census_must_wait(struct proxy *proxy, struct auth_wait *wait)
{
    return proxy->tenure->snapshot->users && auth_desk_must_wait(proxy->auth, wait);
}

/* target: read again from the item's. Before an address is in use the first walk is gone. */
static void decide(const struct proxy *proxy, const struct census_item *item,
                   const struct target *target, struct policy_verdict *ret)
{
    const struct snapshot *snapshot = proxy->tenure->snapshot;
    const struct policy_facts facts = {
        .stage = item->upstream.kind == ADDR_NONE ? POLICY_REQUEST : POLICY_ADDRESS,
        .client = item->client,
        .listener = item->listener,
        .method = item->method,
        .host = &target->host,
        .port = target->port,
        .user = is_known_user(proxy, item->user) ? item->user : STR(""),
        .time = local_time_at(item->start_wall_ms),
        .address = item->upstream,
        .machine = machine_addrs_now(proxy->machine),
        .own_addresses = snapshot->own_addresses,
        .own_address_count = snapshot->own_address_count,
    };

    policy_decide(snapshot->policy, &facts, ret);
}

bool census_would_deny(struct proxy *proxy, const struct census_item *item, struct str *ret_rule)
{
    struct policy_verdict verdict = {.action = POLICY_ALLOW};
    struct target target;
    struct arena arena;

    if (!item->is_admitted) {
        return false;
    }
    arena_init(&arena, &proxy->io->arenas);
    if (target_parse(item->method, item->target, &arena, &target) == 0) {
        decide(proxy, item, &target, &verdict);
    }
    arena_reset(&arena);
    *ret_rule = verdict.rule;
    return verdict.action == POLICY_DENY || verdict.action == POLICY_CHALLENGE;
}

/* ------------------------------------------------------------------ ends by hand */

void census_kill(struct proxy *proxy, const struct census_item *item)
{
    if (item->entry->kind == ROLL_TUNNEL) {
        tunnel_kill(item->entry);
    } else {
        client_h1_kill(item->entry);
    }
    io_flush(proxy->io);
}

enum census_found census_kill_id(struct proxy *proxy, struct str id, size_t *at, size_t max)
{
    for (size_t i = 0; i < max; i++) {
        struct roll_entry *entry = roll_before(&proxy->roll, at);
        struct census_item item;

        if (!entry) {
            return CENSUS_ABSENT;
        }
        see(entry, &item);
        if (str_eq(item.id, id)) {
            census_kill(proxy, &item);
            return CENSUS_FOUND;
        }
    }
    return CENSUS_LOOK_ON;
}
