// SPDX-License-Identifier: MIT
#include "base/buf.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* Free blocks that a pool keeps for the next user; more goes back to the system. */
#define BUF_KEEP_BYTES ((size_t)1 << 20)

struct buf_block {
    struct buf_block *next;
};

static const size_t class_bytes[BUF_CLASSES] = {(size_t)4 << 10, (size_t)16 << 10,
                                                (size_t)64 << 10};

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

void buf_pool_init(struct buf_pool *pool, struct buf_account *account)
{
    *pool = (struct buf_pool){.account = account};
}

void buf_pool_deinit(struct buf_pool *pool)
{
    for (size_t i = 0; i < BUF_CLASSES; i++) {
        while (pool->free_lists[i]) {
            struct buf_block *block = pool->free_lists[i];

            pool->free_lists[i] = block->next;
            mem_free(block);
        }
    }
    pool->free_bytes = 0;
}

/* The smallest class that holds size bytes, or BUF_CLASSES. */
static size_t class_of(size_t size)
{
    size_t i = 0;

    while (i < BUF_CLASSES && class_bytes[i] < size) {
        i++;
    }
    return i;
}

static int block_get(struct buf_pool *pool, size_t size, char **ret_data, size_t *ret_cap)
{
    size_t i = class_of(size);
    size_t cap = i < BUF_CLASSES ? class_bytes[i] : size;
    char *data;

    if (size > PTRDIFF_MAX) {
        return -ENOMEM;
    }
    if (i < BUF_CLASSES && pool->free_lists[i]) {
        data = (char *)pool->free_lists[i];
        pool->free_lists[i] = pool->free_lists[i]->next;
        pool->free_bytes -= cap;
    } else {
        data = mem_alloc(cap);
        if (!data) {
            return -ENOMEM;
        }
    }
    buf_account_add(pool->account, (int64_t)cap);
    *ret_data = data;
    *ret_cap = cap;
    return 0;
}

static void block_put(struct buf_pool *pool, char *data, size_t cap)
{
    size_t i = class_of(cap);

    buf_account_add(pool->account, -(int64_t)cap);
    if (i < BUF_CLASSES && class_bytes[i] == cap && pool->free_bytes + cap <= BUF_KEEP_BYTES &&
        mem_may_pool()) {
        struct buf_block *block = (struct buf_block *)(void *)data;

        block->next = pool->free_lists[i];
        pool->free_lists[i] = block;
        pool->free_bytes += cap;
        return;
    }
    mem_free(data);
}

int buf_reserve(struct buf *buf, struct buf_pool *pool, size_t size)
{
    size_t len = buf_len(buf);
    size_t need;
    char *data;
    size_t cap;
    int r;

    if (size <= buf->cap - buf->end) {
        return 0;
    }
    if (!mem_add(len, size, &need)) {
        return -ENOMEM;
    }
    if (need <= buf->cap) {
        memmove(buf->data, buf->data + buf->start, len);
        buf->start = 0;
        buf->end = len;
        return 0;
    }
    r = block_get(pool, need, &data, &cap);
    if (r != 0) {
        return r;
    }
    if (len > 0) {
        memcpy(data, buf->data + buf->start, len);
    }
    buf_release(buf, pool);
    *buf = (struct buf){.data = data, .cap = cap, .end = len};
    return 0;
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
    memcpy(buf->data + buf->end, ptr, len);
    buf->end += len;
    return 0;
}

void buf_consume(struct buf *buf, struct buf_pool *pool, size_t len)
{
    ASSERT(len <= buf_len(buf));
    buf->start += len;
    if (buf->start == buf->end) {
        buf_release(buf, pool);
    }
}

void buf_release(struct buf *buf, struct buf_pool *pool)
{
    if (buf->data) {
        block_put(pool, buf->data, buf->cap);
    }
    *buf = (struct buf){0};
}
