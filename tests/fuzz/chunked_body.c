// SPDX-License-Identifier: MIT

/*
 * A chunked body behind a fixed head, from either side: read alike however it is cut; what the
 * parser finds in it is what a second reader finds, and what that one calls well-formed and plain
 * is not refused.
 */

#include <string.h>

#include "fuzz.h"
#include "h1_run.h"
#include "http/forward.h"
#include "http/h1_write.h"
#include "strict.h"

#define REQUEST "POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define RESPONSE "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static struct str payload; /* the input */
static size_t head_len;
static bool was_whole;

/* Sizes rewritten, extensions dropped, trailers filtered: still the same content. */
static void check_rewritten(const struct h1_message *message)
{
    char size[H1_CHUNK_HEAD_MAX];
    struct fuzz_bytes wire = {0};
    struct fuzz_bytes body = {0};
    struct strict_chunks chunks;
    struct field_list trailers = *message->trailers;
    struct str last;

    if (message->body.len > 0) {
        fuzz_bytes_put(&wire, str_make(size, h1_write_chunk_head(size, message->body.len)));
        fuzz_bytes_put(&wire, message->body);
        fuzz_bytes_put(&wire, STR("\r\n"));
    }
    forward_trailers(&trailers);
    last = h1_write_last_chunk(trailers.arena, &trailers);
    CHECK(last.ptr, "out of memory");
    fuzz_bytes_put(&wire, last);
    CHECK(strict_read_chunks(fuzz_bytes_str(&wire), &body, &chunks) == STRICT_OK &&
              chunks.len == wire.len,
          "not the grammar's: %.*s", (int)wire.len, wire.ptr);
    CHECK(body.len == message->body.len &&
              (body.len == 0 || memcmp(body.ptr, message->body.ptr, body.len) == 0),
          "another body");
    fuzz_bytes_free(&body);
    fuzz_bytes_free(&wire);
}

static void on_message(const struct h1_run *run, const struct h1_message *message)
{
    struct fuzz_bytes body = {0};
    struct strict_chunks chunks;
    enum strict_result result;

    (void)run;
    if (message->in.len != head_len + payload.len) {
        return; /* a later message */
    }
    result = strict_read_chunks(payload, &body, &chunks);
    CHECK(!message->is_whole || result == STRICT_OK, "the second reader says %d", (int)result);
    if (message->is_whole) {
        was_whole = true;
        CHECK(chunks.len == message->taken - head_len, "%zu and %zu bytes", chunks.len,
              message->taken - head_len);
        CHECK(chunks.trailers == message->trailers->count, "trailers");
        CHECK(body.len == message->body.len &&
                  (body.len == 0 || memcmp(body.ptr, message->body.ptr, body.len) == 0),
              "another body");
        check_rewritten(message);
    }
    fuzz_bytes_free(&body);
}

static void check_side(bool responses, struct str head, const struct h1_limits *limits)
{
    struct fuzz_bytes in = {0};
    struct fuzz_bytes body = {0};
    struct strict_chunks chunks;
    struct h1_run run = {.limits = limits, .responses = responses, .to = METHOD_GET};

    fuzz_bytes_put(&in, head);
    fuzz_bytes_put(&in, payload);
    run.in = fuzz_bytes_str(&in);
    run.on_message = on_message;
    head_len = head.len;
    was_whole = false;
    h1_run_compare(&run);
    if (strict_read_chunks(payload, &body, &chunks) == STRICT_OK && chunks.is_plain) {
        CHECK(was_whole, "a plain body was refused");
    }
    fuzz_bytes_free(&body);
    fuzz_bytes_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct h1_limits tight = {.head_bytes = 100, .target_bytes = 24, .fields = 3};

    payload = str_make((const char *)data, size);
    check_side(false, STR(REQUEST), &h1_run_wide);
    check_side(true, STR(RESPONSE), &h1_run_wide);
    check_side(false, STR(REQUEST), &tight);
    return 0;
}
