// SPDX-License-Identifier: MIT
#pragma once

/*
 * Views of text: a pointer and a length, borrowed from whoever owns the
 * bytes, never NUL-terminated by contract. Comparison in both cases of
 * ASCII, cutting, trimming, and strict numbers for data off the wire.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"

struct str {
    const char *ptr;
    size_t len;
};

/* A view of a string literal. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf: printf("%.*s", STR_ARG(view)). */
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_make(const char *ptr, size_t len)
{
    return (struct str){ptr, len};
}

/* Of a NUL-terminated string; NULL gives the empty view. */
static inline struct str str_of(const char *text)
{
    return str_make(text, text ? strlen(text) : 0);
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
/* ASCII letters compare without case, here and in str_istarts. */
static inline bool str_ieq(struct str a, struct str b)
{
    return a.len == b.len && str_istarts(a, b);
}

bool str_ends(struct str s, struct str suffix);
bool str_has(struct str s, char c);
/* Index of the first / last c, or s.len if there is none. */
size_t str_find(struct str s, char c);
size_t str_rfind(struct str s, char c);
/* The part from byte start (clamped) to the end; the first len bytes. */
static inline struct str str_from(struct str s, size_t start)
{
    if (start >= s.len) {
        return str_make(s.len > 0 ? s.ptr + s.len : s.ptr, 0);
    }
    return str_make(s.ptr + start, s.len - start);
}

static inline struct str str_head(struct str s, size_t len)
{
    return str_make(s.ptr, len < s.len ? len : s.len);
}

/* Without the byte order mark (U+FEFF in UTF-8) that some editors begin a file with. */
struct str str_skip_bom(struct str s);
/* Without blanks (SP, HTAB) at both ends. */
struct str str_trim(struct str s);
/* Cuts *rest at the first sep: returns what stood before it (trimmed), *rest is what follows.
 * When there is no sep, returns all and leaves *rest with ptr NULL and len 0. */
struct str str_cut(struct str *rest, char sep);

static inline char str_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Decimal digits only, at least one, no sign, no blank, value <= max; false otherwise. */
MUST_USE bool str_parse_u64(struct str s, uint64_t max, uint64_t *ret);
MUST_USE bool str_parse_hex(struct str s, uint64_t max, uint64_t *ret);
