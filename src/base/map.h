// SPDX-License-Identifier: MIT
#pragma once

/*
 * An intrusive hash map from byte strings to nodes that callers embed. Keys
 * come from the network, so the hash is keyed (SipHash-1-3 with a key drawn
 * at start). The map owns its table and nothing else; it grows by itself,
 * and when memory for growing is out it goes on with longer chains.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

struct map_node {
    struct map_node *next;
    struct str key; /* borrowed: the bytes must live as long as the node is in the map */
    uint64_t hash;
};

struct map {
    struct map_node **buckets; /* owned */
    size_t mask;
    size_t count;
};

/* 0, or -ENOMEM. */
MUST_USE int map_init(struct map *map);
void map_deinit(struct map *map); /* leaves the nodes alone */

uint64_t map_hash(struct str key);
/* The newest node with this key, or NULL. */
struct map_node *map_find(const struct map *map, struct str key);
/* The next older node with the same key, or NULL: one key may stand several times. */
struct map_node *map_find_next(const struct map_node *node);
/* node->key must be set; the node becomes the newest of its key. */
void map_add(struct map *map, struct map_node *node);
/* The same for who has the key's map_hash() already; to add, node->hash must be set, too. */
struct map_node *map_find_hashed(const struct map *map, struct str key, uint64_t hash);
void map_add_hashed(struct map *map, struct map_node *node);
/* The node must be in the map. */
void map_remove(struct map *map, struct map_node *node);
/* Any node, or NULL when the map is empty: for taking everything out. */
struct map_node *map_any(const struct map *map);
