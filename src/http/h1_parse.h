// SPDX-License-Identifier: MIT
#pragma once

/*
 * HTTP/1.x off the wire: the adapter to llhttp, and all that llhttp is laxer
 * about than we are. The caller pulls events: it hands in bytes and gets one
 * event at a time, with the number of bytes taken, so a state machine never
 * runs inside the parser. Result and errors are the same however the input is
 * split. Heads go to the arena given at the message's start.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "http/message.h"

struct h1_limits {
    size_t head_bytes; /* start line and fields, blank line included; trailers, and the chunk
                          extensions of a message together, each have the same bound */
    size_t target_bytes;
    size_t fields; /* of the head, and of the trailers */
};

enum h1_event {
    H1_MORE,  /* all input is taken, nothing is complete: read on */
    H1_HEAD,  /* the head is complete: request or response is filled, but for request->target */
    H1_BODY,  /* *ret_body views content inside the input */
    H1_END,   /* the message is complete; trailers are filled. No byte behind it was taken */
    H1_ERROR, /* h1_parser_error tells; the parser takes nothing more */
};

enum h1_error {
    H1_E_NONE,
    H1_E_MALFORMED,       /* 400 / 502 */
    H1_E_METHOD,          /* 501: no method that the parser knows, but a well-formed token */
    H1_E_VERSION,         /* 505: not HTTP/1.0 or 1.1 (HTTP/0.9 lines too, RFC 9112 2.3) */
    H1_E_TARGET_TOO_LONG, /* 414 */
    H1_E_HEAD_TOO_LARGE,  /* 431 / 502: bytes or number of fields */
    H1_E_FRAMING,         /* 400 / 502: framing_error_text(detail) */
    H1_E_CODING,          /* 501 / 502 */
    H1_E_HOST,            /* 400: Host missing, twice or invalid (RFC 9112 3.2) */
    H1_E_NO_MEMORY,       /* 503 */
    H1_E_TRUNCATED,       /* h1_parser_eof inside a message */
};

struct h1_parser;
struct slabs;

/* 0 or -ENOMEM. A parser serves one connection, message after message. slabs: borrowed, outlives
 * the parser; NULL: it is an allocation of its own. */
MUST_USE int h1_parser_new_request(struct slabs *slabs, struct h1_parser **ret);
MUST_USE int h1_parser_new_response(struct slabs *slabs, struct h1_parser **ret);
void h1_parser_free(struct h1_parser *parser);

/* Begins the next message. All three are borrowed until the message's end. */
void h1_parser_begin_request(struct h1_parser *parser, const struct h1_limits *limits,
                             struct arena *arena, struct request *request);
/* to: the method the response answers. After an interim response (H1_HEAD with status 1xx, then
 * H1_END) begin again for the next. A blank before a field's colon is stripped (RFC 9112 5.1).
 * keep_alive is also false for a 1xx or 204 whose fields announce content. */
void h1_parser_begin_response(struct h1_parser *parser, const struct h1_limits *limits,
                              struct arena *arena, struct response *response, enum method to);

/* Takes up to len bytes at data; *ret_taken says how many. At most one event a call; call again
 * with the rest (also with len 0) until H1_MORE, H1_END or H1_ERROR, which stay what they are until
 * the next begin. Empty lines before a request line are skipped (RFC 9112 2.2), at most a few. For
 * a 101, or a 2xx to CONNECT: H1_HEAD, then H1_END at once. A CONNECT or upgrade request ends as
 * its framing says; what follows it is left in the input. */
enum h1_event h1_parser_next(struct h1_parser *parser, const char *data, size_t len,
                             size_t *ret_taken, struct str *ret_body);
/* The peer ended its side. H1_END: the message was complete by that (close-delimited), or H1_END
 * was the next event anyway; H1_MORE: it was between messages; H1_ERROR: cut short
 * (H1_E_TRUNCATED). */
enum h1_event h1_parser_eof(struct h1_parser *parser);

/* How many of the bytes that come next are content as they stand: what is left of a body with a
 * length, UINT64_MAX of one until close, else 0. */
uint64_t h1_parser_plain_left(const struct h1_parser *parser);
/* len of them (1 to h1_parser_plain_left) went another way; as if they had been H1_BODY. */
void h1_parser_skip_body(struct h1_parser *parser, uint64_t len);

/* A byte of the current message has been taken; empty lines before it are none. */
bool h1_parser_started(const struct h1_parser *parser);
/* Trailer fields of the message that ended, not yet filtered; valid as the arena is. */
struct field_list *h1_parser_trailers(struct h1_parser *parser);
enum h1_error h1_parser_error(const struct h1_parser *parser);
/* One short sentence for log and client, no peer bytes in it. */
const char *h1_parser_error_text(const struct h1_parser *parser);
/* Whether a request with this method is read; any other is H1_E_METHOD. */
bool h1_parser_knows_method(struct str method);
/* Of the parser library, as "9.2.1". */
const char *h1_parser_library_version(void);
