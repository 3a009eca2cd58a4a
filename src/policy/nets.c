// SPDX-License-Identifier: MIT
#include "policy/nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

#define NO_PARENT UINT32_MAX

struct nets_entry {
    struct addr_net net;
    struct lines_entry line;
};

struct nets_node {
    struct addr_net net;
    struct lines lines;
    uint32_t parent; /* number of the narrowest network that holds this one, or NO_PARENT */
};

/* ---- Building ---- */

int nets_add(struct nets *nets, const struct addr_net *net, struct lines_entry line)
{
    if (nets->entry_count == nets->entry_cap) {
        size_t cap = nets->entry_cap > 0 ? nets->entry_cap * 2 : 16;
        struct nets_entry *grown = mem_realloc_array(nets->entries, cap, sizeof(*nets->entries));

        if (!grown) {
            return -ENOMEM;
        }
        nets->entries = grown;
        nets->entry_cap = cap;
    }
    nets->entries[nets->entry_count++] = (struct nets_entry){*net, line};
    return 0;
}

static int compare_nets(const struct addr_net *a, const struct addr_net *b)
{
    int order = (int)a->addr.kind - (int)b->addr.kind;

    if (order == 0) {
        order = memcmp(a->addr.bytes, b->addr.bytes, sizeof(a->addr.bytes));
    }
    return order != 0 ? order : (a->bits > b->bits) - (a->bits < b->bits);
}

static int compare_entries(const void *a, const void *b)
{
    const struct nets_entry *x = a;
    const struct nets_entry *y = b;
    int order = compare_nets(&x->net, &y->net);

    return order != 0 ? order : lines_compare(&x->line, &y->line);
}

static uint32_t find_parent(const struct nets_family *family, const struct addr_net *net)
{
    uint32_t parent = family->count > 0 ? (uint32_t)family->count - 1 : NO_PARENT;

    while (parent != NO_PARENT && !addr_in_net(&net->addr, &family->nodes[parent].net)) {
        parent = family->nodes[parent].parent;
    }
    return parent;
}

/* The entries of one family, in their order; returns the place behind the last number it wrote. */
static uint32_t *fill(struct nets_family *family, const struct nets *nets, enum addr_kind kind,
                      uint32_t *numbers)
{
    for (size_t i = 0; i < nets->entry_count; i++) {
        const struct nets_entry *entry = &nets->entries[i];
        struct nets_node *last = family->count > 0 ? &family->nodes[family->count - 1] : NULL;

        if (entry->net.addr.kind != kind) {
            continue;
        }
        if (!last || compare_nets(&last->net, &entry->net) != 0) {
            uint32_t parent = find_parent(family, &entry->net);

            last = &family->nodes[family->count++];
            *last = (struct nets_node){.net = entry->net, .parent = parent};
        }
        lines_append(&last->lines, &numbers, entry->line);
    }
    return numbers;
}

int nets_finish(struct nets *nets, struct arena *arena)
{
    size_t count = nets->entry_count;
    uint32_t *numbers = arena_alloc(arena, count * sizeof(*numbers));

    nets->ip4.nodes = arena_alloc(arena, count * sizeof(*nets->ip4.nodes));
    nets->ip6.nodes = arena_alloc(arena, count * sizeof(*nets->ip6.nodes));
    if (!numbers || !nets->ip4.nodes || !nets->ip6.nodes) {
        return -ENOMEM;
    }
    if (count > 0) {
        qsort(nets->entries, count, sizeof(*nets->entries), compare_entries);
    }
    numbers = fill(&nets->ip4, nets, ADDR_IP4, numbers);
    (void)fill(&nets->ip6, nets, ADDR_IP6, numbers);
    nets_deinit(nets);
    return 0;
}

void nets_deinit(struct nets *nets)
{
    mem_free(nets->entries);
    nets->entries = NULL;
    nets->entry_count = 0;
    nets->entry_cap = 0;
}

/* ---- Finding ---- */

/* The last network that does not begin behind addr: addr lies in it or in none but those that it
 * lies in itself. */
static uint32_t last_before(const struct nets_family *family, const struct addr *addr)
{
    size_t low = 0;
    size_t high = family->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct addr *begin = &family->nodes[middle].net.addr;

        if (memcmp(begin->bytes, addr->bytes, sizeof(addr->bytes)) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? (uint32_t)low - 1 : NO_PARENT;
}

static void find(const struct nets_family *family, const struct addr *addr, struct lines_hits *hits)
{
    uint32_t at = last_before(family, addr);

    for (; at != NO_PARENT; at = family->nodes[at].parent) {
        const struct nets_node *node = &family->nodes[at];

        if (addr_in_net(addr, &node->net)) {
            lines_hit(hits, node->lines);
        }
    }
}

void nets_find(const struct nets *nets, const struct addr *addr, struct lines_hits *hits)
{
    struct addr ip4 = addr_unmapped(addr);

    if (ip4.kind == ADDR_IP4) {
        find(&nets->ip4, &ip4, hits);
    }
    if (addr->kind == ADDR_IP6) {
        find(&nets->ip6, addr, hits);
    }
}

/* ---- Ports ---- */

#define PORT_BITS 16

static struct addr port_addr(unsigned port)
{
    return addr_ip4((uint8_t)(port >> 8), (uint8_t)port, 0, 0, 0);
}

int nets_add_ports(struct nets *nets, uint16_t first, uint16_t last, struct lines_entry line)
{
    unsigned begin = first;
    int error = 0;

    while (begin <= last && !error) { /* the largest block that begins here and ends in time */
        unsigned free_bits = (unsigned)__builtin_ctz(begin);
        struct addr_net block;

        while (begin + (1U << free_bits) - 1 > last) {
            free_bits--;
        }
        block = (struct addr_net){.addr = port_addr(begin), .bits = PORT_BITS - free_bits};
        error = nets_add(nets, &block, line);
        begin += 1U << free_bits;
    }
    return error;
}

void nets_find_port(const struct nets *nets, uint16_t port, struct lines_hits *hits)
{
    struct addr addr = port_addr(port);

    find(&nets->ip4, &addr, hits);
}
