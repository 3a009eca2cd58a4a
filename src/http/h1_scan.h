// SPDX-License-Identifier: MIT
#pragma once

/*
 * Where a head or a trailer section ends, found before the parser library
 * sees a byte of it. Lines must end in CRLF (RFC 9112 2.2), the start line is
 * held to the letter of the grammar, and the limits count here, so that a
 * fault is found at the same byte however the input was split. Field lines
 * are only delimited: their grammar is the library's.
 * Private to h1_parse.
 */

#include <stddef.h>

#include "base/str.h"
#include "http/h1_parse.h"

enum h1_scan_state {
    H1_SCAN_METHOD,
    H1_SCAN_TARGET,
    H1_SCAN_TARGET_CR, /* a CR straight after the target: an HTTP/0.9 line, if LF follows */
    H1_SCAN_VERSION,
    H1_SCAN_STATUS, /* version and status code of a response */
    H1_SCAN_REASON,
    H1_SCAN_LF, /* CR of the start line seen */
    H1_SCAN_FIELDS,
};

enum h1_scan_result {
    H1_SCAN_MORE,
    H1_SCAN_DONE,   /* the blank line is complete */
    H1_SCAN_FAILED, /* error and text tell */
};

struct h1_scan {
    enum h1_scan_state state;
    size_t bytes; /* scanned since the beginning */
    size_t max_bytes;
    size_t target_bytes;
    size_t max_target;
    size_t column;   /* in the current word of the start line, or in the field line */
    char version[2]; /* the two digits */
    char last;       /* the byte before */
    enum h1_error error;
    const char *text;
};

void h1_scan_request(struct h1_scan *scan, const struct h1_limits *limits);
void h1_scan_response(struct h1_scan *scan, const struct h1_limits *limits);
/* A trailer section: fields without a start line. */
void h1_scan_trailers(struct h1_scan *scan, const struct h1_limits *limits);

/* *ret_scanned: bytes of the section found in data. None behind its end, and none from the one at
 * fault on. */
enum h1_scan_result h1_scan_next(struct h1_scan *scan, const char *data, size_t len,
                                 size_t *ret_scanned);

/* Takes the blanks between field names and their colon out of a complete section (RFC 9112 5.1: in
 * a response they are stripped); skip_line leaves the start line alone. Returns the new length. */
size_t h1_scan_strip_blanks(char *section, size_t len, bool skip_line);
