// SPDX-License-Identifier: MIT
#pragma once

/*
 * What one worker counts: written by it alone, without lock or
 * read-modify-write; read by anyone, at any time.
 */

#include <stdatomic.h>
#include <stdint.h>

struct tally {
    _Atomic uint64_t requests; /* that have ended, or have become a tunnel */
    _Atomic uint64_t tunnels;  /* open now */
};

static inline void tally_add(_Atomic uint64_t *counter, int by)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, now + (uint64_t)(int64_t)by, memory_order_relaxed);
}

static inline uint64_t tally_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
