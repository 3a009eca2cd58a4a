// SPDX-License-Identifier: MIT
#pragma once

/*
 * Names that DNS is being asked for. A lookup is a pair of questions (or one,
 * when the cache still holds the other family) shared by all who wait for the
 * name. It has one deadline, counted from its first waiter, so nobody waits
 * longer than timeouts.dns; one who joins late shares the failure as he would
 * have shared it from the cache a moment later. Private to resolver.c.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "resolve/dns_cache.h"

struct dns_cares;
struct loop;
struct resolve_events;
struct resolve_query;

/* Of one resolver. Embedded; all but the last two is filled by its owner. */
struct lookups {
    struct loop *loop;       /* borrowed */
    struct dns_cares *dns;   /* borrowed: who asks */
    struct dns_cache *cache; /* borrowed: where answers go, too */
    uint64_t timeout_ms;     /* of each */
    bool wanted[DNS_FAMILIES];
    void (*idle)(void *arg); /* none is under way any more; on the stack of one that ends */
    void *arg;
    struct map by_name;
    struct list all; /* the same lookups, for the end */
};

/* 0 or -ENOMEM. */
MUST_USE int lookups_init(struct lookups *lookups);
/* Drops those under way and whoever waits, who is not called; after dns_cares_free. */
void lookups_end(struct lookups *lookups);
/* Of none under way. */
void lookups_deinit(struct lookups *lookups);

/* Asks for what the cache does not have: found (MERGE_BIT of families) and cached are what it has.
 * As resolver_ask otherwise: 0 and *ret_query, 1 when answered before the return, -ENOMEM. */
MUST_USE int lookups_ask(struct lookups *lookups, struct str name, unsigned found,
                         const struct dns_cached cached[DNS_FAMILIES],
                         const struct resolve_events *events, void *arg,
                         struct resolve_query **ret_query);
/* What the cache has is all that was wanted. 1. */
int lookup_tell_cached(unsigned found, const struct dns_cached cached[DNS_FAMILIES],
                       const struct resolve_events *events, void *arg);
/* As resolver_cancel. */
void lookup_cancel(struct resolve_query *query);
