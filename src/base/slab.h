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
/* Objects up to this size share slabs; a larger one has a mapping for itself. */
#define SLAB_SHARED_BYTES ((size_t)4096 + 64)
#define SLAB_STEP_BYTES ((size_t)16)
#define SLAB_CLASSES (SLAB_SHARED_BYTES / SLAB_STEP_BYTES)
/* Mappings of up to so many SLAB_BYTES become spare, larger ones go back at once. */
#define SLAB_SPARE_KINDS 2

/* Slabs that nothing is in: of use to the next object of their size, or of any other. */
struct slab_spares {
    struct list slabs; /* last emptied first */
    size_t count;
    size_t least; /* count was never lower since the last slabs_trim: so many were not needed */
};

struct slabs {
    struct list open[SLAB_CLASSES]; /* slabs with room, by object size; the next to fill first */
    struct slab_spares spares[SLAB_SPARE_KINDS]; /* of SLAB_BYTES, of twice as much */
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
/* object came from the same slabs; NULL is accepted. */
void slab_free(struct slabs *slabs, void *object);

/* There are more spare slabs than a worker may keep for good. */
bool slabs_are_spare(const struct slabs *slabs);
/* Gives back those of them that were not needed since the last call, so many at once as take the
 * kernel a few ms. To be called now and then while slabs_are_spare. */
void slabs_trim(struct slabs *slabs);
