// SPDX-License-Identifier: MIT
#include "policy/hits.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/mem.h"
#include "policy/policy.h"

/* Counters kept free at both ends of a worker's, so that no other shares a cache line with them. */
#define MARGIN 8
#define NO_ROW UINT32_MAX

struct named_row {
    struct map_node node; /* its key is the policy's */
    uint32_t row;
    uint32_t previous; /* the row of that name in the policy before; NO_ROW: none */
};

struct hits {
    struct map names;       /* struct named_row */
    struct named_row *rows; /* owned: row_count of them */
    size_t row_count;
    _Atomic uint64_t **counts; /* owned: one array for each worker */
    size_t workers;
};

static const struct named_row *find(const struct hits *hits, struct str name)
{
    struct map_node *node = map_find(&hits->names, name);

    return node ? CONTAINER_OF(node, struct named_row, node) : NULL;
}

static void name_rows(struct hits *hits, const struct policy *policy, const struct hits *previous)
{
    for (uint32_t i = 0; i < hits->row_count; i++) {
        struct named_row *row = &hits->rows[i];
        const struct named_row *before;
        struct policy_line line;

        policy_row(policy, i, &line);
        before = previous ? find(previous, line.name) : NULL;
        row->node.key = line.name;
        row->row = i;
        row->previous = before ? before->row : NO_ROW;
        map_add(&hits->names, &row->node);
    }
}

int hits_new(const struct policy *policy, const struct hits *previous, size_t workers,
             struct hits **ret)
{
    struct hits *hits = mem_zalloc(sizeof(*hits));
    bool whole;

    if (!hits) {
        return -ENOMEM;
    }
    hits->row_count = policy_row_count(policy);
    hits->rows = mem_zalloc(hits->row_count * sizeof(*hits->rows));
    hits->counts = mem_zalloc(workers * sizeof(*hits->counts));
    hits->workers = workers;
    whole = map_init(&hits->names) == 0 && hits->rows && hits->counts;
    for (size_t i = 0; whole && i < workers; i++) {
        hits->counts[i] = mem_zalloc((hits->row_count + 2 * MARGIN) * sizeof(*hits->counts[i]));
        whole = hits->counts[i] != NULL;
    }
    if (!whole) {
        hits_free(hits);
        return -ENOMEM;
    }
    name_rows(hits, policy, previous);
    *ret = hits;
    return 0;
}

void hits_free(struct hits *hits)
{
    if (!hits) {
        return;
    }
    for (size_t i = 0; hits->counts && i < hits->workers; i++) {
        mem_free((void *)(uintptr_t)hits->counts[i]);
    }
    mem_free((void *)hits->counts);
    map_deinit(&hits->names);
    mem_free(hits->rows);
    mem_free(hits);
}

static uint64_t get(const struct hits *hits, size_t worker, uint32_t row)
{
    return atomic_load_explicit(&hits->counts[worker][MARGIN + row], memory_order_relaxed);
}

/* One writer: no read-modify-write is needed. */
static void add(struct hits *hits, size_t worker, uint32_t row, uint64_t count)
{
    atomic_store_explicit(&hits->counts[worker][MARGIN + row], get(hits, worker, row) + count,
                          memory_order_relaxed);
}

void hits_carry(struct hits *hits, const struct hits *from, size_t worker)
{
    for (uint32_t i = 0; i < hits->row_count; i++) {
        if (hits->rows[i].previous != NO_ROW) {
            add(hits, worker, i, get(from, worker, hits->rows[i].previous));
        }
    }
}

void hits_count(struct hits *hits, size_t worker, uint32_t row)
{
    add(hits, worker, row, 1);
}

void hits_count_named(struct hits *hits, size_t worker, struct str name)
{
    const struct named_row *row = find(hits, name);

    if (row) {
        add(hits, worker, row->row, 1);
    }
}

uint64_t hits_sum(const struct hits *hits, uint32_t row)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < hits->workers; i++) {
        sum += get(hits, i, row);
    }
    return sum;
}
