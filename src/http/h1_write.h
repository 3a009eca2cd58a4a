// SPDX-License-Identifier: MIT
#pragma once

/*
 * HTTP/1.1 onto the wire: our own writing of every head, chunk and trailer,
 * never a peer's bytes whose framing the next hop could read otherwise.
 */

#include "base/arena.h"
#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"
#include "http/message.h"

/* The whole head with its blank line, in the arena; exact size, one pass to measure and one to
 * write. Always HTTP/1.1. Dropped fields are left out. ptr NULL: memory out. */
MUST_USE struct str h1_write_request(struct arena *arena, const struct request *request);
MUST_USE struct str h1_write_response(struct arena *arena, const struct response *response);

#define H1_CHUNK_HEAD_MAX 18 /* 16 hex digits and CRLF */
/* "SIZE\r\n" for a chunk of len (> 0) bytes. After the data comes CRLF. */
size_t h1_write_chunk_head(char dst[H1_CHUNK_HEAD_MAX], uint64_t len);
/* "0\r\n", trailers (may be NULL), "\r\n". ptr NULL: memory out. */
MUST_USE struct str h1_write_last_chunk(struct arena *arena, const struct field_list *trailers);
/* The reason phrase the RFCs give a status, or "". */
const char *h1_reason(unsigned status);
