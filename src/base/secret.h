// SPDX-License-Identifier: MIT
#pragma once

/*
 * Bytes that nobody may learn from the time we take, or find in memory that
 * was given back.
 */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Whether len bytes are the same; takes as long whatever they are. */
static inline bool secret_eq(const void *a, const void *b, size_t len)
{
    const volatile unsigned char *x = a;
    const volatile unsigned char *y = b;
    unsigned difference = 0;

    for (size_t i = 0; i < len; i++) {
        difference |= (unsigned)(x[i] ^ y[i]);
    }
    return difference == 0;
}

/* Overwrites what no code reads again, which memset might leave out. */
static inline void secret_wipe(void *ptr, size_t len)
{
    explicit_bzero(ptr, len);
}
