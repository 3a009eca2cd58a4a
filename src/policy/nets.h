// SPDX-License-Identifier: MIT
#pragma once

/*
 * All networks of a table's `from` or `to` conditions, sorted, each with the
 * one that it lies in, so that an address finds the lines of every network it
 * lies in by one binary search, however many there are. Ports likewise.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "policy/lines.h"

struct arena;
struct nets_entry;
struct nets_node;

/* One family. */
struct nets_family {
    struct nets_node *nodes; /* in the arena; sorted by first address, wide before narrow */
    size_t count;
};

/* Zeroed at first. */
struct nets {
    struct nets_entry *entries; /* owned, while it is built */
    size_t entry_count;
    size_t entry_cap;
    struct nets_family ip4, ip6;
};

/* Adds one network of a line. 0 or -ENOMEM. */
MUST_USE int nets_add(struct nets *nets, const struct addr_net *net, struct lines_entry line);
/* After the last network: builds the tables in the arena. 0 or -ENOMEM. */
MUST_USE int nets_finish(struct nets *nets, struct arena *arena);
/* Of nets that were not finished. */
void nets_deinit(struct nets *nets);

/* Adds the lines of all networks that addr lies in (addr_in_net). */
void nets_find(const struct nets *nets, const struct addr *addr, struct lines_hits *hits);

/* A range of ports is a few blocks of a space of 16 bits, as networks are of one of 32 or 128: the
 * same table serves them (one that holds ports alone). first is 1 or more. 0 or -ENOMEM. */
MUST_USE int nets_add_ports(struct nets *nets, uint16_t first, uint16_t last,
                            struct lines_entry line);
void nets_find_port(const struct nets *nets, uint16_t port, struct lines_hits *hits);
