// SPDX-License-Identifier: MIT
#include "base/str.h"

#include <string.h>

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
        if (s.ptr[i] != prefix.ptr[i] && str_lower(s.ptr[i]) != str_lower(prefix.ptr[i])) {
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
    const char *at = s.len > 0 ? memrchr(s.ptr, c, s.len) : NULL;

    return at ? (size_t)(at - s.ptr) : s.len;
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

struct str str_skip_bom(struct str s)
{
    struct str mark = STR("\xef\xbb\xbf");

    return str_starts(s, mark) ? str_from(s, mark.len) : s;
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

static inline int digit_value(char c, unsigned base)
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

static inline bool parse_number(struct str s, unsigned base, uint64_t max, uint64_t *ret)
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
