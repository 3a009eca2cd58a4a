// SPDX-License-Identifier: MIT

/*
 * An origin's bytes, as the answer to GET, HEAD and CONNECT: read alike however they are cut; a
 * second reader shares the reading; and the head that goes on to the client is one message.
 */

#include <string.h>

#include "fuzz.h"
#include "h1_run.h"
#include "http/forward.h"
#include "http/h1_write.h"
#include "strict.h"

static bool same(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void check_reading(const struct h1_message *message, struct strict_head *head)
{
    const struct response *response = message->response;
    unsigned status;

    CHECK(strict_read_head(message->in, false, true, head) == STRICT_OK, "not the grammar's: %.*s",
          STR_ARG(message->in));
    status = (unsigned)(head->start[1].ptr[0] - '0') * 100 +
             (unsigned)(head->start[1].ptr[1] - '0') * 10 + (unsigned)(head->start[1].ptr[2] - '0');
    CHECK(status == response->status, "status %u, not %u", response->status, status);
    CHECK(head->field_count == response->fields.count, "%zu fields", head->field_count);
    for (size_t i = 0; i < head->field_count; i++) {
        CHECK(same(head->fields[i].name, response->fields.items[i].name), "name %zu", i);
        CHECK(same(head->fields[i].value, response->fields.items[i].value), "value %zu", i);
    }
}

static void check_framing(const struct h1_run *run, const struct response *response,
                          const struct strict_head *head)
{
    struct str value;
    size_t lengths = strict_count(head, "Content-Length", &value);
    size_t codings = strict_count(head, "Transfer-Encoding", &value);
    bool is_bare = response->status < 200 || response->status == 204 || response->status == 304 ||
                   run->to == METHOD_HEAD || (run->to == METHOD_CONNECT && response->status < 300);

    CHECK(!is_bare || response->framing.kind == BODY_NONE, "a body where there is none");
    CHECK(is_bare || lengths + codings <= 1, "two ways to end");
    CHECK(is_bare || (response->framing.kind == BODY_LENGTH) == (lengths == 1), "length");
    CHECK(is_bare || (response->framing.kind == BODY_CHUNKED) == (codings == 1), "coding");
    CHECK(response->framing.kind != BODY_UNTIL_CLOSE || !response->keep_alive, "keep-alive");
}

static void check_forwarded(const struct h1_run *run, struct response *response,
                            struct strict_head *head)
{
    struct forward_response_options options = {
        .via_name = STR("fuzz"),
        .framing = response->framing,
        .client_is_1_0 = run->seed & 1,
        .keep_length = run->to == METHOD_HEAD || response->status == 304,
    };
    struct str written;
    struct str value;

    options.close = response->framing.kind == BODY_UNTIL_CLOSE || options.client_is_1_0;
    if (options.client_is_1_0 && options.framing.kind == BODY_CHUNKED) {
        options.framing.kind = BODY_UNTIL_CLOSE;
    }
    if (forward_response(response, &options) != 0) {
        return;
    }
    written = h1_write_response(response->fields.arena, response);
    CHECK(written.ptr, "out of memory");
    CHECK(strict_read_head(written, false, false, head) == STRICT_OK && head->len == written.len,
          "not the grammar's: %.*s", STR_ARG(written));
    CHECK(strict_count(head, "Transfer-Encoding", &value) ==
              (options.framing.kind == BODY_CHUNKED ? 1U : 0U),
          "coding");
    CHECK(strict_count(head, "Content-Length", &value) <= 1, "length");
    CHECK(strict_count(head, "Keep-Alive", &value) +
                  strict_count(head, "Proxy-Connection", &value) ==
              0,
          "hop-by-hop fields");
    CHECK(strict_count(head, "Connection", &value) <= 1, "Connection");
}

static void on_message(const struct h1_run *run, const struct h1_message *message)
{
    static struct strict_head head;

    check_reading(message, &head);
    check_framing(run, message->response, &head);
    check_forwarded(run, message->response, &head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum method methods[] = {METHOD_GET, METHOD_HEAD, METHOD_CONNECT};
    struct h1_run run = {.in = str_make((const char *)data, size),
                         .limits = &h1_run_wide,
                         .responses = true,
                         .seed = fuzz_hash(data, size),
                         .on_message = on_message};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        run.to = methods[i];
        h1_run_compare(&run);
    }
    run.to = METHOD_GET;
    run.limits = &h1_run_tight;
    run.on_message = NULL;
    h1_run_compare(&run);
    return 0;
}
