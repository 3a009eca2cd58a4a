// SPDX-License-Identifier: MIT
#pragma once

/*
 * Tables for h1_parse: an input and what must come of it, as one line of
 * text. Every case is run whole, split in two at every byte, and byte by
 * byte with empty calls in between; all runs must end alike. Each piece of
 * input is a heap block of its own, gone when the parser returns, so that a
 * sanitizer sees any view kept into it.
 *
 * The line:  METHOD TARGET 1.MINOR FRAMING keep|close[+expect][+upgrade] {Name=value,...} 'content'
 * END@TAKEN or for a response  STATUS [REASON] 1.MINOR ...  FRAMING is none, len:N, chunked or
 * close. Trailers stand in a second pair of braces. In place of END: an error's name, or MORE. Of a
 * case that ends with the connection (eof) what h1_parser_eof said stands behind it, as in "MORE@20
 * eof:TRUNCATED".
 */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "http/h1_parse.h"

struct h1_case {
    struct str in;
    const char *want;
    enum method to; /* responses: what was asked */
    bool eof;
    struct h1_limits limits; /* all 0: generous ones */
};

/* A message spelt out: the text may hold NUL. */
#define IN(literal) .in = {(literal), sizeof(literal) - 1}

enum h1_side { H1_REQUESTS, H1_RESPONSES };

struct h1_run {
    struct h1_parser *parser;
    struct arena_pool pool;
    struct arena arena;
    struct request request;
    struct response response;
    struct text line;
    char space[16384];
    char body[8192];
    size_t body_len;
    bool head_seen;
    const char *error_text;
};

static const char *const h1_error_names[] = {
    [H1_E_NONE] = "NONE",           [H1_E_MALFORMED] = "MALFORMED",
    [H1_E_METHOD] = "METHOD",       [H1_E_VERSION] = "VERSION",
    [H1_E_HOST] = "HOST",           [H1_E_TARGET_TOO_LONG] = "TARGET_TOO_LONG",
    [H1_E_FRAMING] = "FRAMING",     [H1_E_HEAD_TOO_LARGE] = "HEAD_TOO_LARGE",
    [H1_E_CODING] = "CODING",       [H1_E_NO_MEMORY] = "NO_MEMORY",
    [H1_E_TRUNCATED] = "TRUNCATED",
};

static inline void h1_put_fields(struct text *line, const struct field_list *fields)
{
    text_char(line, '{');
    for (size_t i = 0; i < fields->count; i++) {
        if (i > 0) {
            text_char(line, ',');
        }
        text_put(line, fields->items[i].name);
        text_char(line, '=');
        text_put(line, fields->items[i].value);
    }
    text_puts(line, "} ");
}

static inline void h1_put_framing(struct text *line, const struct framing *framing)
{
    switch (framing->kind) {
    case BODY_NONE:
        text_puts(line, "none ");
        return;
    case BODY_LENGTH:
        text_printf(line, "len:%llu ", (unsigned long long)framing->length);
        return;
    case BODY_CHUNKED:
        text_puts(line, "chunked ");
        return;
    case BODY_UNTIL_CLOSE:
        text_puts(line, "close ");
        return;
    }
}

static inline void h1_put_request(struct text *line, const struct request *request)
{
    text_put(line, request->method_text);
    text_char(line, ' ');
    text_put(line, request->target_text);
    text_printf(line, " 1.%u ", request->minor_version);
    h1_put_framing(line, &request->framing);
    text_puts(line, request->keep_alive ? "keep" : "close");
    text_puts(line, request->expects_continue ? "+expect" : "");
    text_puts(line, request->wants_upgrade ? "+upgrade " : " ");
    h1_put_fields(line, &request->fields);
}

static inline void h1_put_response(struct text *line, const struct response *response)
{
    text_printf(line, "%u [", response->status);
    text_put(line, response->reason);
    text_printf(line, "] 1.%u ", response->minor_version);
    h1_put_framing(line, &response->framing);
    text_puts(line, response->keep_alive ? "keep " : "close ");
    h1_put_fields(line, &response->fields);
}

static inline void h1_run_begin(struct h1_run *run, enum h1_side side, const struct h1_case *c,
                                const struct h1_limits *limits)
{
    arena_pool_init(&run->pool, NULL, NULL);
    arena_init(&run->arena, &run->pool);
    run->line = TEXT_OVER(run->space);
    run->body_len = 0;
    run->head_seen = false;
    if (side == H1_REQUESTS) {
        cr_assert_eq(h1_parser_new_request(NULL, &run->parser), 0);
        h1_parser_begin_request(run->parser, limits, &run->arena, &run->request);
    } else {
        cr_assert_eq(h1_parser_new_response(NULL, &run->parser), 0);
        h1_parser_begin_response(run->parser, limits, &run->arena, &run->response, c->to);
    }
}

static inline void h1_run_head(struct h1_run *run, enum h1_side side)
{
    cr_assert_not(run->head_seen);
    run->head_seen = true;
    if (side == H1_REQUESTS) {
        h1_put_request(&run->line, &run->request);
    } else {
        h1_put_response(&run->line, &run->response);
    }
}

/* One call, on a copy of the piece that is freed at once. */
static inline enum h1_event h1_run_call(struct h1_run *run, struct str piece, size_t *ret_taken)
{
    char *copy = malloc(piece.len ? piece.len : 1);
    struct str body;
    enum h1_event event;

    memcpy(copy, piece.ptr, piece.len);
    event = h1_parser_next(run->parser, copy, piece.len, ret_taken, &body);
    cr_assert_leq(*ret_taken, piece.len);
    cr_assert_eq(event == H1_BODY, body.len > 0);
    if (body.len > 0) {
        cr_assert(body.ptr >= copy && body.ptr + body.len <= copy + *ret_taken);
        memcpy(run->body + run->body_len, body.ptr, body.len);
        run->body_len += body.len;
    }
    free(copy);
    return event;
}

static inline void h1_run_finish(struct h1_run *run, enum h1_event event, size_t taken, bool eof)
{
    const struct field_list *trailers = h1_parser_trailers(run->parser);
    const char *name = h1_error_names[h1_parser_error(run->parser)];

    if (run->body_len > 0) {
        text_char(&run->line, '\'');
        text_put(&run->line, str_make(run->body, run->body_len));
        text_puts(&run->line, "' ");
    }
    if (event == H1_END && trailers->count > 0) {
        h1_put_fields(&run->line, trailers);
    }
    if (event == H1_END || event == H1_MORE) {
        name = event == H1_END ? "END" : "MORE";
    }
    text_printf(&run->line, "%s@%zu", name, taken);
    if (eof) {
        event = h1_parser_eof(run->parser);
        name = event == H1_END ? "END" : "MORE";
        if (event == H1_ERROR) {
            name = h1_error_names[h1_parser_error(run->parser)];
        }
        text_printf(&run->line, " eof:%s", name);
    }
    run->error_text = h1_parser_error_text(run->parser);
    cr_assert_eq(h1_parser_error(run->parser) == H1_E_NONE, run->error_text[0] == '\0');
    text_cstr(&run->line);
    cr_assert_not(run->line.full);
    h1_parser_free(run->parser);
    arena_reset(&run->arena);
}

/* The input arrives in two pieces, cut at split; or byte by byte when split is 0. */
static inline void h1_run_case(struct h1_run *run, enum h1_side side, const struct h1_case *c,
                               size_t split)
{
    struct h1_limits limits = {.head_bytes = 4096, .target_bytes = 1024, .fields = 20};
    size_t have = split > 0 ? split : MIN(c->in.len, 1);
    size_t pos = 0;
    size_t taken = 0;
    enum h1_event event = H1_MORE;

    if (c->limits.head_bytes > 0) {
        limits = c->limits;
    }
    h1_run_begin(run, side, c, &limits);
    while (event != H1_END && event != H1_ERROR) {
        event = h1_run_call(run, str_make(c->in.ptr + pos, have - pos), &taken);
        pos += taken;
        if (event == H1_HEAD) {
            h1_run_head(run, side);
        } else if (event == H1_MORE) {
            cr_assert_eq(pos, have, "H1_MORE left input: %s", c->want);
            if (split == 0) {
                event = h1_run_call(run, str_make("", 0), &taken);
                cr_assert_eq(event, H1_MORE, "An empty call changed something: %s", c->want);
            }
            if (have == c->in.len) {
                break;
            }
            have = split > 0 ? c->in.len : have + 1;
        }
    }
    h1_run_finish(run, event, pos, c->eof);
}

static inline void h1_check(enum h1_side side, const struct h1_case *c)
{
    static struct h1_run whole;
    static struct h1_run other;

    h1_run_case(&whole, side, c, c->in.len);
    cr_assert_str_eq(whole.space, c->want, "got  %s (%s)\nwant %s", whole.space, whole.error_text,
                     c->want);
    for (size_t split = 0; split < c->in.len; split++) {
        h1_run_case(&other, side, c, split);
        cr_assert_str_eq(other.space, whole.space, "cut at %zu: %s\nwhole: %s", split, other.space,
                         whole.space);
        cr_assert_str_eq(other.error_text, whole.error_text, "cut at %zu: %s", split, c->want);
    }
}

static inline void h1_check_all(enum h1_side side, const struct h1_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        h1_check(side, &cases[i]);
    }
}

#define CHECK_REQUESTS(cases) h1_check_all(H1_REQUESTS, cases, ARRAY_LEN(cases))
#define CHECK_RESPONSES(cases) h1_check_all(H1_RESPONSES, cases, ARRAY_LEN(cases))
