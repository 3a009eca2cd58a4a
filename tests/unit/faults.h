// SPDX-License-Identifier: MIT
#pragma once

/*
 * A function under test with its first allocation failing, then its second,
 * and so on until none is left to fail. An arena takes its memory piece by
 * piece meanwhile, so that no allocation hides behind another.
 */

#include <criterion/criterion.h>
#include <errno.h>

#include "base/mem.h"

/* prepare comes before every run of action, its memory never fails; action returns -ENOMEM when
 * some was refused, else 0. Returns how many allocations there were. */
static inline unsigned fail_each_allocation(void (*prepare)(void), int (*action)(void))
{
#ifdef MEM_FAULTS
    for (unsigned n = 1;; n++) {
        int r;

        mem_fail(0, 0);
        prepare();
        mem_fail(n, n);
        r = action();
        if (mem_failed() == 0) {
            cr_assert_eq(r, 0);
            return n - 1;
        }
        mem_fail(0, 0);
        cr_assert_eq(r, -ENOMEM, "allocation %u failed: %d", n, r);
    }
#else
    (void)prepare;
    (void)action;
    cr_skip_test("allocations can only be made to fail in builds for it");
#endif
}
