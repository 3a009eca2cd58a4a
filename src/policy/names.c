// SPDX-License-Identifier: MIT
#include "policy/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "policy/rule.h"

/* What a key says of the hosts that end in it. */
enum names_kind {
    NAMES_EXACT,   /* the host is the key */
    NAMES_BELOW,   /* the host is the key or stands below it */
    NAMES_PATTERN, /* a pattern that ends in the key has to be tried */
    NAMES_KIND_COUNT,
};

struct names_entry {
    struct str key;
    uint64_t hash;
    enum names_kind kind;
    struct lines_entry line;
};

struct names_key {
    struct str key;
    uint64_t hash;
    struct lines lines[NAMES_KIND_COUNT];
};

/* FNV-1a from the last byte to the first, so that one pass over a host gives the hash of each of
 * its ends. Keys are the configuration's, so nobody can make them collide who could not do worse.
 */
#define HASH_BASIS 0xcbf29ce484222325U
#define HASH_PRIME 0x100000001b3U

static uint64_t hash_byte(uint64_t hash, char c)
{
    return (hash ^ (unsigned char)c) * HASH_PRIME;
}

static uint64_t hash_of(struct str key)
{
    uint64_t hash = HASH_BASIS;

    for (size_t i = key.len; i > 0; i--) {
        hash = hash_byte(hash, key.ptr[i - 1]);
    }
    return hash;
}

/* ---- Building ---- */

/* The whole labels behind the last '*'. */
static struct str key_of(const struct rule_host *host)
{
    struct str rest;
    size_t dot;

    if (!host->is_glob) {
        return host->name;
    }
    rest = str_from(host->name, str_rfind(host->name, '*'));
    dot = str_find(rest, '.');
    return str_from(rest, dot + 1);
}

static enum names_kind kind_of(const struct rule_host *host)
{
    if (host->is_glob) {
        return NAMES_PATTERN;
    }
    return host->is_below ? NAMES_BELOW : NAMES_EXACT;
}

int names_add(struct names *names, const struct rule_host *host, struct lines_entry line)
{
    struct str key = key_of(host);

    if (names->entry_count == names->entry_cap) {
        size_t cap = names->entry_cap > 0 ? names->entry_cap * 2 : 16;
        struct names_entry *grown = mem_realloc_array(names->entries, cap, sizeof(*names->entries));

        if (!grown) {
            return -ENOMEM;
        }
        names->entries = grown;
        names->entry_cap = cap;
    }
    names->entries[names->entry_count++] =
        (struct names_entry){key, hash_of(key), kind_of(host), line};
    return 0;
}

static int compare_keys(const struct names_entry *a, const struct names_entry *b)
{
    size_t len = MIN(a->key.len, b->key.len);
    int order = (a->hash > b->hash) - (a->hash < b->hash);

    if (order == 0) {
        order = memcmp(a->key.ptr, b->key.ptr, len);
    }
    return order != 0 ? order : (a->key.len > b->key.len) - (a->key.len < b->key.len);
}

static int compare_entries(const void *a, const void *b)
{
    const struct names_entry *x = a;
    const struct names_entry *y = b;
    int order = compare_keys(x, y);

    if (order == 0) {
        order = (int)x->kind - (int)y->kind;
    }
    return order != 0 ? order : lines_compare(&x->line, &y->line);
}

static size_t count_keys(const struct names *names)
{
    size_t count = 0;

    for (size_t i = 0; i < names->entry_count; i++) {
        count += i == 0 || compare_keys(&names->entries[i - 1], &names->entries[i]) != 0;
    }
    return count;
}

/* keys and numbers have room for all. */
static void fill_keys(const struct names *names, struct names_key *keys, uint32_t *numbers)
{
    struct names_key *key = keys;

    for (size_t i = 0; i < names->entry_count; i++) {
        const struct names_entry *entry = &names->entries[i];
        bool is_new = i == 0 || compare_keys(entry - 1, entry) != 0;

        key += i > 0 && is_new;
        if (is_new) {
            *key = (struct names_key){.key = entry->key, .hash = entry->hash};
        }
        lines_append(&key->lines[entry->kind], &numbers, entry->line);
    }
}

static void fill_slots(struct names *names)
{
    for (size_t i = 0; i < names->key_count; i++) {
        size_t slot = names->keys[i].hash & names->mask;

        while (names->slots[slot] != 0) {
            slot = (slot + 1) & names->mask;
        }
        names->slots[slot] = (uint32_t)i + 1;
    }
}

int names_finish(struct names *names, struct arena *arena)
{
    size_t slot_count = 2;
    uint32_t *numbers;

    if (names->entry_count > 0) {
        qsort(names->entries, names->entry_count, sizeof(*names->entries), compare_entries);
    }
    names->key_count = count_keys(names);
    while (slot_count < 2 * names->key_count) {
        slot_count *= 2;
    }
    names->keys = arena_alloc(arena, names->key_count * sizeof(*names->keys));
    names->slots = arena_alloc(arena, slot_count * sizeof(*names->slots));
    numbers = arena_alloc(arena, names->entry_count * sizeof(*numbers));
    if (!names->keys || !names->slots || !numbers) {
        return -ENOMEM;
    }
    names->mask = slot_count - 1;
    memset(names->slots, 0, slot_count * sizeof(*names->slots));
    fill_keys(names, names->keys, numbers);
    fill_slots(names);
    names_deinit(names);
    return 0;
}

void names_deinit(struct names *names)
{
    mem_free(names->entries);
    names->entries = NULL;
    names->entry_count = 0;
    names->entry_cap = 0;
}

/* ---- Finding ---- */

static const struct names_key *find_key(const struct names *names, struct str key, uint64_t hash)
{
    size_t slot = hash & names->mask;

    while (names->slots[slot] != 0) {
        const struct names_key *found = &names->keys[names->slots[slot] - 1];

        if (found->hash == hash && str_eq(found->key, key)) {
            return found;
        }
        slot = (slot + 1) & names->mask;
    }
    return NULL;
}

static void hit_key(const struct names *names, struct str end, uint64_t hash, bool is_whole,
                    struct names_hits *hits)
{
    const struct names_key *key = find_key(names, end, hash);

    if (!key) {
        return;
    }
    lines_hit(&hits->sure, key->lines[NAMES_BELOW]);
    lines_hit(&hits->maybe, key->lines[NAMES_PATTERN]);
    if (is_whole) {
        lines_hit(&hits->sure, key->lines[NAMES_EXACT]);
    }
}

void names_find(const struct names *names, struct str name, struct names_hits *ret)
{
    uint64_t hash = HASH_BASIS;

    ret->sure.count = 0;
    ret->maybe.count = 0;
    if (name.len == 0 || names->key_count == 0) {
        return;
    }
    hit_key(names, str_from(name, name.len), hash, false, ret);
    for (size_t i = name.len; i > 0; i--) {
        hash = hash_byte(hash, name.ptr[i - 1]);
        if (i == 1 || name.ptr[i - 2] == '.') {
            hit_key(names, str_from(name, i - 1), hash, i == 1, ret);
        }
    }
}

/* Whether '*' in pattern can stand for what text has there. */
static bool glob_match(struct str pattern, struct str text)
{
    size_t p = 0;
    size_t t = 0;
    size_t star = pattern.len; /* the last one passed */
    size_t mark = 0;           /* where what it stands for ends */

    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.len && pattern.ptr[p] == text.ptr[t]) {
            p++;
            t++;
        } else if (star < pattern.len) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') {
        p++;
    }
    return p == pattern.len;
}

/* Cuts the last label off; rest is then what stands before its dot, or has no ptr. */
static struct str cut_last_label(struct str *rest)
{
    size_t dot = str_rfind(*rest, '.');
    struct str label = *rest;

    if (dot == rest->len) {
        *rest = str_make(NULL, 0);
        return label;
    }
    label = str_from(*rest, dot + 1);
    *rest = str_head(*rest, dot);
    return label;
}

bool names_match(const struct rule_host *host, struct str name)
{
    struct str pattern = host->name;

    while (pattern.ptr) {
        if (!name.ptr || !glob_match(cut_last_label(&pattern), cut_last_label(&name))) {
            return false;
        }
    }
    return !name.ptr || host->is_below;
}
