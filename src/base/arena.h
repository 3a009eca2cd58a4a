// SPDX-License-Identifier: MIT
#pragma once

/*
 * A bump allocator for what lives exactly as long as one exchange: the
 * fields of its heads, rebuilt heads, copies of names. Its chunks go back to
 * the worker's slabs at once when it is reset.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

#define ARENA_CHUNK_BYTES 3072 /* the heads of most exchanges, as they came and as they go out */

struct arena_chunk;
struct buf_account;

struct slabs;

/* Where the chunks of one worker come from. */
struct arena_pool {
    struct slabs *slabs;         /* borrowed; NULL: each is an allocation of its own */
    struct buf_account *account; /* borrowed; what is in use counts there. NULL: nowhere */
};

struct arena {
    struct arena_pool *pool;    /* borrowed, outlives the arena */
    struct arena_chunk *chunks; /* owned, newest first */
    size_t total_bytes;         /* handed out, for limits */
};

void arena_pool_init(struct arena_pool *pool, struct slabs *slabs, struct buf_account *account);
void arena_init(struct arena *arena, struct arena_pool *pool);
/* Overwrites all that was handed out, which nobody may read again. */
void arena_wipe(struct arena *arena);
/* Frees all that was handed out; the arena is usable again. */
void arena_reset(struct arena *arena);

/* size bytes, aligned for any type, valid until arena_reset; NULL when memory is out. */
MUST_USE void *arena_alloc(struct arena *arena, size_t size);
/* size unaligned bytes. */
MUST_USE char *arena_alloc_bytes(struct arena *arena, size_t size);
/* An array of count elements of size bytes in the arena (NULL: of none) with room for one more: the
 * same, or a copy, since it grows at powers of two; NULL when memory is out. */
MUST_USE void *arena_grow(struct arena *arena, void *items, size_t count, size_t size);
/* A copy of s; ptr is NULL when memory is out (also for the empty string it is then not NULL). */
MUST_USE struct str arena_copy(struct arena *arena, struct str s);
/* Appends len bytes to *s, which must be empty or the arena's own copy; grows in place while *s is
 * the newest allocation, else moves it. 0, or -ENOMEM with *s untouched. */
MUST_USE int arena_append(struct arena *arena, struct str *s, const char *ptr, size_t len);
