// SPDX-License-Identifier: MIT
#pragma once

/*
 * All names of a table's `host` conditions in one hash table, so that the
 * cost of a look-up does not grow with their number: from a request's host to
 * the lines that name it. A pattern is found by the labels behind its last
 * '*', and then tried.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"
#include "policy/lines.h"

struct arena;
struct rule_host;

struct names_key;
struct names_entry;

/* Zeroed at first. */
struct names {
    struct names_entry *entries; /* owned, while it is built */
    size_t entry_count;
    size_t entry_cap;
    struct names_key *keys; /* in the arena, as the rest */
    size_t key_count;
    uint32_t *slots; /* the hash table, mask + 1 of them: number of the key, 0 for none */
    size_t mask;
};

/* What of a host hits: lines that name it for certain, and lines that have a pattern to be tried.
 */
struct names_hits {
    struct lines_hits sure;
    struct lines_hits maybe;
};

/* Adds one name of a line. host's text is borrowed and must live as long as names. 0 or -ENOMEM. */
MUST_USE int names_add(struct names *names, const struct rule_host *host, struct lines_entry line);
/* After the last name: builds the table in the arena. 0 or -ENOMEM. */
MUST_USE int names_finish(struct names *names, struct arena *arena);
/* Of names that were not finished. */
void names_deinit(struct names *names);

/* name as in struct host; empty hits nothing. */
void names_find(const struct names *names, struct str name, struct names_hits *ret);

/* Whether name is what the one pattern or name means. */
bool names_match(const struct rule_host *host, struct str name);
