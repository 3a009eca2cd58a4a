// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/slab.h"

#define MANY 4000
#define KEPT_BYTES (SLAB_KEPT_BYTES + SLAB_BYTES) /* of address space, at most */

static struct slabs slabs;
static char *objects[MANY];

static void set_up(void)
{
    slabs_init(&slabs);
    slabs.single = false; /* as it runs without the address sanitizer */
}

static void tear_down(void)
{
    slabs_deinit(&slabs);
    cr_expect_eq(slabs.mapped_bytes, 0, "all was given back");
}

TestSuite(slab, .init = set_up, .fini = tear_down);

/* Objects with a pattern of their own, so that two in one place are found out. */
static char *make(size_t size, size_t number)
{
    char *object = slab_alloc(&slabs, size);

    cr_assert_not_null(object);
    cr_assert_eq((uintptr_t)object % alignof(max_align_t), 0);
    memset(object, (int)(number * 31 % 251), size);
    return object;
}

static void drop(char *object, size_t size, size_t number)
{
    for (size_t i = 0; i < size; i++) {
        cr_assert_eq(object[i], (char)(number * 31 % 251));
    }
    slab_free(&slabs, object);
}

static void make_many(size_t size)
{
    for (size_t i = 0; i < MANY; i++) {
        objects[i] = make(size, i);
    }
}

/* Every step-th from first on. */
static void drop_some(size_t size, size_t first, size_t step)
{
    for (size_t i = first; i < MANY; i += step) {
        drop(objects[i], size, i);
        objects[i] = NULL;
    }
}

static void trim_all(void)
{
    for (int i = 0; i < 100 && slabs_are_spare(&slabs); i++) {
        slabs_trim(&slabs, false);
    }
    cr_assert_not(slabs_are_spare(&slabs));
}

Test(slab, objects_of_all_sizes_are_aligned_and_do_not_overlap)
{
    static const size_t sizes[] = {1,    8,    16,   17,   200,     424,    1000,
                                   4096, 4160, 4161, 5000, 1 << 16, 100000, 1000000};

    for (size_t i = 0; i < MANY / 100 * 14; i++) {
        objects[i] = make(sizes[i % 14], i);
    }
    for (size_t i = 0; i < MANY / 100 * 14; i++) {
        drop(objects[i], sizes[i % 14], i);
    }
}

Test(slab, zeroed_objects_are_zero_where_others_were)
{
    char *object = make(100, 7);

    slab_free(&slabs, object);
    object = slab_zalloc(&slabs, 100);
    cr_assert_not_null(object);
    for (size_t i = 0; i < 100; i++) {
        cr_expect_eq(object[i], 0);
    }
    slab_free(&slabs, object);
}

Test(slab, objects_of_one_size_stand_close)
{
    make_many(200);
    cr_expect_leq(slabs.mapped_bytes, MANY * 208 * 103 / 100 + SLAB_BYTES);
    drop_some(200, 0, 1);
}

Test(slab, what_an_object_takes_holds_it_and_little_more)
{
    size_t before = 0;

    for (size_t size = 1; size < 200000; size++) {
        size_t fit = slab_fit(size);

        cr_assert_geq(fit, size);
        cr_assert_geq(fit, before, "%zu", size);
        cr_assert_eq(slab_fit(fit), fit, "%zu", size);
        cr_assert(size > SLAB_BYTES / 2 - 64 || fit <= size * 3 / 2 + SLAB_STEP_BYTES, "%zu", size);
        before = fit;
    }
    cr_expect_geq(slab_fit(SIZE_MAX), SIZE_MAX);
}

Test(slab, no_more_is_mapped_than_objects_take)
{
    static const size_t sizes[] = {1,     200,   4160,  4161,  5000,  8200,  10000,
                                   16408, 21824, 21825, 32736, 32737, 65472, 65473};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t mapped;

        slabs_trim(&slabs, true);
        mapped = slabs.mapped_bytes;
        for (size_t n = 0; n < 100; n++) {
            objects[n] = make(sizes[i], n);
        }
        cr_expect_leq(slabs.mapped_bytes - mapped,
                      100 * slab_fit(sizes[i]) * 103 / 100 + SLAB_BYTES, "%zu", sizes[i]);
        for (size_t n = 0; n < 100; n++) {
            drop(objects[n], sizes[i], n);
        }
    }
}

Test(slab, holes_are_filled_before_more_is_mapped)
{
    size_t mapped;

    make_many(300);
    mapped = slabs.mapped_bytes;
    drop_some(300, 0, 3);
    for (size_t i = 0; i < MANY; i += 3) {
        objects[i] = make(300, i);
    }
    cr_expect_eq(slabs.mapped_bytes, mapped);
    drop_some(300, 0, 1);
}

Test(slab, slabs_with_holes_are_filled_before_an_empty_one)
{
    size_t in_slab = (SLAB_BYTES - 64) / 1008; /* objects of 1000 bytes */
    size_t spare;

    make_many(1000);
    for (size_t i = 2 * in_slab - 1; i < MANY; i += in_slab) {
        drop(objects[i], 1000, i);
    }
    for (size_t i = 0; i < in_slab; i++) {
        drop(objects[i], 1000, i);
    }
    spare = slabs.spare_bytes;
    cr_expect_gt(spare, 0);
    for (size_t i = 2 * in_slab - 1; i < MANY; i += in_slab) {
        objects[i] = make(1000, i);
    }
    cr_expect_eq(slabs.spare_bytes, spare);
    drop_some(1000, in_slab, 1);
}

Test(slab, what_has_run_empty_is_kept_until_it_is_trimmed)
{
    size_t mapped;

    make_many(300);
    mapped = slabs.mapped_bytes;
    drop_some(300, 0, 1);
    cr_expect_eq(slabs.mapped_bytes, mapped);
    cr_expect(slabs_are_spare(&slabs));
    trim_all();
    cr_expect_leq(slabs.mapped_bytes, KEPT_BYTES);
}

Test(slab, what_is_in_use_again_and_again_is_not_trimmed)
{
    size_t mapped;

    make_many(300);
    drop_some(300, 0, 1);
    slabs_trim(&slabs, false); /* a new interval begins */
    mapped = slabs.mapped_bytes;
    cr_expect_gt(mapped, KEPT_BYTES);
    for (int i = 0; i < 5; i++) {
        make_many(300);
        drop_some(300, 0, 1);
        slabs_trim(&slabs, false);
        cr_expect_eq(slabs.mapped_bytes, mapped);
    }
    slabs_trim(&slabs, false);
    cr_expect_leq(slabs.mapped_bytes, KEPT_BYTES);
}

Test(slab, what_was_needed_just_now_is_trimmed_on_demand)
{
    slabs_trim(&slabs, false);
    make_many(300);
    drop_some(300, 0, 1);
    slabs_trim(&slabs, false);
    cr_expect_gt(slabs.mapped_bytes, KEPT_BYTES);
    slabs_trim(&slabs, true);
    cr_expect_leq(slabs.mapped_bytes, KEPT_BYTES);
}

Test(slab, few_that_stay_keep_few_slabs)
{
    make_many(1000);
    for (size_t i = 0; i < MANY; i++) {
        if (i % 1000 != 0) {
            drop(objects[i], 1000, i);
        }
    }
    trim_all();
    cr_expect_leq(slabs.mapped_bytes, 4 * SLAB_BYTES + KEPT_BYTES);
    for (size_t i = 0; i < MANY; i += 1000) {
        drop(objects[i], 1000, i);
    }
}

Test(slab, empty_slab_serves_another_size)
{
    size_t mapped;

    make_many(300);
    mapped = slabs.mapped_bytes;
    drop_some(300, 0, 1);
    make_many(290);
    cr_expect_leq(slabs.mapped_bytes, mapped);
    drop_some(290, 0, 1);
    make_many(300);
    cr_expect_leq(slabs.mapped_bytes, mapped);
    drop_some(300, 0, 1);
}

Test(slab, one_object_to_and_fro_maps_once)
{
    size_t mapped;

    slab_free(&slabs, make(500, 1));
    mapped = slabs.mapped_bytes;
    for (int i = 0; i < 10; i++) {
        slab_free(&slabs, make(500, 1));
        slab_free(&slabs, make((size_t)64 << 10, 1));
    }
    cr_expect_eq(mapped, SLAB_BYTES);
    cr_expect_eq(slabs.mapped_bytes, 3 * SLAB_BYTES);
}

Test(slab, large_mappings_go_back_at_once)
{
    char *object = make(1000000, 1);

    cr_expect_geq(slabs.mapped_bytes, 1000000);
    slab_free(&slabs, object);
    cr_expect_eq(slabs.mapped_bytes, 0);
}

Test(slab, impossible_sizes_fail)
{
    cr_expect_null(slab_alloc(&slabs, SIZE_MAX));
    cr_expect_null(slab_alloc(&slabs, PTRDIFF_MAX));
    cr_expect_eq(slabs.mapped_bytes, 0);
}

Test(slab, without_slabs_it_is_an_allocation_of_its_own)
{
    char *object = slab_zalloc(NULL, 10);

    cr_assert_not_null(object);
    slab_free(NULL, object);
    slab_free(NULL, NULL);
    slab_free(&slabs, NULL);
}

#ifdef MEM_FAULTS
Test(slab, refused_memory_is_no_object)
{
    char *object;

    mem_fail(1, 2);
    cr_expect_null(slab_alloc(&slabs, 100));
    cr_expect_null(slab_alloc(&slabs, 100000));
    object = make(100, 1);
    slab_free(&slabs, object);
}

Test(slab, sanitizer_sees_each_object)
{
    struct slabs own;

    slabs_init(&own);
    cr_expect(own.single);
    mem_fail(2, 2);
    slab_free(&own, slab_alloc(&own, 100));
    cr_expect_null(slab_alloc(&own, 100));
    slabs_deinit(&own);
}
#endif
