// SPDX-License-Identifier: MIT
#pragma once

/*
 * Answers kept by name: one entry holds the A and the AAAA answer, each with
 * its own end. Good answers are kept for their TTL, capped; failures of every
 * kind briefly. Bounded by the number of names: the one longest unused goes
 * first.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "resolve/dns_answer.h"

struct dns_cache {
    struct map names;
    struct list used; /* newest first */
    size_t max_entries;
    uint64_t max_ttl_ms, negative_ttl_ms;
};

/* An answer in the cache: valid until the cache is next changed. */
struct dns_cached {
    enum resolve_status status;
    const struct addr *addrs; /* borrowed */
    size_t addr_count;
};

/* max_entries 0: nothing is ever kept. 0, or -ENOMEM. */
MUST_USE int dns_cache_init(struct dns_cache *cache, size_t max_entries, uint64_t max_ttl_ms,
                            uint64_t negative_ttl_ms);
void dns_cache_deinit(struct dns_cache *cache);

/* Fills ret (an element per family) and returns which families are there, as a set of 1U << family.
 * A name found becomes the newest; what has expired is freed. name is lower case. */
unsigned dns_cache_find(struct dns_cache *cache, struct str name, uint64_t now_ms,
                        struct dns_cached ret[DNS_FAMILIES]);
/* Replaces what was known of this name and family. Kept when there is memory and a lifetime to keep
 * it. */
void dns_cache_put(struct dns_cache *cache, struct str name, enum dns_family family,
                   const struct dns_answer *answer, uint64_t now_ms);
size_t dns_cache_count(const struct dns_cache *cache);
