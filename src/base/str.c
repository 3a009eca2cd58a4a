// SPDX-License-Identifier: MIT
#include "base/str.h"

#include <string.h>

struct str str_of(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

struct str str_make(const char *ptr, size_t len)
{
    return (struct str){ptr, len};
}

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

char str_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool str_ieq(struct str a, struct str b)
{
    return a.len == b.len && str_istarts(a, b);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_head(s, prefix.len), prefix);
}

bool str_istarts(struct str s, struct str prefix)
{
    if (s.len < prefix.len) {
        return false;
    }
    for (size_t i = 0; i < prefix.len; i++) {
        if (str_lower(s.ptr[i]) != str_lower(prefix.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_from(s, s.len - suffix.len), suffix);
}

bool str_has(struct str s, char c)
{
    return str_find(s, c) < s.len;
}

size_t str_find(struct str s, char c)
{
    const char *at = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;

    return at ? (size_t)(at - s.ptr) : s.len;
}

size_t str_rfind(struct str s, char c)
{
    for (size_t i = s.len; i > 0; i--) {
        if (s.ptr[i - 1] == c) {
            return i - 1;
        }
    }
    return s.len;
}

struct str str_from(struct str s, size_t start)
{
    if (start >= s.len) {
        return (struct str){s.len > 0 ? s.ptr + s.len : s.ptr, 0};
    }
    return (struct str){s.ptr + start, s.len - start};
}

struct str str_head(struct str s, size_t len)
{
    return (struct str){s.ptr, len < s.len ? len : s.len};
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

struct str str_cut(struct str *rest, char sep)
{
    size_t at = str_find(*rest, sep);
    struct str piece = str_head(*rest, at);

    if (at == rest->len) {
        *rest = (struct str){NULL, 0};
    } else {
        *rest = (struct str){rest->ptr + at + 1, rest->len - at - 1};
    }
    return str_trim(piece);
}

void str_lower_copy(char *dst, const char *src, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        dst[i] = str_lower(src[i]);
    }
}

static int digit_value(char c, unsigned base)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = str_lower(c);
    if (base == 16 && c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return -1;
}

static bool parse_number(struct str s, unsigned base, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    if (s.len == 0) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        int digit = digit_value(s.ptr[i], base);

        if (digit < 0 || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value) || value > max) {
            return false;
        }
    }
    *ret = value;
    return true;
}

bool str_parse_u64(struct str s, uint64_t max, uint64_t *ret)
{
    return parse_number(s, 10, max, ret);
}

bool str_parse_hex(struct str s, uint64_t max, uint64_t *ret)
{
    return parse_number(s, 16, max, ret);
}
