// SPDX-License-Identifier: MIT
#pragma once

/*
 * The memory of connections: clients, streams, exchanges, tunnels, their
 * arenas and buffers. Objects of one size stand together in slabs of 64 KiB
 * that come from the kernel and go back to it whole, beside malloc's heap,
 * where one long-lived block pins what a peak has left. Slabs that have run
 * empty are spare until slabs_trim. One set for each worker; not
 * shared between threads.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"

#define SLAB_BYTES ((size_t)64 << 10)
/* Sizes up to SLAB_FINE_BYTES are rounded up to a step. Larger ones are rounded up to what goes
 * SLAB_COARSE_MOST times into a slab, or once less, and so on down to twice; what goes there only
 * once, or not at all, has a mapping for itself. */
#define SLAB_STEP_BYTES ((size_t)16)
#define SLAB_FINE_BYTES ((size_t)4096 + 64)
#define SLAB_FINE_CLASSES (SLAB_FINE_BYTES / SLAB_STEP_BYTES)
#define SLAB_COARSE_MOST 15
#define SLAB_CLASSES (SLAB_FINE_CLASSES + SLAB_COARSE_MOST - 1)
/* Mappings of up to so many SLAB_BYTES become spare, larger ones go back at once. */
#define SLAB_SPARE_KINDS 2

struct slabs {
    struct list open[SLAB_CLASSES]; /* slabs with room, by object size; the next to fill first */
    /* Slabs that nothing is in, of use to the next object of their size or of any other; by their
     * own size (SLAB_BYTES, twice as much), last emptied first. */
    struct list spares[SLAB_SPARE_KINDS];
    size_t spare_bytes; /* of their memory that was ever touched */
    size_t least_spare; /* spare_bytes was never less since the last slabs_trim: so much was not
                           needed */
    size_t mapped_bytes;
    /* Each object is an allocation of its own, for the address sanitizer to watch. */
    bool single;
};

void slabs_init(struct slabs *slabs);
/* Every object must have been given back. */
void slabs_deinit(struct slabs *slabs);

/* size bytes (uninitialised / zeroed), aligned for any type, or NULL when memory is out. slabs
 * NULL: an allocation of its own. */
MUST_USE void *slab_alloc(struct slabs *slabs, size_t size);
MUST_USE void *slab_zalloc(struct slabs *slabs, size_t size);
/* What an object of that size takes of a slab, and may therefore have: size or more. The same for
 * all sizes that it serves. */
size_t slab_fit(size_t size);
/* object came from the same slabs; NULL is accepted. */
void slab_free(struct slabs *slabs, void *object);

/* What a worker may keep for good: it serves a few dozen exchanges at a time. */
#define SLAB_KEPT_BYTES ((size_t)256 << 10)
/* More than that is spare. */
static inline bool slabs_are_spare(const struct slabs *slabs)
{
    return slabs->spare_bytes > SLAB_KEPT_BYTES;
}
/* Gives it back, as much at once as takes the kernel a few ms: all, or what was not needed since
 * the last call. To be called now and then while slabs_are_spare. */
void slabs_trim(struct slabs *slabs, bool all);
