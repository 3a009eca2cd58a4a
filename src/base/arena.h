// SPDX-License-Identifier: MIT
#pragma once

/*
 * A bump allocator for what lives exactly as long as one exchange: the
 * fields of its heads, rebuilt heads, copies of names. Chunks come from a
 * pool per worker and go back to it at once when the arena is reset.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

#define ARENA_CHUNK_BYTES 4096

struct arena_chunk;
struct buf_account;

/* Free chunks of one worker; not shared between threads. */
struct arena_pool {
    struct arena_chunk *free_list;
    size_t free_count;
    size_t max_free;             /* chunks kept; beyond it they go back to malloc */
    struct buf_account *account; /* borrowed; what is in use counts there. NULL: nowhere */
};

struct arena {
    struct arena_pool *pool;    /* borrowed, outlives the arena */
    struct arena_chunk *chunks; /* owned, newest first */
    size_t total_bytes;         /* handed out, for limits */
};

void arena_pool_init(struct arena_pool *pool, size_t max_free, struct buf_account *account);
void arena_pool_deinit(struct arena_pool *pool);

void arena_init(struct arena *arena, struct arena_pool *pool);
/* Frees all that was handed out; the arena is usable again. */
void arena_reset(struct arena *arena);

/* size bytes, aligned for any type, valid until arena_reset; NULL when memory is out. */
MUST_USE void *arena_alloc(struct arena *arena, size_t size);
/* size unaligned bytes. */
MUST_USE char *arena_alloc_bytes(struct arena *arena, size_t size);
/* A copy of s; ptr is NULL when memory is out (also for the empty string it is then not NULL). */
MUST_USE struct str arena_copy(struct arena *arena, struct str s);
/* Appends len bytes to *s, which must be empty or the arena's own copy; grows in place while *s is
 * the newest allocation, else moves it. 0, or -ENOMEM with *s untouched. */
MUST_USE int arena_append(struct arena *arena, struct str *s, const char *ptr, size_t len);
