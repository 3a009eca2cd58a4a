// SPDX-License-Identifier: MIT
#pragma once

/*
 * Flat byte buffers, and the pool of a worker they come from. A buffer holds
 * memory only while it holds bytes: consuming the last byte gives the memory
 * back. What all pools together may hold is one budget (limits.buffers).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

#define BUF_CLASSES 3 /* 4K, 16K, 64K; larger ones are allocated to measure */

/* Shared by the pools of all workers. */
struct buf_budget {
    _Atomic uint64_t used_bytes;
    uint64_t max_bytes;
};

struct buf_block;

/* Not shared between threads. */
struct buf_pool {
    struct buf_budget *budget; /* borrowed */
    struct buf_block *free_lists[BUF_CLASSES];
    size_t free_bytes;
};

struct buf {
    char *data; /* owned by the pool's caller; NULL while empty */
    size_t cap;
    size_t start;
    size_t end;
};

void buf_pool_init(struct buf_pool *pool, struct buf_budget *budget);
void buf_pool_deinit(struct buf_pool *pool);

static inline size_t buf_len(const struct buf *buf)
{
    return buf->end - buf->start;
}

static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->data ? buf->data + buf->start : NULL, buf_len(buf)};
}

/* Room for at least size more bytes behind the last. 0; -ENOBUFS when the budget is spent, -ENOMEM. */
MUST_USE int buf_reserve(struct buf *buf, struct buf_pool *pool, size_t size);
/* Appends; errors as buf_reserve, then nothing was appended. */
MUST_USE int buf_append(struct buf *buf, struct buf_pool *pool, const void *ptr, size_t len);
/* Drops len bytes (at most buf_len) from the front. */
void buf_consume(struct buf *buf, struct buf_pool *pool, size_t len);
/* Drops everything and gives the memory back. */
void buf_release(struct buf *buf, struct buf_pool *pool);
