// SPDX-License-Identifier: MIT
#pragma once

/*
 * Untrusted text on its way into a line: the guard against log injection.
 * Whatever the bytes are, what comes out is one token of the style asked for:
 * no control character, no byte that is not valid UTF-8, nothing invisible or
 * that turns the direction of reading.
 */

#include <stddef.h>

#include "base/str.h"
#include "base/text.h"

enum escape_style {
    /* As a JSON string without its quotes, and a quoted logfmt value: \" \\ \n \r \t, all else
     * \u00e9. A byte that is not part of valid UTF-8 stands as \u00 and its two digits. */
    ESCAPE_QUOTED,
    /* The same for text between no quotes: '"' and '\' stand for themselves. */
    ESCAPE_PLAIN,
    /* As Apache writes what stands between quotes: \" \\ \n \r \t \b \v, all else that is not
     * printable ASCII \xhh. */
    ESCAPE_APACHE,
    /* The same for one word between blanks: the blank is \x20 and '[' is \x5b. */
    ESCAPE_APACHE_WORD,
    /* One word of Squid's native format: what is not a visible ASCII character, '"' and '\' is %HH.
     */
    ESCAPE_PERCENT,
};

#define ESCAPE_NO_MAX ((size_t)-1)

/* Appends s, cut with "..." where its escaped form would take more than max_bytes (4 or more);
 * never inside an escape or a character. */
void escape_put(struct text *out, struct str s, enum escape_style style, size_t max_bytes);
/* A logfmt value, quoted only where it must be; "" when empty. The quotes come on top of max_bytes.
 * A lone "-" is quoted, so that it cannot be taken for the one that means "does not apply". */
void escape_put_logfmt(struct text *out, struct str s, size_t max_bytes);
/* A JSON string with its quotes, which come on top of max_bytes. */
void escape_put_json(struct text *out, struct str s, size_t max_bytes);
/* For a person who reads it on a terminal: in place, each character that would not be shown as
 * itself, and each byte that is not valid UTF-8, is one '?'. */
void escape_blank(char *text);
