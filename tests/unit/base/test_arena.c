// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"

static struct buf_budget budget = {.max_bytes = 1 << 30};
static struct buf_account account;
static struct arena_pool pool;
static struct arena arena;

static void set_up(void)
{
    account = (struct buf_account){.budget = &budget};
    arena_pool_init(&pool, NULL, &account);
    arena_init(&arena, &pool);
}

static void tear_down(void)
{
    arena_reset(&arena);
}

TestSuite(arena, .init = set_up, .fini = tear_down);

Test(arena, hands_out_aligned_memory_that_does_not_overlap)
{
    char *bytes = arena_alloc_bytes(&arena, 3);
    char *aligned = arena_alloc(&arena, 100);
    char *big = arena_alloc(&arena, 100000);

    cr_assert(bytes && aligned && big);
    cr_expect_eq((uintptr_t)aligned % alignof(max_align_t), 0);
    memset(bytes, 'a', 3);
    memset(aligned, 'b', 100);
    memset(big, 'c', 100000);
    cr_expect_eq(memcmp(bytes, "aaa", 3), 0);
    cr_expect_eq(aligned[99], 'b');
    cr_expect_eq(arena.total_bytes, 100103);
}

Test(arena, reset_gives_all_back_and_the_arena_is_as_new)
{
    for (int i = 0; i < 5; i++) {
        cr_assert(arena_alloc_bytes(&arena, ARENA_CHUNK_BYTES / 2 + 1));
    }
    cr_assert(arena_alloc_bytes(&arena, 10 * ARENA_CHUNK_BYTES));
    buf_account_settle(&account);
    cr_expect_geq(atomic_load(&budget.used_bytes), 12 * ARENA_CHUNK_BYTES);
    arena_reset(&arena);
    buf_account_settle(&account);
    cr_expect_eq(atomic_load(&budget.used_bytes), 0);
    cr_expect_eq(arena.total_bytes, 0);
    cr_assert(arena_alloc_bytes(&arena, 1));
}

Test(arena, wipe_overwrites_all_that_was_handed_out)
{
    char *parts[] = {arena_alloc_bytes(&arena, 6),
                     arena_alloc_bytes(&arena, 10 * ARENA_CHUNK_BYTES),
                     arena_alloc_bytes(&arena, ARENA_CHUNK_BYTES)};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        cr_assert_not_null(parts[i]);
        memcpy(parts[i], "secret", 6);
    }
    memcpy(parts[1] + 10 * ARENA_CHUNK_BYTES - 6, "secret", 6);
    arena_wipe(&arena);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        cr_expect_neq(memcmp(parts[i], "secret", 6), 0);
    }
    cr_expect_neq(memcmp(parts[1] + 10 * ARENA_CHUNK_BYTES - 6, "secret", 6), 0);
}

Test(arena, array_grows_and_keeps_what_is_in_it)
{
    unsigned *items = NULL;

    for (unsigned i = 0; i < 1000; i++) {
        items = arena_grow(&arena, items, i, sizeof(*items));
        cr_assert_not_null(items);
        items[i] = i;
    }
    for (unsigned i = 0; i < 1000; i++) {
        cr_expect_eq(items[i], i);
    }
    cr_expect_leq(arena.total_bytes, 2048 * sizeof(*items));
    cr_expect_null(arena_grow(&arena, items, (size_t)1 << 62, sizeof(*items)));
}

Test(arena, copy_of_nothing_is_not_out_of_memory)
{
    struct str copy = arena_copy(&arena, str_make(NULL, 0));

    cr_expect_not_null(copy.ptr);
    cr_expect_eq(copy.len, 0);
}

Test(arena, impossible_sizes_fail)
{
    struct str s = {0};

    cr_expect_null(arena_alloc(&arena, SIZE_MAX));
    cr_expect_eq(arena_append(&arena, &s, NULL, 0), 0);
}

Test(arena, append_grows_in_place_or_moves)
{
    struct str s = {0};
    const char *first;

    cr_assert_eq(arena_append(&arena, &s, "ab", 2), 0);
    first = s.ptr;
    cr_assert_eq(arena_append(&arena, &s, "cd", 2), 0);
    cr_expect_eq(s.ptr, first, "newest: in place");
    cr_assert(arena_alloc_bytes(&arena, 1));
    cr_assert_eq(arena_append(&arena, &s, "ef", 2), 0);
    cr_expect_neq(s.ptr, first, "no longer newest: moved");
    cr_expect(str_eq(s, STR("abcdef")));
}

Test(arena, append_crosses_chunks)
{
    struct str s = {0};

    for (int i = 0; i < 3 * ARENA_CHUNK_BYTES; i++) {
        char c = (char)('a' + i % 26);

        cr_assert_eq(arena_append(&arena, &s, &c, 1), 0);
    }
    cr_assert_eq(s.len, 3 * ARENA_CHUNK_BYTES);
    for (size_t i = 0; i < s.len; i++) {
        cr_assert_eq(s.ptr[i], (char)('a' + i % 26));
    }
}

static int64_t in_use(void)
{
    buf_account_settle(&account);
    return atomic_load(&budget.used_bytes);
}

/* They are few, and the kernel's again afterwards; at most an eighth of it is taken in advance. */
Test(arena, a_large_one_takes_large_chunks)
{
    int64_t before = 0;
    unsigned chunks = 0;

    if (!mem_may_pool()) {
        cr_skip_test("each allocation is one of its own here");
    }
    for (unsigned i = 0; i < 32768; i++) {
        cr_assert(arena_alloc_bytes(&arena, 1024));
        chunks += in_use() != before;
        before = in_use();
    }
    cr_expect_lt(chunks, 128, "%u", chunks);
    cr_expect_lt(before, (int64_t)arena.total_bytes / 8 * 9 + 65536);
    arena_reset(&arena);
    cr_expect_eq(in_use(), 0);
}
