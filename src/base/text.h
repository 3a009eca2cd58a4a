// SPDX-License-Identifier: MIT
#pragma once

/*
 * A bounded text builder over memory of the caller. What does not fit is
 * left out whole and remembered in full, so a sequence of puts needs one
 * check at its end. Nothing is allocated and nothing is NUL-terminated,
 * except by text_cstr.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "base/str.h"

struct text {
    char *ptr; /* borrowed */
    size_t len;
    size_t cap;
    bool full; /* something was left out */
};

static inline struct text text_over(char *ptr, size_t cap)
{
    return (struct text){.ptr = ptr, .cap = cap};
}
#define TEXT_OVER(array) text_over((array), sizeof(array))

static inline void text_put(struct text *t, struct str s)
{
    if (UNLIKELY(s.len > t->cap - t->len)) {
        t->full = true;
        return;
    }
    if (s.len > 0) {
        memcpy(t->ptr + t->len, s.ptr, s.len);
        t->len += s.len;
    }
}

static inline void text_puts(struct text *t, const char *s)
{
    text_put(t, str_of(s));
}

static inline void text_char(struct text *t, char c)
{
    text_put(t, str_make(&c, 1));
}

void text_u64(struct text *t, uint64_t value);
/* Lower-case hex, at least min_digits (0 to 16) of them. */
void text_hex(struct text *t, uint64_t value, unsigned min_digits);
void text_printf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* What has been written, as a view. */
static inline struct str text_str(const struct text *t)
{
    return str_make(t->ptr, t->len);
}

/* NUL-terminates (over the last byte when full) and returns the text. cap must be 1 or more. */
const char *text_cstr(struct text *t);
