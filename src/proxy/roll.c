// SPDX-License-Identifier: MIT
#include "proxy/roll.h"

#include "base/err.h"
#include "base/mem.h"

#define MIN_CAP 64
#define PLACE_MAX 0x7FFFFFFFU

static void put(struct roll *roll, size_t place, struct roll_entry *entry)
{
    roll->entries[place] = entry;
    entry->place = (uint32_t)place & PLACE_MAX;
}

static bool resize(struct roll *roll, size_t cap)
{
    struct roll_entry **entries =
        (struct roll_entry **)mem_realloc_array((void *)roll->entries, cap, sizeof(*entries));

    if (entries) {
        roll->entries = entries;
        roll->cap = cap;
    }
    return entries != NULL;
}

void roll_deinit(struct roll *roll)
{
    mem_free((void *)roll->entries);
    *roll = (struct roll){0};
}

bool roll_add(struct roll *roll, struct roll_entry *entry, enum roll_kind kind)
{
    if (roll->count == roll->cap &&
        (roll->count == PLACE_MAX || !resize(roll, MAX(2 * roll->cap, MIN_CAP)))) {
        return false;
    }
    entry->kind = kind & 1U;
    put(roll, roll->count++, entry);
    return true;
}

void roll_remove(struct roll *roll, const struct roll_entry *entry)
{
    size_t hole = entry->place;

    ASSERT(hole < roll->count && roll->entries[hole] == entry);
    if (hole < roll->unmet) {
        put(roll, hole, roll->entries[--roll->unmet]);
        hole = roll->unmet;
    }
    roll->count--;
    if (hole < roll->count) {
        put(roll, hole, roll->entries[roll->count]);
    }
    if (roll->count < roll->cap / 4 && roll->cap > MIN_CAP) {
        (void)resize(roll, roll->cap / 2); /* else it stays as large as it is */
    }
}

void roll_pass(struct roll *roll, const struct roll_entry *from, struct roll_entry *to,
               enum roll_kind kind)
{
    ASSERT(from->place < roll->count && roll->entries[from->place] == from);
    to->kind = kind & 1U;
    put(roll, from->place, to);
}

void roll_walk(struct roll *roll)
{
    roll->unmet = roll->count;
}

struct roll_entry *roll_next(struct roll *roll)
{
    return roll->unmet > 0 ? roll->entries[--roll->unmet] : NULL;
}

struct roll_entry *roll_before(const struct roll *roll, size_t *at)
{
    size_t place = MIN(*at, roll->count);

    if (place == 0) {
        return NULL;
    }
    *at = place - 1;
    return roll->entries[*at];
}
