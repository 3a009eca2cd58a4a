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

#include "base/attr.h"

struct str {
    const char *ptr;
    size_t len;
};

/* A view of a string literal. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf: printf("%.*s", STR_ARG(view)). */
#define STR_ARG(s) (int)(s).len, (s).ptr

struct str str_of(const char *text); /* of a NUL-terminated string; NULL gives the empty view */
struct str str_make(const char *ptr, size_t len);

bool str_eq(struct str a, struct str b);
bool str_ieq(struct str a, struct str b); /* ASCII letters compare without case */
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_has(struct str s, char c);
/* Index of the first / last c, or s.len if there is none. */
size_t str_find(struct str s, char c);
size_t str_rfind(struct str s, char c);
/* The part from byte start (clamped) to the end; the first len bytes. */
struct str str_from(struct str s, size_t start);
struct str str_head(struct str s, size_t len);
/* Without blanks (SP, HTAB) at both ends. */
struct str str_trim(struct str s);
/* Cuts *rest at the first sep: returns what stood before it (trimmed), *rest is what follows.
 * When there is no sep, returns all and leaves *rest with ptr NULL and len 0. */
struct str str_cut(struct str *rest, char sep);

char str_lower(char c);
/* Lower-cases len bytes of src into dst (which may be src). */
void str_lower_copy(char *dst, const char *src, size_t len);

/* Decimal digits only, at least one, no sign, no blank, value <= max; false otherwise. */
MUST_USE bool str_parse_u64(struct str s, uint64_t max, uint64_t *ret);
MUST_USE bool str_parse_hex(struct str s, uint64_t max, uint64_t *ret);
