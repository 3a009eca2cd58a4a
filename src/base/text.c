// SPDX-License-Identifier: MIT
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static size_t count_digits(uint64_t value)
{
    size_t count = 1;

    for (; value >= 100; value /= 100) {
        count += 2;
    }
    return count + (value >= 10);
}

/* Two digits at a time, each in its place. */
void text_u64(struct text *t, uint64_t value)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    size_t len = count_digits(value);
    char *at;

    if (len > t->cap - t->len) {
        t->full = true;
        return;
    }
    t->len += len;
    at = t->ptr + t->len;
    for (; value >= 10; value /= 100) {
        at -= 2;
        memcpy(at, pairs + 2 * (value % 100), 2);
    }
    if (len % 2 == 1) {
        *--at = (char)('0' + value);
    }
}

void text_hex(struct text *t, uint64_t value, unsigned min_digits)
{
    size_t len = value > 0 ? (size_t)(67 - __builtin_clzll(value)) / 4 : 1;
    char *at;

    ASSERT(min_digits <= 16);
    len = MAX(len, min_digits);
    if (len > t->cap - t->len) {
        t->full = true;
        return;
    }
    t->len += len;
    at = t->ptr + t->len;
    for (size_t i = 0; i < len; i++, value >>= 4) {
        *--at = "0123456789abcdef"[value & 15];
    }
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
