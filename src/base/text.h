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

#include "base/attr.h"
#include "base/str.h"

struct text {
    char *ptr; /* borrowed */
    size_t len;
    size_t cap;
    bool full; /* something was left out */
};

struct text text_over(char *ptr, size_t cap);
#define TEXT_OVER(array) text_over((array), sizeof(array))

void text_put(struct text *t, struct str s);
void text_puts(struct text *t, const char *s);
void text_char(struct text *t, char c);
void text_u64(struct text *t, uint64_t value);
/* Lower-case hex, at least min_digits (0 to 16) of them. */
void text_hex(struct text *t, uint64_t value, unsigned min_digits);
void text_printf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* What has been written, as a view. */
struct str text_str(const struct text *t);
/* NUL-terminates (over the last byte when full) and returns the text. cap must be 1 or more. */
const char *text_cstr(struct text *t);
