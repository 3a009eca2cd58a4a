// SPDX-License-Identifier: MIT
#pragma once

/*
 * A second, deliberately dull reading of HTTP/1 by the grammar of RFC 9112, for comparison: it
 * shares no code with src/http. Nothing is tolerated that the grammar does not have.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define STRICT_FIELDS_MAX 400

struct strict_field {
    struct str name;
    struct str value;
};

struct strict_head {
    struct str start[3]; /* method, target, version; or version, status, reason */
    struct strict_field fields[STRICT_FIELDS_MAX];
    size_t field_count;
    size_t len; /* blank line included */
};

enum strict_result { STRICT_OK, STRICT_MORE, STRICT_BAD };

bool strict_is_token(struct str s);
/* No control character but HTAB, no DEL, no blank at either end. */
bool strict_is_value(struct str s);
/* blank_before_colon: let it stand, as in responses (RFC 9112 5.1). */
enum strict_result strict_read_head(struct str in, bool is_request, bool blank_before_colon,
                                    struct strict_head *ret);
/* How many fields are called name; *ret is the last one's value. */
size_t strict_count(const struct strict_head *head, const char *name, struct str *ret);

struct fuzz_bytes;

struct strict_chunks {
    size_t len;    /* the whole, trailer section included */
    bool is_plain; /* neither extension nor trailer, sizes of at most 16 digits */
    size_t trailers;
};

/* A chunked body; its content is appended to body. */
enum strict_result strict_read_chunks(struct str in, struct fuzz_bytes *body,
                                      struct strict_chunks *ret);
