// SPDX-License-Identifier: MIT

/*
 * A client's bytes: read alike however they are cut; what is accepted has one reading, which a
 * second reader shares; and what goes on to the origin is a message that both read as the same.
 */

#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "h1_run.h"
#include "http/forward.h"
#include "http/h1_write.h"
#include "strict.h"

static bool same(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static bool same_name(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

/* Empty lines before a request line do not count (RFC 9112 2.2). */
static struct str skip_blank_lines(struct str in)
{
    while (in.len >= 2 && memcmp(in.ptr, "\r\n", 2) == 0) {
        in = str_make(in.ptr + 2, in.len - 2);
    }
    return in;
}

/* The grammar's reading of the same bytes. */
static void check_reading(const struct h1_message *message, struct strict_head *head)
{
    const struct request *request = message->request;
    struct str in = skip_blank_lines(message->in);

    CHECK(strict_read_head(in, true, false, head) == STRICT_OK, "not the grammar's: %.*s",
          STR_ARG(in));
    CHECK(same(head->start[0], request->method_text), "method");
    CHECK(same(head->start[1], request->target_text), "target");
    CHECK(head->start[2].ptr[7] - '0' == (int)request->minor_version, "version");
    CHECK(head->field_count == request->fields.count, "%zu fields", head->field_count);
    for (size_t i = 0; i < head->field_count; i++) {
        CHECK(same(head->fields[i].name, request->fields.items[i].name), "name %zu", i);
        CHECK(same(head->fields[i].value, request->fields.items[i].value), "value %zu", i);
    }
}

static void check_framing(const struct request *request, const struct strict_head *head)
{
    struct str value = {0};
    struct str host;
    size_t lengths = strict_count(head, "Content-Length", &value);
    size_t codings = strict_count(head, "Transfer-Encoding", &value);
    char digits[24];

    CHECK(strict_count(head, "Host", &host) == 1 || request->minor_version == 0, "Host");
    CHECK(lengths + codings <= 1, "two ways to end");
    switch (request->framing.kind) {
    case BODY_NONE:
        CHECK(codings == 0, "a coding, and no body");
        break;
    case BODY_LENGTH:
        /* Any number of zeros may lead it; what goes on is written anew. */
        while (value.len > 1 && value.ptr[0] == '0') {
            value = str_from(value, 1);
        }
        CHECK(lengths == 1 && value.len < sizeof(digits), "length");
        memcpy(digits, value.ptr, value.len);
        digits[value.len] = '\0';
        CHECK(strspn(digits, "0123456789") == value.len &&
                  strtoull(digits, NULL, 10) == request->framing.length,
              "length %s", digits);
        break;
    case BODY_CHUNKED:
        CHECK(codings == 1 && same_name(value, STR("chunked")), "coding");
        break;
    case BODY_UNTIL_CLOSE:
        CHECK(false, "a request until close");
    }
}

static bool has_option(const struct strict_head *head, const char *option)
{
    struct str value = {0};
    bool named = strict_count(head, "Connection", &value) == 1;
    size_t len = strlen(option);

    for (size_t i = 0; named && i + len <= value.len; i++) {
        if (strncasecmp(value.ptr + i, option, len) == 0) {
            return true;
        }
    }
    return false;
}

/* What an origin must never see, or only so (RFC 9110 7.6.1). */
static void check_outgoing(const struct request *request, const struct strict_head *head)
{
    static const char *const never[] = {"Keep-Alive", "Proxy-Connection", "Proxy-Authorization"};
    struct str value = {0};
    size_t lengths = strict_count(head, "Content-Length", &value);
    size_t codings = strict_count(head, "Transfer-Encoding", &value);

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        CHECK(strict_count(head, never[i], &value) == 0, "%s goes on", never[i]);
    }
    CHECK(strict_count(head, "Host", &value) == 1, "Host");
    CHECK(strict_count(head, "Connection", &value) <= 1, "Connection");
    CHECK(strict_count(head, "TE", &value) == 0 || has_option(head, "te"), "TE");
    CHECK(strict_count(head, "Upgrade", &value) == 0 || has_option(head, "upgrade"), "Upgrade");
    CHECK(lengths == (request->framing.kind == BODY_LENGTH ? 1U : 0U), "length");
    CHECK(codings == (request->framing.kind == BODY_CHUNKED ? 1U : 0U), "coding");
    CHECK(same(head->start[0], request->method_text), "method");
    CHECK(same(head->start[1], request->target.origin_form), "target");
    CHECK(same(head->start[2], STR("HTTP/1.1")), "version");
}

/* The proxy's own parser takes what the proxy writes, and finds the same body in it. */
static void check_again(const struct request *request, struct str written)
{
    struct arena_pool pool;
    struct arena arena;
    struct h1_parser *parser;
    struct request again;
    struct str body;
    size_t taken = 0;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    CHECK(h1_parser_new_request(NULL, &parser) == 0, "out of memory");
    h1_parser_begin_request(parser, &h1_run_wide, &arena, &again);
    CHECK(h1_parser_next(parser, written.ptr, written.len, &taken, &body) == H1_HEAD,
          "own head refused (%s): %.*s", h1_parser_error_text(parser), STR_ARG(written));
    CHECK(taken == written.len, "%zu of %zu", taken, written.len);
    CHECK(again.framing.kind == request->framing.kind &&
              again.framing.length == request->framing.length,
          "another body");
    h1_parser_free(parser);
    arena_reset(&arena);
}

static void check_forwarded(struct request *request, struct strict_head *head)
{
    const struct forward_options options = {.via_name = STR("fuzz"),
                                            .tell_client = FORWARD_CLIENT_RFC7239,
                                            .client = addr_ip4(10, 0, 0, 1, 9)};
    struct arena *arena = request->fields.arena;
    struct str written;

    if (target_parse(request->method_text, request->target_text, arena, &request->target) != 0 ||
        request->target.form != TARGET_ABSOLUTE || forward_request(request, &options) != 0) {
        return;
    }
    written = h1_write_request(arena, request);
    CHECK(written.ptr, "out of memory");
    CHECK(strict_read_head(written, true, false, head) == STRICT_OK && head->len == written.len,
          "not the grammar's: %.*s", STR_ARG(written));
    check_outgoing(request, head);
    if (written.len < h1_run_wide.head_bytes && head->field_count <= h1_run_wide.fields &&
        head->start[1].len <= h1_run_wide.target_bytes) {
        check_again(request, written);
    }
}

static void on_message(const struct h1_run *run, const struct h1_message *message)
{
    static struct strict_head head;

    (void)run;
    check_reading(message, &head);
    check_framing(message->request, &head);
    check_forwarded(message->request, &head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_make((const char *)data, size);

    h1_run_compare(&(struct h1_run){.in = in, .limits = &h1_run_wide, .on_message = on_message});
    h1_run_compare(&(struct h1_run){.in = in, .limits = &h1_run_tight});
    return 0;
}
