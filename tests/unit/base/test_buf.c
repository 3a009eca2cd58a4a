// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/slab.h"

static struct buf_budget budget;
static struct slabs slabs;
static struct buf_account account;
static struct buf_pool pool;
static struct buf buf;

static void set_up(void)
{
    budget.max_bytes = (int64_t)1 << 20;
    atomic_store(&budget.used_bytes, 0);
    account = (struct buf_account){.budget = &budget};
    slabs_init(&slabs);
    buf_pool_init(&pool, &slabs, &account);
    buf = (struct buf){0};
}

static void tear_down(void)
{
    buf_release(&buf, &pool);
    slabs_deinit(&slabs);
    buf_account_settle(&account);
    cr_expect_eq(atomic_load(&budget.used_bytes), 0, "all was given back");
}

TestSuite(buf, .init = set_up, .fini = tear_down);

static void append(const char *text)
{
    cr_assert_eq(buf_append(&buf, &pool, text, strlen(text)), 0);
}

Test(buf, holds_memory_only_while_it_holds_bytes)
{
    append("hello");
    cr_expect(str_eq(buf_str(&buf), STR("hello")));
    buf_consume(&buf, &pool, 2);
    cr_expect(str_eq(buf_str(&buf), STR("llo")));
    cr_expect_not_null(buf.block);
    buf_consume(&buf, &pool, 3);
    cr_expect_null(buf.block);
    cr_expect_eq(buf_len(&buf), 0);
}

Test(buf, keeps_bytes_as_it_moves_and_grows)
{
    static char want[100000];
    size_t len = 0;

    for (size_t i = 0; i < sizeof(want); i++) {
        want[i] = (char)(i * 31);
    }
    for (size_t step = 1; len + step <= sizeof(want); len += step, step = step * 2 + 1) {
        cr_assert_eq(buf_append(&buf, &pool, want + len, step), 0);
    }
    cr_assert_eq(buf_len(&buf), len);
    cr_expect_eq(memcmp(buf_str(&buf).ptr, want, len), 0);
}

Test(buf, front_room_is_used_before_growing)
{
    size_t cap;

    cr_assert_eq(buf_reserve(&buf, &pool, 4096), 0);
    cap = buf.block->cap;
    memset(buf_room(&buf), 'x', cap);
    buf_extend(&buf, cap);
    buf_consume(&buf, &pool, cap - 96);
    cr_assert_eq(buf_reserve(&buf, &pool, cap - 96), 0);
    cr_expect_eq(buf.block->cap, cap);
    cr_expect_eq(buf_len(&buf), 96);
    cr_expect_eq(buf_str(&buf).ptr[95], 'x');
}

/* Appends, and tells where the bytes stand, to be looked at once they have left. */
static const char *place_of(const char *text)
{
    slabs.single = false; /* what is given back stays mapped */
    append(text);
    return buf_str(&buf).ptr + buf_len(&buf) - strlen(text);
}

Test(buf, dropped_bytes_are_overwritten)
{
    const char *place = place_of("before secret") + strlen("before ");

    buf_consume(&buf, &pool, 3);
    buf_release(&buf, &pool);
    cr_expect_neq(memcmp(place, "secret", 6), 0);
}

Test(buf, moved_bytes_are_overwritten_where_they_stood)
{
    const char *place;
    size_t cap;

    slabs.single = false;
    cr_assert_eq(buf_reserve(&buf, &pool, 1), 0);
    cap = buf.block->cap;
    memset(buf_room(&buf), 'x', cap - 6);
    buf_extend(&buf, cap - 6);
    place = place_of("secret");
    buf_consume(&buf, &pool, cap - 6);
    cr_assert_eq(buf_reserve(&buf, &pool, 1), 0);
    cr_expect(str_eq(buf_str(&buf), STR("secret")), "at the front");
    cr_expect_neq(memcmp(place, "secret", 6), 0);
    place = buf_str(&buf).ptr;
    cr_assert_eq(buf_reserve(&buf, &pool, cap), 0);
    cr_expect(str_eq(buf_str(&buf), STR("secret")), "in a larger one");
    cr_expect_neq(memcmp(place, "secret", 6), 0);
}

Test(buf, what_is_in_use_counts)
{
    append("a");
    buf_account_settle(&account);
    cr_expect_eq(atomic_load(&budget.used_bytes),
                 (int64_t)slab_fit(sizeof(struct buf_block) + 4096));
    buf_consume(&buf, &pool, 1);
    buf_account_settle(&account);
    cr_expect_eq(atomic_load(&budget.used_bytes), 0);
}

Test(buf, large_sums_are_settled_at_once)
{
    cr_assert_eq(buf_reserve(&buf, &pool, (size_t)64 << 10), 0);
    cr_expect_eq(atomic_load(&budget.used_bytes),
                 (int64_t)slab_fit(sizeof(struct buf_block) + ((size_t)64 << 10)));
}

Test(buf, spent_budget_is_told_and_refuses_nothing)
{
    budget.max_bytes = (int64_t)64 << 10;
    cr_expect_not(buf_budget_is_spent(&budget));
    cr_assert_eq(buf_reserve(&buf, &pool, (size_t)64 << 10), 0);
    cr_expect(buf_budget_is_spent(&budget));
    cr_expect_eq(buf_reserve(&buf, &pool, (size_t)128 << 10), 0);
}

Test(buf, impossible_sizes_fail)
{
    append("a");
    cr_expect_neq(buf_reserve(&buf, &pool, SIZE_MAX), 0);
    cr_expect_neq(buf_reserve(&buf, &pool, SIZE_MAX - 1), 0);
}
