// SPDX-License-Identifier: MIT
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

struct text text_over(char *ptr, size_t cap)
{
    return (struct text){.ptr = ptr, .cap = cap};
}

void text_put(struct text *t, struct str s)
{
    if (s.len > t->cap - t->len) {
        t->full = true;
        return;
    }
    if (s.len > 0) {
        memcpy(t->ptr + t->len, s.ptr, s.len);
        t->len += s.len;
    }
}

void text_puts(struct text *t, const char *s)
{
    text_put(t, str_of(s));
}

void text_char(struct text *t, char c)
{
    text_put(t, str_make(&c, 1));
}

void text_u64(struct text *t, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    text_put(t, str_make(digits + at, sizeof(digits) - at));
}

void text_hex(struct text *t, uint64_t value, unsigned min_digits)
{
    char digits[16];
    size_t at = sizeof(digits);

    ASSERT(min_digits <= sizeof(digits));
    while (value > 0 || sizeof(digits) - at < min_digits || at == sizeof(digits)) {
        digits[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
    text_put(t, str_make(digits + at, sizeof(digits) - at));
}

void text_printf(struct text *t, const char *fmt, ...)
{
    va_list args;
    size_t space = t->cap - t->len;
    int need;

    va_start(args, fmt);
    need = vsnprintf(space > 0 ? t->ptr + t->len : NULL, space, fmt, args);
    va_end(args);
    if (need < 0 || (size_t)need >= space) {
        t->full = true;
        return;
    }
    t->len += (size_t)need;
}

struct str text_str(const struct text *t)
{
    return str_make(t->ptr, t->len);
}

const char *text_cstr(struct text *t)
{
    ASSERT(t->cap > 0);
    if (t->len == t->cap) {
        t->len--;
        t->full = true;
    }
    t->ptr[t->len] = '\0';
    return t->ptr;
}
