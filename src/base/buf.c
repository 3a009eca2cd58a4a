// SPDX-License-Identifier: MIT
#include "base/buf.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/slab.h"

#define LEAST_BYTES ((size_t)4 << 10)

/* The sum that may stand unsettled. */
#define BUF_SETTLE_BYTES ((int64_t)64 << 10)

void buf_account_settle(struct buf_account *account)
{
    atomic_fetch_add_explicit(&account->budget->used_bytes, account->unsettled_bytes,
                              memory_order_relaxed);
    account->unsettled_bytes = 0;
}

void buf_account_add(struct buf_account *account, int64_t bytes)
{
    account->unsettled_bytes += bytes;
    if (account->unsettled_bytes >= BUF_SETTLE_BYTES ||
        account->unsettled_bytes <= -BUF_SETTLE_BYTES) {
        buf_account_settle(account);
    }
}

void buf_pool_init(struct buf_pool *pool, struct slabs *slabs, struct buf_account *account)
{
    *pool = (struct buf_pool){.slabs = slabs, .account = account};
}

static size_t block_bytes(size_t cap)
{
    return slab_fit(sizeof(struct buf_block) + cap);
}

static struct buf_block *block_new(struct buf_pool *pool, size_t size)
{
    struct buf_block *block;
    size_t bytes;

    if (size > PTRDIFF_MAX) {
        return NULL;
    }
    bytes = block_bytes(MAX(size, LEAST_BYTES));
    block = slab_alloc(pool->slabs, bytes);
    if (block) {
        block->cap = bytes - sizeof(*block);
        block->start = 0;
        block->end = 0;
        buf_account_add(pool->account, (int64_t)bytes);
    }
    return block;
}

static void block_free(struct buf_block *block, struct buf_pool *pool)
{
    buf_account_add(pool->account, -(int64_t)block_bytes(block->cap));
    slab_free(pool->slabs, block);
}

/* Moves what the block holds to its front. */
static void compact(struct buf_block *block)
{
    size_t len = block->end - block->start;

    memmove(block->data, block->data + block->start, len);
    secret_wipe(block->data + len, block->end - len);
    block->start = 0;
    block->end = len;
}

int buf_reserve(struct buf *buf, struct buf_pool *pool, size_t size)
{
    struct buf_block *block = buf->block;
    struct str held = buf_str(buf);
    size_t need;

    if (!mem_add(held.len, size, &need)) {
        return -ENOMEM;
    }
    if (block && need <= block->cap) {
        if (size > block->cap - block->end) {
            compact(block);
        }
        return 0;
    }
    block = block_new(pool, need);
    if (!block) {
        return -ENOMEM;
    }
    if (held.len > 0) {
        memcpy(block->data, held.ptr, held.len);
    }
    block->end = held.len;
    buf_release(buf, pool);
    buf->block = block;
    return 0;
}

char *buf_room(const struct buf *buf)
{
    return buf->block->data + buf->block->end;
}

void buf_extend(struct buf *buf, size_t len)
{
    ASSERT(len <= buf->block->cap - buf->block->end);
    buf->block->end += len;
}

int buf_append(struct buf *buf, struct buf_pool *pool, const void *ptr, size_t len)
{
    int r;

    if (len == 0) {
        return 0;
    }
    r = buf_reserve(buf, pool, len);
    if (r != 0) {
        return r;
    }
    memcpy(buf_room(buf), ptr, len);
    buf_extend(buf, len);
    return 0;
}

void buf_consume(struct buf *buf, struct buf_pool *pool, size_t len)
{
    if (len == buf_len(buf)) {
        if (buf->block) {
            block_free(buf->block, pool);
            buf->block = NULL;
        }
        return;
    }
    ASSERT(len < buf_len(buf));
    buf->block->start += len;
}

void buf_release(struct buf *buf, struct buf_pool *pool)
{
    struct str held = buf_str(buf);

    if (held.len > 0) {
        secret_wipe(buf->block->data + buf->block->start, held.len);
    }
    buf_consume(buf, pool, held.len);
}
