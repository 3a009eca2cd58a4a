// SPDX-License-Identifier: MIT
#include "policy/domains_set.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/host.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/thread.h"

/* A name in set->names: its length (one byte), its flags (one byte; none: to be dropped), its
 * text. */
#define ENTRY_HEAD_BYTES 2
#define NAMES_MAX_BYTES UINT32_MAX
#define NAMES_FIRST_BYTES 4096
#define STEPS_AT_ONCE 512 /* names */
#define LABELS_MAX ((HOST_NAME_MAX_BYTES + 1) / 2)

/* Open addressing by groups of eight slots. A slot has a tag of eight bits, which is 0 (free) or
 * has its high bit set, and the place of a name. Most look-ups see tags only. */
struct domains_table {
    size_t group_count;
    uint64_t *tags;    /* of each group; slot i has the bits from 8 * i */
    uint32_t *places;  /* in set->names, of each slot */
    uint64_t memory[]; /* of both */
};

#define GROUP_SLOTS 8
#define GROUP_USED 6 /* of them, on average */
#define TAGS_LOW 0x0101010101010101U
#define TAGS_HIGH 0x8080808080808080U

static struct str entry_name(const char *entry)
{
    return str_make(entry + ENTRY_HEAD_BYTES, (unsigned char)entry[0]);
}

static unsigned entry_flags(const char *entry)
{
    return (unsigned char)entry[1];
}

static size_t entry_bytes(const char *entry)
{
    return ENTRY_HEAD_BYTES + entry_name(entry).len;
}

/* A way along a name, from its top-level domain to the whole. */
struct walk {
    struct str name;
    size_t start;  /* where the parent begins that was reached; name.len at first */
    uint64_t hash; /* of that parent; the seed at first */
};

static struct walk walk_begin(const struct domains_set *set, struct str name)
{
    return (struct walk){.name = name, .start = name.len, .hash = set->seed};
}

static inline uint64_t mix(uint64_t hash, uint64_t word)
{
    unsigned __int128 product = (unsigned __int128)(hash ^ word) * 0x9e3779b97f4a7c15U;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* One label on; false when the whole name has been reached. The hash takes in eight bytes at a
 * time, and at the end what is left with the label's length. */
static inline bool walk_on(struct walk *walk)
{
    size_t at = walk->start;
    uint64_t hash = walk->hash;
    uint64_t word = 0;
    uint64_t len = 0;

    if (at == 0) {
        return false;
    }
    at -= at < walk->name.len; /* the dot */
    while (at > 0 && walk->name.ptr[at - 1] != '.') {
        word = word << 8 | (unsigned char)walk->name.ptr[--at];
        if (++len % sizeof(word) == 0) {
            hash = mix(hash, word);
            word = 0;
        }
    }
    walk->start = at;
    walk->hash = mix(hash, word | len << 56);
    return true;
}

static uint64_t hash_name(const struct domains_set *set, struct str name)
{
    struct walk walk = walk_begin(set, name);

    while (walk_on(&walk)) {
    }
    return walk.hash;
}

static size_t first_group(const struct domains_table *table, uint64_t hash)
{
    return (size_t)(((hash >> 32) * table->group_count) >> 32);
}

static size_t next_group(const struct domains_table *table, size_t group)
{
    return group + 1 < table->group_count ? group + 1 : 0;
}

static uint64_t tag_of(uint64_t hash)
{
    return 0x80 | (hash & 0x7f);
}

/* The high bit of each free slot. */
static uint64_t free_slots(uint64_t tags)
{
    return ~tags & TAGS_HIGH;
}

/* The high bit of each slot with this tag; perhaps of others too, but of no free one. */
static uint64_t tagged_slots(uint64_t tags, uint64_t tag)
{
    uint64_t x = tags ^ (tag * TAGS_LOW);

    return (x - TAGS_LOW) & ~x & TAGS_HIGH;
}

static size_t lowest_slot(uint64_t slots)
{
    return (size_t)__builtin_ctzll(slots) / GROUP_SLOTS;
}

/* Where name is, or NULL. Then *ret_group is the group that it would go into. */
static char *find(const struct domains_set *set, struct str name, uint64_t hash, size_t *ret_group)
{
    const struct domains_table *table = set->table;

    for (size_t group = first_group(table, hash);; group = next_group(table, group)) {
        uint64_t tags = table->tags[group];

        for (uint64_t slots = tagged_slots(tags, tag_of(hash)); slots; slots &= slots - 1) {
            uint32_t place = table->places[group * GROUP_SLOTS + lowest_slot(slots)];

            if (str_eq(entry_name(set->names + place), name)) {
                return set->names + place;
            }
        }
        if (free_slots(tags)) {
            *ret_group = group;
            return NULL;
        }
    }
}

/* Puts the name at place into the table, or its flags to those of the same name that is there. */
static void put(struct domains_set *set, size_t place)
{
    char *entry = set->names + place;
    uint64_t hash = hash_name(set, entry_name(entry));
    size_t group;
    char *same = find(set, entry_name(entry), hash, &group);
    size_t slot;

    if (same) {
        same[1] = (char)(entry_flags(same) | entry_flags(entry));
        entry[1] = 0;
        return;
    }
    slot = lowest_slot(free_slots(set->table->tags[group]));
    set->table->tags[group] |= tag_of(hash) << (8 * slot);
    set->table->places[group * GROUP_SLOTS + slot] = (uint32_t)place;
}

/* Called for each name of a long walk. */
static void walk_gently(size_t *steps)
{
    if (++*steps % STEPS_AT_ONCE == 0) {
        thread_give_way();
    }
}

/* A table of all names, instead of the one that is there. */
static int make_table(struct domains_set *set)
{
    size_t groups = set->count / GROUP_USED + 1;
    size_t group_bytes = sizeof(uint64_t) + GROUP_SLOTS * sizeof(uint32_t);
    size_t steps = 0;

    mem_free(set->table);
    set->table = mem_zalloc(sizeof(*set->table) + groups * group_bytes);
    if (!set->table) {
        return -ENOMEM;
    }
    set->table->group_count = groups;
    set->table->tags = set->table->memory;
    set->table->places = (uint32_t *)(set->table->memory + groups);
    for (size_t at = 0; at < set->names_bytes; at += entry_bytes(set->names + at)) {
        put(set, at);
        walk_gently(&steps);
    }
    return 0;
}

void domains_set_init(struct domains_set *set)
{
    *set = (struct domains_set){.seed = map_hash(STR("domains"))};
}

void domains_set_deinit(struct domains_set *set)
{
    mem_free(set->names);
    mem_free(set->table);
    *set = (struct domains_set){0};
}

static int grow_names(struct domains_set *set, size_t cap)
{
    char *names = mem_realloc(set->names, cap);

    if (!names) {
        return -ENOMEM;
    }
    set->names = names;
    set->names_cap_bytes = cap;
    return 0;
}

int domains_set_add(struct domains_set *set, struct str name, unsigned flags)
{
    size_t need = set->names_bytes + ENTRY_HEAD_BYTES + name.len;
    char *entry;
    int r = 0;

    ASSERT(name.len > 0 && name.len <= HOST_NAME_MAX_BYTES);
    if (need > NAMES_MAX_BYTES) {
        return -EFBIG;
    }
    if (need > set->names_cap_bytes) {
        r = grow_names(set, MAX(need + need / 2, NAMES_FIRST_BYTES));
    }
    if (r < 0) {
        return r;
    }
    entry = set->names + set->names_bytes;
    entry[0] = (char)name.len;
    entry[1] = (char)flags;
    memcpy(entry + ENTRY_HEAD_BYTES, name.ptr, name.len);
    set->names_bytes = need;
    set->count++;
    return 0;
}

/* One of the names that end a name. */
struct parent {
    struct str name;
    uint64_t hash;
};

/* The parents of name and name itself, the shortest first; of them the first max_count. Returns how
 * many. What find will look at comes in meanwhile. */
static size_t list_parents(const struct domains_set *set, struct str name, size_t max_count,
                           struct parent ret[LABELS_MAX])
{
    struct walk walk = walk_begin(set, name);
    size_t count = 0;

    while (count < MIN(max_count, LABELS_MAX) && walk_on(&walk)) {
        size_t group = first_group(set->table, walk.hash);

        ret[count].name = str_make(name.ptr + walk.start, name.len - walk.start);
        ret[count++].hash = walk.hash;
        /* Not in a function of its own: gcc drops calls of one that does no more than this. */
        __builtin_prefetch(&set->table->tags[group]);
        __builtin_prefetch(&set->table->places[group * GROUP_SLOTS]);
    }
    return count;
}

bool domains_set_has(const struct domains_set *set, struct str name)
{
    struct parent parents[LABELS_MAX];
    size_t count = list_parents(set, name, set->max_labels, parents);
    size_t group;

    for (size_t i = 0; i < count; i++) {
        const char *entry = find(set, parents[i].name, parents[i].hash, &group);
        unsigned wanted = parents[i].name.len == name.len ? DOMAINS_EXACT : DOMAINS_BELOW;

        if (entry && (entry_flags(entry) & wanted)) {
            return true;
        }
    }
    return false;
}

/* Whether name stands below one that stands for all below it. Notes how many labels it has. */
static bool is_needless(struct domains_set *set, struct str name)
{
    struct parent parents[LABELS_MAX];
    size_t count = list_parents(set, name, LABELS_MAX, parents);
    size_t group;

    for (size_t i = 0; i + 1 < count; i++) {
        const char *entry = find(set, parents[i].name, parents[i].hash, &group);

        if (entry && (entry_flags(entry) & DOMAINS_BELOW)) {
            return true;
        }
    }
    set->max_labels = MAX(set->max_labels, count);
    return false;
}

/* Takes the flags of needless names away. That makes no other name needed: the uppermost of those
 * that stand for all below them keeps its own. */
static void mark_needless(struct domains_set *set)
{
    size_t steps = 0;

    for (size_t at = 0; at < set->names_bytes; at += entry_bytes(set->names + at)) {
        if (entry_flags(set->names + at) != 0 && is_needless(set, entry_name(set->names + at))) {
            set->names[at + 1] = 0;
        }
        walk_gently(&steps);
    }
}

/* Drops the names without flags. */
static void close_gaps(struct domains_set *set)
{
    size_t to = 0;
    size_t steps = 0;
    size_t bytes;

    set->count = 0;
    for (size_t at = 0; at < set->names_bytes; at += bytes) {
        char *entry = set->names + at;

        bytes = entry_bytes(entry);
        if (entry_flags(entry) != 0) {
            memmove(set->names + to, entry, bytes);
            to += bytes;
            set->count++;
        }
        walk_gently(&steps);
    }
    set->names_bytes = to;
}

int domains_set_finish(struct domains_set *set)
{
    size_t before = set->count;
    int r = make_table(set);

    if (r < 0) {
        return r;
    }
    mark_needless(set);
    close_gaps(set);
    r = grow_names(set, MAX(set->names_bytes, 1));
    if (r == 0 && set->count < before) {
        r = make_table(set);
    }
    return r;
}
