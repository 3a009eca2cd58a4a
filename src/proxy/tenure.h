// SPDX-License-Identifier: MIT
#pragma once

/*
 * A snapshot as one worker uses it: its exchanges are counted without
 * atomics, for all is on one thread. The last use gives it back.
 */

#include <stddef.h>

#include "io/mailbox.h"
#include "policy/snapshot.h"

struct tenure {
    struct mail mail;          /* how the worker sends it back */
    struct snapshot *snapshot; /* shared ref */
    size_t uses; /* exchanges that began with it, and the worker while it is in force */
    void (*over)(void *arg, struct tenure *tenure); /* it is given; nobody uses it any more */
    void *arg;
};

static inline struct tenure *tenure_take(struct tenure *tenure)
{
    tenure->uses++;
    return tenure;
}

static inline void tenure_give(struct tenure *tenure)
{
    if (--tenure->uses == 0) {
        tenure->over(tenure->arg, tenure);
    }
}
