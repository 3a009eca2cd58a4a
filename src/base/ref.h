// SPDX-License-Identifier: MIT
#pragma once

/*
 * A reference count for what threads share. The count starts at one; the
 * thread that drops the last reference frees.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

struct ref {
    atomic_uint count;
};

static inline void ref_init(struct ref *ref)
{
    atomic_init(&ref->count, 1);
}

static inline void ref_take(struct ref *ref)
{
    unsigned old = atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);

    ASSERT(old > 0);
}

/* True when this was the last one. */
static inline bool ref_drop(struct ref *ref)
{
    unsigned old = atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel);

    ASSERT(old > 0);
    return old == 1;
}
