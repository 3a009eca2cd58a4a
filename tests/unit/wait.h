// SPDX-License-Identifier: MIT
#pragma once

/* Waits of a test for what another thread does. */

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <time.h>

#define WAIT_DEADLINE_MS 20000 /* nothing takes that long unless it is broken */

static inline void nap(void)
{
    const struct timespec time = {.tv_nsec = 1000000};

    (void)nanosleep(&time, NULL);
}

static inline void wait_for(atomic_bool *flag)
{
    for (unsigned ms = 0; !atomic_load(flag); ms++) {
        cr_assert_lt(ms, WAIT_DEADLINE_MS);
        nap();
    }
}
