// SPDX-License-Identifier: MIT
/*
 * The input side of a client connection: bytes from the stream to the parser,
 * and what the parser's events mean in each state.
 */
#include <errno.h>

#include "base/err.h"
#include "base/secret.h"
#include "conf/conf.h"
#include "io/io.h"
#include "io/stream.h"
#include "proxy/client_private.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* What a client may send ahead while its request is being answered. */
#define AHEAD_BYTES ((size_t)16 << 10)
/* How soon a head that waits for memory is looked at again. */
#define HUNGRY_MS 20

/* ------------------------------------------------------------------ requests */

void client_set_input(struct client *c, enum client_input input)
{
    static const unsigned allowed[] = {
        [INPUT_HEAD] = 1U << INPUT_BODY | 1U << INPUT_WHOLE | 1U << INPUT_BROKEN,
        [INPUT_BODY] = 1U << INPUT_WHOLE | 1U << INPUT_BROKEN,
        [INPUT_WHOLE] = 1U << INPUT_HEAD,
        [INPUT_BROKEN] = 0,
    };

    ASSERT(allowed[c->input] & 1U << input);
    c->input = input;
}

bool client_begin_exchange(struct client *c)
{
    if (h1_parser_new_request(&c->proxy->io->slabs, &c->parser) != 0) {
        client_close(c, true);
        return false;
    }
    c->x = exchange_new(c->proxy, &c->stream->peer, c->listener, &c->binding,
                        &client_downstream_ops, c);
    if (!c->x) {
        client_close(c, true);
        return false;
    }
    c->bytes_in = 0;
    c->out.written_bytes = 0;
    h1_parser_begin_request(c->parser, &c->proxy->origin.limits, exchange_arena(c->x),
                            exchange_request(c->x));
    client_set_answer(c, ANSWER_NONE);
    client_set_state(c, CLIENT_HEAD);
    return true;
}

static bool has_content(const struct request *request)
{
    return request->framing.kind == BODY_CHUNKED ||
           (request->framing.kind == BODY_LENGTH && request->framing.length > 0);
}

static void on_head(struct client *c)
{
    struct request *request = exchange_request(c->x);
    int r = target_parse(request->method_text, request->target_text, exchange_arena(c->x),
                         &request->target);

    /* Without content the end comes with the head: nobody need ask the parser for it. */
    client_set_input(c, has_content(request) ? INPUT_BODY : INPUT_WHOLE);
    client_set_state(c, CLIENT_ACTIVE);
    if (c->refused) {
        exchange_reject(c->x, REPLY_TOO_MANY_CONNECTIONS, NULL, true);
    } else if (r != 0) {
        exchange_reject(c->x, client_reason_of_target(r), r > 0 ? target_error_text(r) : NULL,
                        true);
    } else {
        exchange_start(c->x, c->input == INPUT_WHOLE);
    }
}

void client_refuse_head(struct client *c, enum reply_reason reason, const char *details)
{
    client_set_input(c, INPUT_BROKEN);
    client_set_state(c, CLIENT_ACTIVE);
    exchange_reject(c->x, reason, details, false);
}

static void on_parse_error(struct client *c)
{
    enum reply_reason reason = client_reason_of(h1_parser_error(c->parser));
    const char *text = h1_parser_error_text(c->parser);

    switch (c->state) {
    case CLIENT_HEAD:
        client_refuse_head(c, reason, text);
        break;
    case CLIENT_ACTIVE:
        client_set_input(c, INPUT_BROKEN);
        exchange_body_broken(c->x, reason, text);
        break;
    case CLIENT_DRAIN:
        client_set_input(c, INPUT_BROKEN);
        break;
    case CLIENT_IDLE:
    case CLIENT_LINGER:
    case CLIENT_DETACHED:
    case CLIENT_CLOSED:
        break; /* the parser has no bytes to read then */
    }
}

static void on_body_end(struct client *c)
{
    client_set_input(c, INPUT_WHOLE);
    if (c->state == CLIENT_ACTIVE) {
        exchange_body_end(c->x, h1_parser_trailers(c->parser));
    }
}

/* What a state does with the next event of the parser; false when no more may be taken now. */
static bool take_event(struct client *c, enum h1_event event, struct str body)
{
    switch (event) {
    case H1_HEAD:
        on_head(c);
        break;
    case H1_BODY:
        if (c->state == CLIENT_DRAIN) {
            c->drained_bytes += (uint32_t)body.len;
        } else {
            exchange_body(c->x, body);
        }
        break;
    case H1_END:
        on_body_end(c);
        break;
    case H1_ERROR:
        on_parse_error(c);
        break;
    case H1_MORE:
        return false;
    }
    return true;
}

/* Whether the parser may be given bytes now. */
static bool takes_input(const struct client *c)
{
    switch (c->state) {
    case CLIENT_IDLE:
    case CLIENT_HEAD:
        return true;
    case CLIENT_DRAIN:
        return c->input == INPUT_BODY;
    case CLIENT_ACTIVE:
        return c->input == INPUT_BODY && exchange_wants_body(c->x);
    case CLIENT_LINGER:
    case CLIENT_DETACHED:
    case CLIENT_CLOSED:
        break;
    }
    return false;
}

/* The parser has a copy of what it has taken of a head. There may be credentials in a part of one;
 * in a whole one that is known. */
static bool is_to_be_wiped(const struct client *c, enum h1_event event)
{
    return c->state == CLIENT_HEAD &&
           (event != H1_HEAD ||
            field_list_had(&exchange_request(c->x)->fields, FIELD_PROXY_AUTHORIZATION));
}

/* Feeds the parser from a buffer of ours; returns how many bytes it took. */
static size_t feed(struct client *c, struct str data)
{
    size_t total = 0;
    bool more = true;

    while (more && client_is_alive(c) && takes_input(c)) {
        struct str body = {0};
        size_t taken = 0;
        enum h1_event event;

        if (c->state == CLIENT_IDLE && c->has_served && str_eq(data, STR("\r\n"))) {
            return total + data.len; /* what some clients send behind a body (RFC 9112 2.2) */
        }
        if (c->state == CLIENT_IDLE && (data.len == 0 || !client_begin_exchange(c))) {
            break;
        }
        event = h1_parser_next(c->parser, data.ptr, data.len, &taken, &body);
        if (UNLIKELY(is_to_be_wiped(c, event))) {
            secret_wipe((char *)(uintptr_t)data.ptr, taken);
        }
        data = str_from(data, taken);
        total += taken;
        c->bytes_in += taken;
        more = take_event(c, event, body);
    }
    return total;
}

/* Takes what waits in the buffer. True when that moved something. */
bool client_feed_waiting(struct client *c)
{
    size_t taken;

    if (buf_len(&c->in) == 0 || !takes_input(c)) {
        return false;
    }
    taken = feed(c, buf_str(&c->in));
    io_flush(c->proxy->io);
    if (client_is_alive(c)) {
        buf_consume(&c->in, &c->proxy->io->bufs, MIN(taken, buf_len(&c->in)));
    }
    return taken > 0;
}

/* ------------------------------------------------------------------ the stream */

/* Whether rest is content of the request, up to its end. If not, there may be the head of another
 * in it, with credentials. */
static bool is_content(const struct client *c, struct str rest)
{
    return c->parser && buf_len(&c->in) + rest.len <= h1_parser_plain_left(c->parser);
}

/* Bytes read and not taken wait, as long as they are within what a client may send ahead. */
static void keep_ahead(struct client *c, struct str rest)
{
    bool to_be_wiped;
    int r = 0;

    if (rest.len == 0) {
        return;
    }
    to_be_wiped = !is_content(c, rest);
    if (client_is_alive(c) && c->state != CLIENT_LINGER) {
        r = buf_append(&c->in, &c->proxy->io->bufs, rest.ptr, rest.len);
    }
    if (to_be_wiped) {
        secret_wipe((char *)(uintptr_t)rest.ptr, rest.len);
    }
    if (r != 0) {
        client_end(c, "error:no-memory", true);
    }
}

/* The client has ended its side (error 0) or is gone. */
static void on_input_end(struct client *c, int error)
{
    switch (c->state) {
    case CLIENT_IDLE:
    case CLIENT_LINGER:
        client_close(c, false);
        break;
    case CLIENT_HEAD:
        client_end(c, "client-closed", false);
        break;
    case CLIENT_DRAIN:
        client_end(c, NULL, false);
        break;
    case CLIENT_ACTIVE:
        if (error != 0 || c->input == INPUT_BODY) {
            client_end(c, "client-closed", error != 0);
        } else if (c->input == INPUT_WHOLE) {
            exchange_client_half_closed(c->x);
        }
        break; /* an unreadable request: its answer is on the way */
    case CLIENT_DETACHED:
    case CLIENT_CLOSED:
        break;
    }
}

bool client_end_if_cut_short(struct client *c)
{
    bool is_open = c->input == INPUT_HEAD || c->input == INPUT_BODY;

    if (c->ended && is_open && buf_len(&c->in) == 0) {
        on_input_end(c, 0);
        return true;
    }
    return false;
}

/* Whether a read makes sense: input is wanted, or the client may yet tell that it is leaving. */
bool client_may_read(const struct client *c)
{
    if (!c->stream->readable || c->ended || buf_len(&c->in) >= AHEAD_BYTES) {
        return false;
    }
    if (c->state != CLIENT_ACTIVE) {
        return true;
    }
    /* A body that is not wanted yet stays in the kernel: that is the client's backpressure. */
    return c->input == INPUT_WHOLE || buf_len(&c->in) == 0;
}

/* No new work while the buffer budget is spent: the head stays in the kernel, and after
 * timeouts.header the answer is 503. */
static bool must_wait(struct client *c)
{
    struct proxy *proxy = c->proxy;

    if (c->state != CLIENT_IDLE || !buf_budget_is_spent(proxy->io->account.budget)) {
        return false;
    }
    if (stream_is_quiet(c->stream)) {
        return true; /* nothing to read yet */
    }
    if (!c->hungry) {
        c->hungry = true;
        list_remove(&c->node);
        list_push_back(&proxy->hungry_clients, &c->node);
        deadline_arm(&c->deadline, proxy->io->loop, proxy->conf->timeouts.header_ms);
    }
    if (!deadline_armed(&proxy->hungry)) {
        deadline_arm(&proxy->hungry, proxy->io->loop, HUNGRY_MS);
    }
    return true;
}

static void end_hunger(struct client *c)
{
    if (c->hungry) {
        c->hungry = false;
        list_remove(&c->node);
        list_push_back(&c->proxy->idle_clients, &c->node);
    }
}

/* Hears of the end of a body that went past the parser: that costs no byte. */
static void take_end(struct client *c)
{
    struct str body = {0};
    size_t taken;
    enum h1_event event = h1_parser_next(c->parser, NULL, 0, &taken, &body);

    (void)take_event(c, event, body);
}

bool client_read(struct client *c)
{
    struct io *io = c->proxy->io;
    size_t want = c->state == CLIENT_ACTIVE && !takes_input(c) ? AHEAD_BYTES : io_read_bytes(io);
    struct str data = {0};
    ssize_t n;
    size_t taken = 0;

    if (!client_may_read(c) || must_wait(c)) {
        return false;
    }
    end_hunger(c);
    n = client_splice_input(c);
    if (n == -EOPNOTSUPP) {
        data.ptr = io_scratch(io);
        n = stream_read(c->stream, io->scratch, want);
        data.len = (size_t)MAX(n, 0);
    }
    if (n == -EAGAIN) {
        return false;
    }
    if (n <= 0) {
        c->ended = true;
        on_input_end(c, (int)n);
        return true;
    }
    if (c->x && c->state == CLIENT_ACTIVE) {
        exchange_moved(c->x);
    } else if (c->state == CLIENT_DRAIN) {
        deadline_arm(&c->deadline, io->loop, c->proxy->conf->timeouts.idle_ms);
    }
    if (data.len == 0) {
        take_end(c);
        return false; /* it was spliced: others have their turn */
    }
    if (buf_len(&c->in) == 0) {
        taken = feed(c, data);
    }
    if (client_is_alive(c)) {
        io_flush(io);
    }
    keep_ahead(c, str_from(data, taken));
    return true;
}

void client_feed_hungry(struct proxy *proxy)
{
    struct list batch;

    list_init(&batch);
    list_splice_back(&batch, &proxy->hungry_clients);
    while (!list_empty(&batch)) {
        struct client *c = LIST_FIRST(&batch, struct client, node);

        /* Back in its place, so that its deadline is not begun anew. */
        list_remove(&c->node);
        list_push_back(&proxy->hungry_clients, &c->node);
        client_drive(c);
    }
}
