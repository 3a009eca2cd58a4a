// SPDX-License-Identifier: MIT
#include "resolve/dns_cache.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

struct cache_part {
    uint64_t end_ms; /* 0: not known */
    enum resolve_status status;
    size_t addr_count;
    struct addr *addrs; /* owned; NULL when there are none */
};

struct cache_entry {
    struct map_node node;
    struct list used;
    struct cache_part parts[DNS_FAMILIES];
    char name[];
};

static void part_clear(struct cache_part *part)
{
    mem_free(part->addrs);
    *part = (struct cache_part){0};
}

static void entry_free(struct dns_cache *cache, struct cache_entry *entry)
{
    map_remove(&cache->names, &entry->node);
    list_remove(&entry->used);
    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        part_clear(&entry->parts[i]);
    }
    mem_free(entry);
}

static struct cache_entry *entry_find(const struct dns_cache *cache, struct str name)
{
    struct map_node *node = map_find(&cache->names, name);

    return node ? CONTAINER_OF(node, struct cache_entry, node) : NULL;
}

static struct cache_entry *entry_new(struct dns_cache *cache, struct str name)
{
    struct cache_entry *entry = mem_zalloc(sizeof(*entry) + name.len);

    if (!entry) {
        return NULL;
    }
    memcpy(entry->name, name.ptr, name.len);
    entry->node.key = str_make(entry->name, name.len);
    if (cache->names.count >= cache->max_entries) {
        entry_free(cache, LIST_LAST(&cache->used, struct cache_entry, used));
    }
    map_add(&cache->names, &entry->node);
    list_push_front(&cache->used, &entry->used);
    return entry;
}

/* Frees what has expired, the entry itself when nothing is left of it; false then. */
static bool entry_refresh(struct dns_cache *cache, struct cache_entry *entry, uint64_t now_ms)
{
    bool lives = false;

    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        if (entry->parts[i].end_ms <= now_ms) {
            part_clear(&entry->parts[i]);
        } else {
            lives = true;
        }
    }
    if (!lives) {
        entry_free(cache, entry);
    }
    return lives;
}

int dns_cache_init(struct dns_cache *cache, size_t max_entries, uint64_t max_ttl_ms,
                   uint64_t negative_ttl_ms)
{
    *cache = (struct dns_cache){
        .max_entries = max_entries,
        .max_ttl_ms = max_ttl_ms,
        .negative_ttl_ms = negative_ttl_ms,
    };
    list_init(&cache->used);
    return map_init(&cache->names);
}

void dns_cache_deinit(struct dns_cache *cache)
{
    while (!list_empty(&cache->used)) {
        entry_free(cache, LIST_FIRST(&cache->used, struct cache_entry, used));
    }
    map_deinit(&cache->names);
}

unsigned dns_cache_find(struct dns_cache *cache, struct str name, uint64_t now_ms,
                        struct dns_cached ret[DNS_FAMILIES])
{
    struct cache_entry *entry = entry_find(cache, name);
    unsigned found = 0;

    if (!entry || !entry_refresh(cache, entry, now_ms)) {
        return 0;
    }
    list_remove(&entry->used);
    list_push_front(&cache->used, &entry->used);
    for (unsigned i = 0; i < DNS_FAMILIES; i++) {
        const struct cache_part *part = &entry->parts[i];

        if (part->end_ms != 0) {
            found |= 1U << i;
            ret[i] = (struct dns_cached){part->status, part->addrs, part->addr_count};
        }
    }
    return found;
}

static uint64_t lifetime_ms(const struct dns_cache *cache, const struct dns_answer *answer)
{
    if (cache->max_entries == 0) {
        return 0;
    }
    return answer->status == RESOLVE_OK ? MIN(answer->ttl_ms, cache->max_ttl_ms)
                                        : cache->negative_ttl_ms;
}

static void part_fill(struct cache_part *part, const struct dns_answer *answer, uint64_t end_ms)
{
    struct addr *addrs = NULL;

    if (answer->addr_count > 0) {
        addrs = mem_alloc(answer->addr_count * sizeof(*addrs));
        if (!addrs) {
            return;
        }
        memcpy(addrs, answer->addrs, answer->addr_count * sizeof(*addrs));
    }
    *part = (struct cache_part){end_ms, answer->status, answer->addr_count, addrs};
}

void dns_cache_put(struct dns_cache *cache, struct str name, enum dns_family family,
                   const struct dns_answer *answer, uint64_t now_ms)
{
    uint64_t keep_ms = lifetime_ms(cache, answer);
    struct cache_entry *entry = entry_find(cache, name);

    if (!entry && keep_ms > 0) {
        entry = entry_new(cache, name);
    }
    if (!entry) {
        return;
    }
    part_clear(&entry->parts[family]);
    if (keep_ms > 0) {
        part_fill(&entry->parts[family], answer, now_ms + keep_ms);
    }
    (void)entry_refresh(cache, entry, now_ms);
}

size_t dns_cache_count(const struct dns_cache *cache)
{
    return cache->names.count;
}
