// SPDX-License-Identifier: MIT
/*
 * What h1_parse does about a parser library that reads a message otherwise than we do. The one in
 * use agrees on every input that is known, so here stands a function of its name which does not:
 * it hands on to the real one, or lies.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <llhttp.h>

#include "base/attr.h"
#include "http/h1_parse.h"

typedef llhttp_errno_t execute_fn(llhttp_t *llhttp, const char *data, size_t len);

enum lie {
    HONEST,
    SILENT,     /* takes everything and says nothing */
    COMPLETES,  /* says that the message ends with the head */
    ENDS,       /* says that the message ends, and nothing of a head */
    PAUSES,     /* stops half-way for no reason of ours */
    FAILS,      /* finds a fault */
    HEAD_ALONE, /* reports a head with flags and length */
};

static enum lie lie; /* of the next call; then honest again */
static unsigned flags;
static uint64_t content_length;

static llhttp_errno_t stop(llhttp_t *llhttp, const char *at, llhttp_errno_t error)
{
    llhttp->error_pos = at;
    llhttp->reason = "a lie";
    llhttp->error = (int32_t)error;
    return error;
}

static const llhttp_settings_t *settings_of(llhttp_t *llhttp)
{
    return llhttp->settings;
}

static llhttp_errno_t report_head(llhttp_t *llhttp, const char *data)
{
    const llhttp_settings_t *settings = settings_of(llhttp);

    llhttp->http_major = 1;
    llhttp->http_minor = 1;
    llhttp->status_code = 200;
    llhttp->flags = (uint16_t)flags;
    llhttp->content_length = content_length;
    if (llhttp->type == HTTP_REQUEST) {
        settings->on_method(llhttp, "PUT", 3);
        settings->on_url(llhttp, "http://a/", 9);
        settings->on_header_field(llhttp, "Host", 4);
        settings->on_header_value(llhttp, "a", 1);
        settings->on_header_value_complete(llhttp);
    }
    if (content_length > 0) {
        settings->on_header_field(llhttp, "Content-Length", 14);
        settings->on_header_value(llhttp, "5", 1);
        settings->on_header_value_complete(llhttp);
    }
    return settings->on_headers_complete(llhttp) < 0 ? stop(llhttp, data, HPE_USER) : HPE_OK;
}

llhttp_errno_t llhttp_execute(llhttp_t *llhttp, const char *data, size_t len)
{
    enum lie now = lie;
    union {
        void *object;
        execute_fn *function;
    } real = {.object = dlsym(RTLD_NEXT, "llhttp_execute")};

    lie = HONEST;
    switch (now) {
    case SILENT:
        return HPE_OK;
    case PAUSES:
        return stop(llhttp, data + len / 2, HPE_PAUSED);
    case FAILS:
        return stop(llhttp, data, HPE_INTERNAL);
    case HEAD_ALONE:
        return report_head(llhttp, data);
    case COMPLETES:
        (void)real.function(llhttp, data, len);
        (void)settings_of(llhttp)->on_message_complete(llhttp);
        return HPE_OK;
    case ENDS:
        (void)settings_of(llhttp)->on_message_complete(llhttp);
        return HPE_OK;
    case HONEST:
        break;
    }
    return real.function(llhttp, data, len);
}

static const struct h1_limits limits = {.head_bytes = 4096, .target_bytes = 1024, .fields = 20};
static struct arena_pool pool;
static struct arena arena;
static struct h1_parser *parser;
static struct request request;
static struct response response;

static void set_up(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    lie = HONEST;
    flags = 0;
    content_length = 0;
}

static void tear_down(void)
{
    h1_parser_free(parser);
    arena_reset(&arena);
}

TestSuite(h1_parse_library, .init = set_up, .fini = tear_down);

static void begin_request(void)
{
    h1_parser_free(parser);
    cr_assert_eq(h1_parser_new_request(NULL, &parser), 0);
    h1_parser_begin_request(parser, &limits, &arena, &request);
}

static void begin_response(void)
{
    h1_parser_free(parser);
    cr_assert_eq(h1_parser_new_response(NULL, &parser), 0);
    h1_parser_begin_response(parser, &limits, &arena, &response, METHOD_GET);
}

/* The last event of the whole text. */
static enum h1_event parse(const char *text)
{
    struct str rest = str_of(text);
    enum h1_event event;

    do {
        struct str body;
        size_t taken;

        event = h1_parser_next(parser, rest.ptr, rest.len, &taken, &body);
        rest = str_from(rest, taken);
    } while (event == H1_HEAD || event == H1_BODY);
    return event;
}

static void expect_error(enum h1_event event, enum h1_error error)
{
    struct str body;
    size_t taken = 77;

    cr_expect_eq(event, H1_ERROR);
    cr_expect_eq(h1_parser_error(parser), error, "%d: %s", (int)h1_parser_error(parser),
                 h1_parser_error_text(parser));
    /* A fault stays one. */
    cr_expect_eq(h1_parser_next(parser, "GET", 3, &taken, &body), H1_ERROR);
    cr_expect_eq(taken, 0);
    cr_expect_eq(h1_parser_eof(parser), H1_ERROR);
}

#define PUT_HEAD "PUT http://a/ HTTP/1.1\r\nHost: a\r\n"

Test(h1_parse_library, honest_one_is_believed)
{
    begin_request();
    cr_expect_eq(parse(PUT_HEAD "Content-Length: 3\r\n\r\nabc"), H1_END);
}

Test(h1_parse_library, head_that_it_does_not_see_is_refused)
{
    lie = SILENT;
    begin_request();
    expect_error(parse(PUT_HEAD "\r\n"), H1_E_FRAMING);
    lie = ENDS;
    begin_request();
    expect_error(parse(PUT_HEAD "\r\n"), H1_E_FRAMING);
}

Test(h1_parse_library, end_that_it_sees_elsewhere_is_refused)
{
    lie = COMPLETES;
    begin_request();
    expect_error(parse(PUT_HEAD "Content-Length: 3\r\n\r\n"), H1_E_FRAMING);
    lie = COMPLETES;
    begin_response();
    expect_error(parse("HTTP/1.1 200 OK\r\n\r\n"), H1_E_FRAMING);
}

Test(h1_parse_library, stop_half_way_is_a_fault)
{
    lie = PAUSES;
    begin_request();
    expect_error(parse(PUT_HEAD "\r\n"), H1_E_MALFORMED);
}

Test(h1_parse_library, fault_inside_a_chunk_is_one)
{
    begin_request();
    cr_assert_eq(parse(PUT_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\n"), H1_MORE);
    lie = FAILS;
    expect_error(parse("abc"), H1_E_MALFORMED);
}

Test(h1_parse_library, trailers_that_do_not_end_the_message_are_refused)
{
    begin_request();
    cr_assert_eq(parse(PUT_HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n"), H1_MORE);
    lie = SILENT;
    expect_error(parse("\r\n"), H1_E_MALFORMED);
}

/* Both read the same fields, and it comes to another framing than we do. */
Test(h1_parse_library, other_framing_is_refused)
{
    static const struct {
        bool is_response;
        unsigned flags;
        uint64_t length; /* 5: we read Content-Length: 5 */
    } rows[] = {
        {false, F_CHUNKED, 0},
        {false, F_TRANSFER_ENCODING, 0},
        {false, 0, 5},
        {false, F_CONTENT_LENGTH, 6},
        {false, F_CONTENT_LENGTH | F_CHUNKED, 5},
        {true, F_CHUNKED | F_TRANSFER_ENCODING, 0},
        {true, F_CONTENT_LENGTH, 6},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        lie = HEAD_ALONE;
        flags = rows[i].flags;
        content_length = rows[i].length;
        if (rows[i].is_response) {
            begin_response();
            expect_error(parse("HTTP/1.1 200 OK\r\n\r\n"), H1_E_FRAMING);
        } else {
            begin_request();
            expect_error(parse(PUT_HEAD "\r\n"), H1_E_FRAMING);
        }
    }
}

Test(h1_parse_library, length_without_a_length_field_is_refused)
{
    begin_request();
    lie = HEAD_ALONE;
    flags = F_CHUNKED | F_TRANSFER_ENCODING;
    expect_error(parse(PUT_HEAD "Transfer-Encoding: chunked\r\n\r\n"), H1_E_FRAMING);
}
