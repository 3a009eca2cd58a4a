// SPDX-License-Identifier: MIT
#pragma once

/*
 * Flat byte buffers, and the pool of a worker they come from. A buffer holds
 * memory only while it holds bytes: consuming the last byte gives the memory
 * back. What is in use in all pools counts against one budget
 * (limits.buffers). The budget refuses nothing here: who would begin
 * something new asks buf_budget_is_spent first, what has begun goes on.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

#define BUF_CLASSES 3 /* 4K, 16K, 64K; larger ones are allocated to measure */

/* Shared by all workers. */
struct buf_budget {
    _Atomic int64_t used_bytes;
    int64_t max_bytes;
};

/* A worker's account with the budget: settled in larger sums, so that workers seldom meet there. */
struct buf_account {
    struct buf_budget *budget; /* borrowed */
    int64_t unsettled_bytes;
};

/* bytes more (or, negative, fewer) are in use. */
void buf_account_add(struct buf_account *account, int64_t bytes);
/* Brings the budget up to date, once nothing is in use any more. */
void buf_account_settle(struct buf_account *account);
static inline bool buf_budget_is_spent(const struct buf_budget *budget)
{
    return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed) >= budget->max_bytes;
}

struct buf_block;

/* Not shared between threads. */
struct buf_pool {
    struct buf_account *account; /* borrowed */
    struct buf_block *free_lists[BUF_CLASSES];
    size_t free_bytes;
};

struct buf {
    char *data; /* owned by the pool's caller; NULL while empty */
    size_t cap;
    size_t start;
    size_t end;
};

void buf_pool_init(struct buf_pool *pool, struct buf_account *account);
void buf_pool_deinit(struct buf_pool *pool);

static inline size_t buf_len(const struct buf *buf)
{
    return buf->end - buf->start;
}

static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->data ? buf->data + buf->start : NULL, buf_len(buf)};
}

/* Room for at least size more bytes behind the last. 0 or -ENOMEM. */
MUST_USE int buf_reserve(struct buf *buf, struct buf_pool *pool, size_t size);
/* Appends; errors as buf_reserve, then nothing was appended. */
MUST_USE int buf_append(struct buf *buf, struct buf_pool *pool, const void *ptr, size_t len);
/* Drops len bytes (at most buf_len) from the front. */
void buf_consume(struct buf *buf, struct buf_pool *pool, size_t len);
/* Drops everything and gives the memory back. */
void buf_release(struct buf *buf, struct buf_pool *pool);
