// SPDX-License-Identifier: MIT
#pragma once

/*
 * Sorted lists of line numbers: what the indexes of a rule table (names.h,
 * nets.h) hand out for a key, and the few of them that are hit by one
 * request.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines of a table, each once, borrowed from its index: first those that are found by this key
 * alone, then those that a walk comes by anyway; both ascending. */
struct lines {
    const uint32_t *items;
    uint32_t count;
    uint32_t keyed; /* how many are of the first kind */
};

/* A name has up to 127 labels, and each makes two keys; an address has up to 129 prefixes, and 33
 * more as an IPv4 address. */
#define LINES_HITS_MAX 260

struct lines_hits {
    unsigned count;
    struct lines items[LINES_HITS_MAX];
};

/* A line while an index is built. */
struct lines_entry {
    uint32_t line;
    bool is_keyed;
};

/* In the order that they have in struct lines. */
int lines_compare(const struct lines_entry *a, const struct lines_entry *b);
/* Adds a line, in that order; one that comes twice is added once. next is the place behind the last
 * one, and stays so. */
void lines_append(struct lines *lines, uint32_t **next, struct lines_entry entry);

void lines_hit(struct lines_hits *hits, struct lines lines);
bool lines_have(struct lines lines, uint32_t line);
bool lines_hits_have(const struct lines_hits *hits, uint32_t line);
