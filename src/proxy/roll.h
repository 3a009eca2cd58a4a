// SPDX-License-Identifier: MIT
#pragma once

/*
 * The roll of one worker: every client connection and every tunnel, in a
 * dense array of pointers. Who is on it may be gone through in steps, over
 * many turns of the loop, while others come and go: whoever is on it from the
 * beginning of a walk to its end is met exactly once.
 *
 * An entry is removed by filling its place from behind, so that entries only
 * ever move towards the front. Those that the present walk has yet to meet
 * stand before all others, and stay so: a hole among them is filled with the
 * last of them, and the hole this leaves with the last of all.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

enum roll_kind { ROLL_CLIENT, ROLL_TUNNEL };

/* Embedded. It takes no more than this, for most connections are idle. */
struct roll_entry {
    uint32_t place : 31;
    uint32_t kind : 1; /* enum roll_kind */
};

struct roll {
    struct roll_entry **entries; /* owned; each borrowed from what it is embedded in */
    size_t count;
    size_t cap;
    size_t unmet; /* the first so many are those that the walk has yet to meet */
};

/* Zeroed, it is empty. */
void roll_deinit(struct roll *roll);

/* False when memory is out. The walk under way does not meet it. */
MUST_USE bool roll_add(struct roll *roll, struct roll_entry *entry, enum roll_kind kind);
void roll_remove(struct roll *roll, const struct roll_entry *entry);
/* What from was part of goes on as what to is part of: in its place. */
void roll_pass(struct roll *roll, const struct roll_entry *from, struct roll_entry *to,
               enum roll_kind kind);

/* Begins a walk; the one under way ends. */
void roll_walk(struct roll *roll);
/* The next one, which may be removed at once; NULL: all have been met. */
MUST_USE struct roll_entry *roll_next(struct roll *roll);

/* For a search beside the walk: the entry before place *at (at first SIZE_MAX), which becomes its
 * place; NULL: there is none. Nobody who stays is missed; some may be met twice. */
MUST_USE struct roll_entry *roll_before(const struct roll *roll, size_t *at);
