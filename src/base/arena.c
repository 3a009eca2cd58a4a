// SPDX-License-Identifier: MIT
#include "base/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/slab.h"

#define LARGE_CHUNK_BYTES ((size_t)1 << 20)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t cap;
    alignas(max_align_t) char data[];
};

void arena_pool_init(struct arena_pool *pool, struct slabs *slabs, struct buf_account *account)
{
    *pool = (struct arena_pool){.slabs = slabs, .account = account};
}

static void count(struct arena_pool *pool, int64_t bytes)
{
    if (pool->account) {
        buf_account_add(pool->account, bytes);
    }
}

/* What is usual for an arena of that size. Without slabs a large one takes large chunks, which are
 * the kernel's again as soon as they are given back (mem_give_back_large). */
static size_t usual_bytes(const struct arena *arena)
{
    size_t share = arena->pool->slabs ? 0 : MIN(arena->total_bytes / 8, LARGE_CHUNK_BYTES);

    return MAX(share, ARENA_CHUNK_BYTES);
}

static struct arena_chunk *chunk_get(const struct arena *arena, size_t min_cap)
{
    struct arena_pool *pool = arena->pool;
    struct arena_chunk *chunk;
    size_t size;

    if (!mem_add(min_cap, sizeof(*chunk), &size)) {
        return NULL;
    }
    if (mem_may_pool()) {
        size = slab_fit(MAX(size, usual_bytes(arena)));
    }
    chunk = slab_alloc(pool->slabs, size);
    if (chunk) {
        chunk->used = 0;
        chunk->cap = size - sizeof(*chunk);
        count(pool, (int64_t)slab_fit(size));
    }
    return chunk;
}

static void chunk_put(struct arena_pool *pool, struct arena_chunk *chunk)
{
    count(pool, -(int64_t)slab_fit(chunk->cap + sizeof(*chunk)));
    slab_free(pool->slabs, chunk);
}

void arena_init(struct arena *arena, struct arena_pool *pool)
{
    *arena = (struct arena){.pool = pool};
}

void arena_wipe(struct arena *arena)
{
    for (struct arena_chunk *chunk = arena->chunks; chunk; chunk = chunk->next) {
        secret_wipe(chunk->data, chunk->used);
    }
}

void arena_reset(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;

        arena->chunks = chunk->next;
        chunk_put(arena->pool, chunk);
    }
    arena->total_bytes = 0;
}

static void *take(struct arena *arena, size_t size, size_t align)
{
    struct arena_chunk *chunk = arena->chunks;
    size_t start = chunk ? (chunk->used + align - 1) & ~(align - 1) : 0;

    if (!chunk || start > chunk->cap || size > chunk->cap - start) {
        chunk = chunk_get(arena, size);
        if (!chunk) {
            return NULL;
        }
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        start = 0;
    }
    chunk->used = start + size;
    arena->total_bytes += size;
    return chunk->data + start;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return take(arena, size, alignof(max_align_t));
}

char *arena_alloc_bytes(struct arena *arena, size_t size)
{
    return take(arena, size, 1);
}

void *arena_grow(struct arena *arena, void *items, size_t count, size_t size)
{
    size_t bytes;
    void *grown;

    if ((count & (count - 1)) != 0) {
        return items;
    }
    if (!mem_mul(MAX(count * 2, 1), size, &bytes)) {
        return NULL;
    }
    grown = arena_alloc(arena, bytes);
    if (grown && count > 0) {
        memcpy(grown, items, count * size);
    }
    return grown;
}

struct str arena_copy(struct arena *arena, struct str s)
{
    char *copy = take(arena, s.len, 1);

    if (copy && s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    return str_make(copy, copy ? s.len : 0);
}

int arena_append(struct arena *arena, struct str *s, const char *ptr, size_t len)
{
    struct arena_chunk *chunk = arena->chunks;
    char *copy;

    if (len == 0) {
        return 0;
    }
    if (chunk && s->len > 0 && s->ptr + s->len == chunk->data + chunk->used &&
        len <= chunk->cap - chunk->used) {
        memcpy(chunk->data + chunk->used, ptr, len);
        chunk->used += len;
        arena->total_bytes += len;
        s->len += len;
        return 0;
    }
    copy = take(arena, s->len + len, 1);
    if (!copy) {
        return -ENOMEM;
    }
    if (s->len > 0) {
        memcpy(copy, s->ptr, s->len);
    }
    memcpy(copy + s->len, ptr, len);
    *s = str_make(copy, s->len + len);
    return 0;
}
