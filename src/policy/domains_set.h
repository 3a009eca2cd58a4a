// SPDX-License-Identifier: MIT
#pragma once

/*
 * A set of host names, each standing for itself, for all below it, or for
 * both. Names lie packed behind each other; a hash table has their places. A
 * look-up hashes a name from the right, so that all its parents cost one
 * pass, and has what it needs of the table come in meanwhile. The hash is
 * seeded, since what is looked up comes from the network. Private to
 * domains.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/* What a name stands for, ORed. */
enum domains_flag {
    DOMAINS_EXACT = 1 << 0, /* itself */
    DOMAINS_BELOW = 1 << 1, /* all names below it */
};

struct domains_table;

struct domains_set {
    char *names; /* owned */
    size_t names_bytes;
    size_t names_cap_bytes;
    size_t count; /* of names; before domains_set_finish some may stand twice */
    size_t max_labels;
    struct domains_table *table; /* owned; NULL before domains_set_finish */
    uint64_t seed;
};

void domains_set_init(struct domains_set *set);
void domains_set_deinit(struct domains_set *set);

/* name is as in struct host. 0; -ENOMEM; -EFBIG beyond 4 GiB. */
MUST_USE int domains_set_add(struct domains_set *set, struct str name, unsigned flags);
/* To be called once, after the last name and before the first look-up: drops names that stand twice
 * or below one that stands for all below it, and memory to spare. 0 or -ENOMEM. */
MUST_USE int domains_set_finish(struct domains_set *set);

/* Whether name (lower case, no trailing dot) is in the set, by itself or by one above it. */
bool domains_set_has(const struct domains_set *set, struct str name);
