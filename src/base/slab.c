// SPDX-License-Identifier: MIT
#include "base/slab.h"

#include <assert.h>
#include <stdalign.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define SLAB_TRIM_MOST 512 /* slabs */

/* An object that was given back. */
struct slot {
    struct slot *next;
};

/* At the start of a mapping that is aligned to SLAB_BYTES: an object's address tells its slab. */
struct slab {
    struct list open;  /* while it has room for objects of its size */
    struct list spare; /* while nothing is in it */
    struct slot *free; /* given back and not handed out again */
    uint32_t object_bytes;
    uint32_t capacity; /* in objects */
    uint32_t fresh;    /* objects from here on were never handed out: their pages are untouched */
    uint32_t used;
    size_t mapped_bytes;
    alignas(max_align_t) char objects[];
};

#define ROOM_BYTES (SLAB_BYTES - sizeof(struct slab))

static_assert(sizeof(struct slab) % SLAB_STEP_BYTES == 0, "objects are aligned");
static_assert(ROOM_BYTES / (SLAB_FINE_BYTES + SLAB_STEP_BYTES) == SLAB_COARSE_MOST, "no gap");

void slabs_init(struct slabs *slabs)
{
    *slabs = (struct slabs){0};
#ifdef MEM_FAULTS
    slabs->single = true;
#endif
    for (size_t i = 0; i < SLAB_CLASSES; i++) {
        list_init(&slabs->open[i]);
    }
    for (size_t i = 0; i < SLAB_SPARE_KINDS; i++) {
        list_init(&slabs->spares[i]);
    }
}

/* ------------------------------------------------------------------ spare slabs */

/* The spares of that size, or NULL when such mappings are not kept. */
static struct list *spares_of(struct slabs *slabs, size_t mapped_bytes)
{
    size_t kind = mapped_bytes / SLAB_BYTES - 1;

    return kind < SLAB_SPARE_KINDS ? &slabs->spares[kind] : NULL;
}

/* Of a large object all may be. */
static size_t touched_bytes(const struct slab *slab)
{
    return slab->object_bytes > 0 ? sizeof(*slab) + (size_t)slab->fresh * slab->object_bytes
                                  : slab->mapped_bytes;
}

static void spare_add(struct slabs *slabs, struct list *spares, struct slab *slab)
{
    list_push_front(spares, &slab->spare);
    slabs->spare_bytes += touched_bytes(slab);
}

static void spare_remove(struct slabs *slabs, struct slab *slab)
{
    list_remove(&slab->spare);
    slabs->spare_bytes -= touched_bytes(slab);
    slabs->least_spare = MIN(slabs->least_spare, slabs->spare_bytes);
}

/* Takes slab out, open for no size of object any more. */
static struct slab *spare_take(struct slabs *slabs, struct slab *slab)
{
    spare_remove(slabs, slab);
    list_remove(&slab->open);
    return slab;
}

/* ------------------------------------------------------------------ sizes */

/* The class of objects of that size, or SLAB_CLASSES and more: it has a mapping for itself. */
static size_t class_of(size_t size)
{
    size_t steps = (MAX(size, 1) - 1) / SLAB_STEP_BYTES;

    if (steps < SLAB_FINE_CLASSES) {
        return steps;
    }
    if (size > ROOM_BYTES / 2) {
        return SLAB_CLASSES;
    }
    return SLAB_FINE_CLASSES + SLAB_COARSE_MOST - ROOM_BYTES / ((steps + 1) * SLAB_STEP_BYTES);
}

static size_t class_bytes(size_t class)
{
    size_t count;

    if (class < SLAB_FINE_CLASSES) {
        return (class + 1) * SLAB_STEP_BYTES;
    }
    count = SLAB_COARSE_MOST - (class - SLAB_FINE_CLASSES);
    return ROOM_BYTES / count / SLAB_STEP_BYTES * SLAB_STEP_BYTES;
}

size_t slab_fit(size_t size)
{
    size_t class = class_of(size);
    size_t whole;

    if (class < SLAB_CLASSES) {
        return class_bytes(class);
    }
    if (!mem_add(size, sizeof(struct slab) + SLAB_BYTES - 1, &whole)) {
        return size; /* which no memory has */
    }
    return whole / SLAB_BYTES * SLAB_BYTES - sizeof(struct slab);
}

/* ------------------------------------------------------------------ slabs */

static void slab_unmap(struct slabs *slabs, struct slab *slab)
{
    slabs->mapped_bytes -= slab->mapped_bytes;
    mem_unmap(slab, slab->mapped_bytes);
}

static struct slab *slab_map(struct slabs *slabs, size_t bytes)
{
    struct slab *slab = mem_map(bytes, SLAB_BYTES);

    if (slab) {
        list_init(&slab->open);
        list_init(&slab->spare);
        slab->mapped_bytes = bytes;
        slabs->mapped_bytes += bytes;
    }
    return slab;
}

/* For objects of a class's size, as many as it holds, or for a single larger one. */
static struct slab *slab_new(struct slabs *slabs, size_t object_bytes, bool shared)
{
    size_t bytes = shared ? SLAB_BYTES : sizeof(struct slab) + object_bytes;
    struct list *spares = spares_of(slabs, bytes);
    struct slab *slab;

    if (spares && !list_empty(spares)) {
        slab = spare_take(slabs, LIST_FIRST(spares, struct slab, spare));
    } else {
        slab = slab_map(slabs, bytes);
    }
    if (slab) {
        slab->free = NULL;
        slab->object_bytes = shared ? (uint32_t)object_bytes : 0;
        slab->capacity = shared ? (uint32_t)(ROOM_BYTES / object_bytes) : 1;
        slab->fresh = 0;
        slab->used = 0;
    }
    return slab;
}

/* ------------------------------------------------------------------ objects */

static void *object_take(struct slab *slab)
{
    struct slot *slot = slab->free;

    slab->used++;
    if (slot) {
        slab->free = slot->next;
        return slot;
    }
    return slab->objects + (size_t)slab->fresh++ * slab->object_bytes;
}

/* Of the size class; an open slab may be spare besides. */
static void *alloc_shared(struct slabs *slabs, size_t class)
{
    struct list *open = &slabs->open[class];
    struct slab *slab;
    void *object;

    if (list_empty(open)) {
        slab = slab_new(slabs, class_bytes(class), true);
        if (!slab) {
            return NULL;
        }
        list_push_front(open, &slab->open);
    } else {
        slab = LIST_FIRST(open, struct slab, open);
        if (slab->used == 0) {
            spare_remove(slabs, slab);
        }
    }
    object = object_take(slab);
    if (slab->used == slab->capacity) {
        list_remove(&slab->open);
    }
    return object;
}

void *slab_alloc(struct slabs *slabs, size_t size)
{
    size_t class = class_of(size);
    struct slab *slab;

    if (!slabs || slabs->single) {
        return mem_alloc(size);
    }
    if (class < SLAB_CLASSES) {
        return alloc_shared(slabs, class);
    }
    slab = size <= PTRDIFF_MAX / 2 ? slab_new(slabs, slab_fit(size), false) : NULL;
    return slab ? object_take(slab) : NULL;
}

void *slab_zalloc(struct slabs *slabs, size_t size)
{
    void *object = slab_alloc(slabs, size);

    if (object) {
        memset(object, 0, size);
    }
    return object;
}

static struct slab *slab_of(void *object)
{
    return (struct slab *)(void *)((char *)object - (uintptr_t)object % SLAB_BYTES);
}

/* Slabs with little room are to be filled up first, and those with much to run empty. */
static void free_shared(struct slabs *slabs, struct slab *slab, struct slot *slot)
{
    struct list *open = &slabs->open[class_of(slab->object_bytes)];

    slot->next = slab->free;
    slab->free = slot;
    if (slab->used == 0) {
        list_remove(&slab->open);
        list_push_back(open, &slab->open);
        spare_add(slabs, &slabs->spares[0], slab);
    } else if (!list_linked(&slab->open)) {
        list_push_front(open, &slab->open);
    }
}

void slab_free(struct slabs *slabs, void *object)
{
    struct list *spares;
    struct slab *slab;

    if (!slabs || slabs->single || !object) {
        mem_free(object);
        return;
    }
    slab = slab_of(object);
    ASSERT(slab->used > 0);
    slab->used--;
    if (slab->object_bytes > 0) {
        free_shared(slabs, slab, object);
        return;
    }
    spares = spares_of(slabs, slab->mapped_bytes);
    if (spares) {
        spare_add(slabs, spares, slab);
    } else {
        slab_unmap(slabs, slab);
    }
}

/* ------------------------------------------------------------------ after a peak */

/* Unmaps those that were emptied first, until no more than keep_bytes are left. */
static void unmap_spares(struct slabs *slabs, size_t keep_bytes, size_t most)
{
    for (size_t i = SLAB_SPARE_KINDS; i-- > 0;) {
        struct list *spares = &slabs->spares[i];

        for (; !list_empty(spares) && slabs->spare_bytes > keep_bytes && most > 0; most--) {
            slab_unmap(slabs, spare_take(slabs, LIST_LAST(spares, struct slab, spare)));
        }
    }
}

void slabs_trim(struct slabs *slabs, bool all)
{
    size_t needed = all ? 0 : slabs->spare_bytes - slabs->least_spare;

    unmap_spares(slabs, MAX(needed, SLAB_KEPT_BYTES), SLAB_TRIM_MOST);
    slabs->least_spare = slabs->spare_bytes;
}

void slabs_deinit(struct slabs *slabs)
{
    unmap_spares(slabs, 0, SIZE_MAX);
}
