// SPDX-License-Identifier: MIT
#pragma once

/*
 * One generation of all that a reload replaces: the configuration and the
 * policy compiled from it. Immutable, shared by all threads; whoever uses it
 * holds a reference, and the last to let go frees it.
 */

#include <stdint.h>

#include "base/attr.h"
#include "base/ref.h"

struct conf;
struct policy;

struct snapshot {
    struct ref ref;
    struct conf *conf;     /* owned */
    struct policy *policy; /* owned */
    uint64_t generation;   /* counts loads from 1 */
};

/* With one reference. conf is taken; NULL: memory is out, and conf stays the caller's. */
MUST_USE struct snapshot *snapshot_new(struct conf *conf, uint64_t generation);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot); /* accepts NULL */
