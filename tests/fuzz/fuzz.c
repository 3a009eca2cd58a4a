// SPDX-License-Identifier: MIT
#include "fuzz.h"

#include <stdarg.h>
#include <string.h>

void fuzz_bytes_put(struct fuzz_bytes *bytes, struct str s)
{
    if (bytes->cap - bytes->len < s.len) {
        bytes->cap = 2 * (bytes->len + s.len) + 256;
        bytes->ptr = realloc(bytes->ptr, bytes->cap);
        CHECK(bytes->ptr, "out of memory");
    }
    if (s.len > 0) {
        memcpy(bytes->ptr + bytes->len, s.ptr, s.len);
        bytes->len += s.len;
    }
}

void fuzz_bytes_printf(struct fuzz_bytes *bytes, const char *fmt, ...)
{
    char buf[512];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(buf, sizeof(buf), fmt, args);
    va_end(args);
    CHECK(len >= 0 && (size_t)len < sizeof(buf), "too long for this");
    fuzz_bytes_put(bytes, str_make(buf, (size_t)len));
}

void fuzz_bytes_free(struct fuzz_bytes *bytes)
{
    free(bytes->ptr);
    *bytes = (struct fuzz_bytes){0};
}
