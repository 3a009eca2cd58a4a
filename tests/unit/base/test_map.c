// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"

#define COUNT 1000

struct item {
    struct map_node node;
    char key[16];
};

static struct map map;
static struct item items[COUNT];

static void set_up(void)
{
    cr_assert_eq(map_init(&map), 0);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(items[i].key, sizeof(items[i].key), "key%d", i);
        items[i].node.key = str_of(items[i].key);
    }
}

static void tear_down(void)
{
    map_deinit(&map);
}

TestSuite(map, .init = set_up, .fini = tear_down);

Test(map, finds_all_while_it_grows_and_shrinks)
{
    for (size_t i = 0; i < COUNT; i++) {
        map_add(&map, &items[i].node);
    }
    cr_expect_eq(map.count, COUNT);
    cr_expect_gt(map.mask, 255);
    for (size_t i = 0; i < COUNT; i += 2) {
        map_remove(&map, &items[i].node);
    }
    for (size_t i = 0; i < COUNT; i++) {
        struct map_node *want = i % 2 == 0 ? NULL : &items[i].node;

        cr_expect_eq(map_find(&map, items[i].node.key), want);
    }
    cr_expect_null(map_find(&map, STR("none")));
}

Test(map, equal_keys_stay_newest_first_while_it_grows)
{
    for (int i = 0; i < 3; i++) {
        items[i].node.key = STR("same");
        map_add(&map, &items[i].node);
    }
    for (int i = 3; i < COUNT; i++) {
        map_add(&map, &items[i].node);
    }
    cr_expect_eq(map_find(&map, STR("same")), &items[2].node);
    cr_expect_eq(map_find_next(&items[2].node), &items[1].node);
    cr_expect_eq(map_find_next(&items[1].node), &items[0].node);
    cr_expect_null(map_find_next(&items[0].node));
    map_remove(&map, &items[1].node);
    cr_expect_eq(map_find_next(&items[2].node), &items[0].node);
}

Test(map, any_empties_it)
{
    size_t taken = 0;
    struct map_node *node;

    for (size_t i = 0; i < COUNT; i++) {
        map_add(&map, &items[i].node);
    }
    while ((node = map_any(&map))) {
        map_remove(&map, node);
        taken++;
    }
    cr_expect_eq(taken, COUNT);
    cr_expect_eq(map.count, 0);
}

Test(map, hash_covers_every_byte)
{
    char text[] = "0123456789abcdefX";

    for (size_t len = 1; len < sizeof(text); len++) {
        uint64_t before = map_hash(str_make(text, len));

        text[len - 1] ^= 1;
        cr_expect_neq(map_hash(str_make(text, len)), before, "length %zu", len);
        text[len - 1] ^= 1;
        cr_expect_eq(map_hash(str_make(text, len)), before);
    }
    cr_expect_neq(map_hash(str_make("\0", 1)), map_hash(str_make("\0\0", 2)));
}

#ifdef MEM_FAULTS
Test(map, without_memory_to_grow_it_gets_slower_not_wrong)
{
    static struct map_node nodes[100];
    static char keys[100];
    struct map slow;

    cr_assert_eq(map_init(&slow), 0);
    mem_fail(1, UINT64_MAX);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        keys[i] = (char)i;
        nodes[i].key = str_make(&keys[i], 1);
        map_add(&slow, &nodes[i]);
    }
    cr_expect_gt(mem_failed(), 0);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        cr_expect_eq(map_find(&slow, nodes[i].key), &nodes[i]);
    }
    mem_fail(0, 0);
    for (struct map_node *node = map_any(&slow); node; node = map_any(&slow)) {
        map_remove(&slow, node);
    }
    cr_expect_eq(slow.count, 0);
    map_deinit(&slow);
}
#endif
