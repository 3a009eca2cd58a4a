// SPDX-License-Identifier: MIT
#pragma once

/*
 * Flat byte buffers. A buffer holds memory only while it holds bytes:
 * consuming the last byte gives the memory back. Bytes that are dropped unread
 * are overwritten, and so is where bytes were moved from: there may be somebody's
 * credentials in them. What is in use on all workers counts against one budget
 * (limits.buffers). The budget refuses nothing here: who would begin something
 * new asks buf_budget_is_spent first, what has begun goes on.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/* Shared by all workers. */
struct buf_budget {
    _Atomic int64_t used_bytes;
    _Atomic int64_t max_bytes;
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
    return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed) >=
           atomic_load_explicit(&budget->max_bytes, memory_order_relaxed);
}

struct slabs;

/* Where the buffers of one worker come from. */
struct buf_pool {
    struct slabs *slabs;         /* borrowed */
    struct buf_account *account; /* borrowed */
};

struct buf_block {
    size_t cap;
    size_t start;
    size_t end;
    char data[];
};

/* A pointer alone: an idle connection has several. */
struct buf {
    struct buf_block *block; /* owned; NULL while empty */
};

static inline size_t buf_len(const struct buf *buf)
{
    return buf->block ? buf->block->end - buf->block->start : 0;
}

static inline struct str buf_str(const struct buf *buf)
{
    return str_make(buf->block ? buf->block->data + buf->block->start : NULL, buf_len(buf));
}

void buf_pool_init(struct buf_pool *pool, struct slabs *slabs, struct buf_account *account);
/* Room for at least size more bytes behind the last. 0 or -ENOMEM. */
MUST_USE int buf_reserve(struct buf *buf, struct buf_pool *pool, size_t size);
/* Where they go, after a buf_reserve of at least one; and len of them have been filled there. */
char *buf_room(const struct buf *buf);
void buf_extend(struct buf *buf, size_t len);
/* Appends; errors as buf_reserve, then nothing was appended. */
MUST_USE int buf_append(struct buf *buf, struct buf_pool *pool, const void *ptr, size_t len);
/* Takes len bytes (at most buf_len) off the front. They are the caller's to wipe, if need be. */
void buf_consume(struct buf *buf, struct buf_pool *pool, size_t len);
/* Drops everything and gives the memory back, overwritten. */
void buf_release(struct buf *buf, struct buf_pool *pool);
