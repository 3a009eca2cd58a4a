// SPDX-License-Identifier: MIT
#include <errno.h>

#include "base/err.h"
#include "conf/conf.h"
#include "http/forward.h"
#include "http/h1_write.h"
#include "io/io.h"
#include "io/stream.h"
#include "proxy/client_private.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

void client_set_answer(struct client *c, enum client_answer answer)
{
    static const unsigned allowed[] = {
        [ANSWER_NONE] =
            1U << ANSWER_NONE | 1U << ANSWER_KEEPS | 1U << ANSWER_CLOSES | 1U << ANSWER_ABORTED,
        [ANSWER_KEEPS] = 1U << ANSWER_NONE | 1U << ANSWER_ABORTED,
        [ANSWER_CLOSES] = 1U << ANSWER_ABORTED,
        [ANSWER_ABORTED] = 1U << ANSWER_ABORTED,
    };

    ASSERT(allowed[c->answer] & 1U << answer);
    c->answer = answer;
}

static int write_head(struct client *c, struct response *response)
{
    struct str head = h1_write_response(exchange_arena(c->x), response);

    if (!head.ptr) {
        return -ENOMEM;
    }
    outq_add(&c->out, head);
    loop_defer(c->proxy->io->loop, &c->task);
    return 0;
}

/* How an origin's response goes out to this client. */
static struct framing frame(const struct request *request, const struct response *response)
{
    struct framing framing = response->framing;

    if (framing.kind == BODY_CHUNKED || framing.kind == BODY_UNTIL_CLOSE) {
        framing.kind = request->minor_version == 0 ? BODY_UNTIL_CLOSE : BODY_CHUNKED;
    }
    return framing;
}

/* What follows the head is no response to wait for the end of. */
static int send_unanswered(struct client *c, struct response *response)
{
    const struct forward_response_options options = {.via_name = exchange_via_name(c->x)};
    int r = forward_response(response, &options);

    return r == 0 ? write_head(c, response) : r;
}

static int send_answer(struct client *c, struct response *response, bool closes)
{
    int r = write_head(c, response);

    if (r == 0) {
        client_set_answer(c, closes ? ANSWER_CLOSES : ANSWER_KEEPS);
    }
    return r;
}

static int send_forwarded(struct client *c, struct response *response)
{
    const struct request *request = exchange_request(c->x);
    struct framing framing = frame(request, response);
    const struct forward_response_options options = {
        .via_name = exchange_via_name(c->x),
        .framing = framing,
        .close = !request->keep_alive || request->minor_version == 0 || c->proxy->draining ||
                 framing.kind == BODY_UNTIL_CLOSE || exchange_awaits_continue(c->x),
        .client_is_1_0 = request->minor_version == 0,
        .keep_length = request->method == METHOD_HEAD || response->status == 304,
    };
    int r = forward_response(response, &options);

    c->framing = framing.kind;
    return r == 0 ? send_answer(c, response, options.close) : r;
}

static int op_send_head(void *downstream, struct response *response, enum downstream_head kind)
{
    struct client *c = downstream;

    switch (kind) {
    case DOWNSTREAM_FORWARDED:
        if (!response_is_interim(response)) {
            return send_forwarded(c, response);
        }
        if (exchange_request(c->x)->minor_version == 0) {
            return 0; /* RFC 9110 15.2: never to a 1.0 client */
        }
        return send_unanswered(c, response);
    case DOWNSTREAM_OWN:
        c->framing = BODY_LENGTH;
        return send_answer(c, response,
                           field_has_token(&response->fields, FIELD_CONNECTION, STR("close")));
    case DOWNSTREAM_TUNNEL:
        break;
    }
    return response->status == 101 ? send_unanswered(c, response) : write_head(c, response);
}

static void op_send_body(void *downstream, struct str data)
{
    struct client *c = downstream;

    if (data.len == 0) {
        return; /* an empty chunk would be the last one */
    }
    if (c->framing == BODY_CHUNKED) {
        char size[H1_CHUNK_HEAD_MAX];

        outq_add_copy(&c->out, str_make(size, h1_write_chunk_head(size, data.len)));
        outq_add(&c->out, data);
        outq_add_copy(&c->out, STR("\r\n")); /* one piece with what comes next */
    } else {
        outq_add(&c->out, data);
    }
    loop_defer(c->proxy->io->loop, &c->task);
}

static void op_end(void *downstream, struct field_list *trailers)
{
    struct client *c = downstream;

    if (c->framing == BODY_CHUNKED) {
        struct str last = h1_write_last_chunk(exchange_arena(c->x), trailers);

        if (!last.ptr) {
            client_set_answer(c, ANSWER_ABORTED);
        }
        outq_add(&c->out, last);
    }
    loop_defer(c->proxy->io->loop, &c->task);
}

static void op_abort(void *downstream)
{
    struct client *c = downstream;

    client_set_answer(c, ANSWER_ABORTED);
    loop_defer(c->proxy->io->loop, &c->task);
}

static void op_body_wanted(void *downstream)
{
    struct client *c = downstream;

    loop_defer(c->proxy->io->loop, &c->task);
}

static bool op_is_blocked(void *downstream)
{
    struct client *c = downstream;

    if (outq_blocked(&c->out)) {
        c->was_blocked = true;
        return true;
    }
    return false;
}

static void op_count(void *downstream, uint64_t *ret_in, uint64_t *ret_out)
{
    struct client *c = downstream;

    *ret_in = c->bytes_in;
    *ret_out = c->out.written_bytes;
}

static int op_detach(void *downstream, struct downstream_detached *ret)
{
    struct client *c = downstream;

    outq_flush(&c->out);
    if (c->out.error != 0) {
        return c->out.error;
    }
    *ret = (struct downstream_detached){
        .stream = c->stream, .from_client = c->in, .to_client = c->out.pending};
    op_count(c, &ret->bytes_in, &ret->bytes_out);
    roll_pass(&c->proxy->roll, &c->entry, &ret->entry, ROLL_TUNNEL);
    client_detached(c);
    return 0;
}

static bool op_has_input_ahead(void *downstream)
{
    return client_has_input(downstream);
}

const struct downstream_ops client_downstream_ops = {
    .send_head = op_send_head,
    .send_body = op_send_body,
    .splice_body = client_splice_body,
    .end = op_end,
    .abort = op_abort,
    .body_wanted = op_body_wanted,
    .is_blocked = op_is_blocked,
    .detach = op_detach,
    .has_input_ahead = op_has_input_ahead,
    .count = op_count,
};
