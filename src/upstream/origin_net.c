// SPDX-License-Identifier: MIT
#include "upstream/origin_net.h"

#include <errno.h>

#include "base/err.h"
#include "http/h1_write.h"
#include "http/persist.h"
#include "io/io.h"
#include "io/outq.h"
#include "io/stream.h"
#include "upstream/dial.h"
#include "upstream/upstream_conn.h"
#include "upstream/upstream_pool.h"

/* How long ago a pooled connection may have served at the most, for a request that may not be sent
 * twice. */
#define FRESH_MS 1000

static void drive(struct origin_net *o);

static void set_state(struct origin_net *o, enum origin_net_state state)
{
    static const bool allowed[4][4] = {
        [ORIGIN_NET_NEW] =
            {[ORIGIN_NET_DIALLING] = true, [ORIGIN_NET_BUSY] = true, [ORIGIN_NET_DONE] = true},
        [ORIGIN_NET_DIALLING] = {[ORIGIN_NET_BUSY] = true, [ORIGIN_NET_DONE] = true},
        [ORIGIN_NET_BUSY] = {[ORIGIN_NET_NEW] = true, [ORIGIN_NET_DONE] = true},
    };

    ASSERT(allowed[o->state][state]);
    o->state = state;
}

/* ------------------------------------------------------------------ the end of it */

static void fail(struct origin_net *o, enum origin_failure failure, int error, const char *text)
{
    struct upstream_conn *conn = o->conn;

    o->conn = NULL;
    set_state(o, ORIGIN_NET_DONE);
    task_cancel(&o->step);
    upstream_conn_close(conn, false);
    o->events->failed(o->arg, failure, error, text);
}

static void cancel(void *origin)
{
    struct origin_net *o = origin;

    if (o->state == ORIGIN_NET_DONE) {
        return;
    }
    set_state(o, ORIGIN_NET_DONE);
    task_cancel(&o->step);
    dial_cancel(o->dial);
    o->dial = NULL;
    /* A request that is broken off must not look complete; without its last bytes it never does. */
    upstream_conn_close(o->conn, false);
    o->conn = NULL;
}

/* A pooled connection may have been closed by the origin just before: the same request goes out
 * once more, if nothing can have come of the first (RFC 9110 9.2.2). */
static bool may_send_again(const struct origin_net *o)
{
    return o->conn->reused && !o->interim_seen && !o->response_begun && !o->body_begun &&
           o->request->is_idempotent && !h1_parser_started(o->conn->parser);
}

/* ------------------------------------------------------------------ getting a connection */

static void on_conn_ready(void *owner)
{
    drive(owner);
}

/* From the first sign of a scheme that authenticates connections this one is this client's alone.
 */
static void bind_if(struct origin_net *o, const struct field_list *fields, enum field_id id)
{
    if (o->conn->bound_to == 0 && persist_is_bound(fields, id)) {
        o->conn->bound_to = o->binding->client;
        o->binding->used = 1;
    }
}

static void begin(struct origin_net *o, struct upstream_conn *conn)
{
    o->conn = conn;
    bind_if(o, &o->request->fields, FIELD_AUTHORIZATION);
    set_state(o, ORIGIN_NET_BUSY);
    upstream_conn_own(conn, o, on_conn_ready);
    if (h1_parser_new_response(&o->options->io->slabs, &conn->parser) != 0) {
        fail(o, ORIGIN_NO_MEMORY, 0, NULL);
        return;
    }
    h1_parser_begin_response(conn->parser, &o->options->limits, o->arena, o->response,
                             o->request->method);
    outq_add(&conn->out, o->head);
    o->events->connected(o->arg, &conn->stream->peer, conn->reused);
}

static void on_dialled(void *arg, struct stream *stream)
{
    struct origin_net *o = arg;
    struct upstream_conn *conn;

    o->dial = NULL;
    if (upstream_conn_new(o->options->io, stream, &conn) != 0) {
        fail(o, ORIGIN_NO_MEMORY, 0, NULL);
        return;
    }
    begin(o, conn);
    drive(o); /* what came with the connection's beginning has no edge of its own */
    io_flush(o->options->io);
}

static void on_dial_failed(void *arg, int error, const struct addr *at)
{
    struct origin_net *o = arg;

    o->failed_at = *at;
    o->dial = NULL;
    fail(o, ORIGIN_CONNECT, error, NULL);
}

static const struct dial_events dial_events = {
    .connected = on_dialled,
    .failed = on_dial_failed,
};

static void begin_dial(struct origin_net *o)
{
    if (dial_new(o->options->io, o->options->keepalive_ms, &dial_events, o, &o->dial) != 0) {
        fail(o, ORIGIN_NO_MEMORY, 0, NULL);
        return;
    }
    set_state(o, ORIGIN_NET_DIALLING);
    for (size_t i = 0; i < o->addr_count; i++) {
        dial_offer(o->dial, &o->addrs[i]);
    }
    if (o->offers_ended) {
        dial_offer_end(o->dial);
    }
}

static bool is_replayable(const struct request *request)
{
    return request->is_idempotent &&
           (request->framing.kind == BODY_NONE ||
            (request->framing.kind == BODY_LENGTH && request->framing.length == 0));
}

static struct upstream_conn *lease(struct origin_net *o, const struct addr *addrs, size_t count)
{
    bool replayable = is_replayable(o->request);

    if (o->no_pool) {
        return NULL;
    }
    if (o->binding->used) {
        /* Without it the client would have to authenticate again: taken however old it is, after a
         * look. */
        struct upstream_conn *conn = upstream_pool_lease(
            o->options->pool, o->key, o->binding->client, addrs, count, UINT64_MAX, true);

        if (conn) {
            return conn;
        }
    }
    return upstream_pool_lease(o->options->pool, o->key, 0, addrs, count,
                               replayable ? UINT64_MAX : FRESH_MS, !replayable);
}

/* False when there is no room; without the first there is nothing to go on with. */
static bool keep_addr(struct origin_net *o, const struct addr *addr)
{
    struct addr *addrs;

    if (o->addr_count == ORIGIN_NET_ADDRS) {
        return false;
    }
    addrs = arena_grow(o->arena, o->addrs, o->addr_count, sizeof(*addrs));
    if (!addrs) {
        if (o->state == ORIGIN_NET_NEW) {
            fail(o, ORIGIN_NO_MEMORY, 0, NULL);
        }
        return false;
    }
    o->addrs = addrs;
    o->addrs[o->addr_count++] = *addr;
    return true;
}

static void offer(void *origin, const struct addr *addr)
{
    struct origin_net *o = origin;
    struct upstream_conn *conn;

    if (!keep_addr(o, addr)) {
        return;
    }
    if (o->state != ORIGIN_NET_NEW && o->state != ORIGIN_NET_DIALLING) {
        return;
    }
    conn = lease(o, addr, 1);
    if (conn) {
        dial_cancel(o->dial);
        o->dial = NULL;
        begin(o, conn);
    } else if (o->state == ORIGIN_NET_NEW) {
        begin_dial(o);
    } else {
        dial_offer(o->dial, addr);
    }
}

static void offer_end(void *origin)
{
    struct origin_net *o = origin;

    o->offers_ended = true;
    if (o->dial) {
        dial_offer_end(o->dial);
    }
}

static void send_again(struct origin_net *o)
{
    upstream_conn_close(o->conn, false);
    o->conn = NULL;
    o->no_pool = true;
    set_state(o, ORIGIN_NET_NEW);
    begin_dial(o);
    o->events->moved(o->arg);
}

/* ------------------------------------------------------------------ the request */

static void send_body(void *origin, struct str data)
{
    struct origin_net *o = origin;
    struct outq *out = &o->conn->out;

    if (data.len == 0) {
        return; /* an empty chunk would be the last one */
    }
    o->body_begun = true;
    if (o->request->framing.kind == BODY_CHUNKED) {
        char size[H1_CHUNK_HEAD_MAX];

        outq_add_copy(out, str_make(size, h1_write_chunk_head(size, data.len)));
        outq_add(out, data);
        outq_add_copy(out, STR("\r\n")); /* one piece with what comes next */
    } else {
        outq_add(out, data);
    }
}

static ssize_t splice_body(void *origin, struct stream *from, uint64_t max)
{
    struct origin_net *o = origin;
    ssize_t n;

    if (o->request->framing.kind == BODY_CHUNKED) {
        return -EOPNOTSUPP;
    }
    n = outq_splice(&o->conn->out, from, max);
    o->body_begun = o->body_begun || n > 0;
    return n;
}

static void end_body(void *origin, struct field_list *trailers)
{
    struct origin_net *o = origin;

    o->request_ended = true;
    if (o->request->framing.kind == BODY_CHUNKED) {
        struct str last = h1_write_last_chunk(o->arena, trailers);

        if (!last.ptr) {
            fail(o, ORIGIN_NO_MEMORY, 0, NULL);
            return;
        }
        o->body_begun = true;
        outq_add(&o->conn->out, last);
    }
}

static bool is_blocked(void *origin)
{
    struct origin_net *o = origin;

    return o->conn && outq_blocked(&o->conn->out);
}

/* ------------------------------------------------------------------ the response */

static void on_head(struct origin_net *o, struct str rest)
{
    struct upstream_conn *conn = o->conn;

    if (o->response->status == 101) {
        o->surplus = rest;
        o->events->head(o->arg, o->response);
        return;
    }
    if (response_is_interim(o->response)) {
        o->interim_seen = true;
        o->events->interim(o->arg, o->response);
        return;
    }
    o->response_begun = true;
    bind_if(o, &o->response->fields, FIELD_WWW_AUTHENTICATE);
    conn->idle_limit_ms = persist_idle_ms(&o->response->fields, conn->idle_limit_ms);
    o->events->head(o->arg, o->response);
}

static void on_end(struct origin_net *o, bool surplus)
{
    struct upstream_conn *conn = o->conn;

    if (response_is_interim(o->response)) {
        h1_parser_begin_response(conn->parser, &o->options->limits, o->arena, o->response,
                                 o->request->method);
        return;
    }
    if (surplus || !o->response->keep_alive || !o->request_ended || !outq_empty(&conn->out) ||
        conn->out.error != 0) {
        conn->poisoned = true;
    }
    o->conn = NULL;
    set_state(o, ORIGIN_NET_DONE);
    task_cancel(&o->step);
    o->events->end(o->arg, h1_parser_trailers(conn->parser));
    upstream_pool_give(o->options->pool, o->key, conn);
}

static void on_parse_error(struct origin_net *o)
{
    enum h1_error error = h1_parser_error(o->conn->parser);
    const char *text = h1_parser_error_text(o->conn->parser);

    if (error == H1_E_NO_MEMORY) {
        fail(o, ORIGIN_NO_MEMORY, 0, text);
    } else if (o->response_begun) {
        fail(o, error == H1_E_TRUNCATED ? ORIGIN_TRUNCATION : ORIGIN_BAD_BODY, 0, text);
    } else if (error == H1_E_TRUNCATED) {
        fail(o, ORIGIN_CLOSED, 0, text);
    } else if (error == H1_E_HEAD_TOO_LARGE) {
        fail(o, ORIGIN_HEAD_TOO_LARGE, 0, text);
    } else {
        fail(o, ORIGIN_MALFORMED, 0, text);
    }
}

/* Takes what was read. Events may cancel the origin: then nothing of it may be touched. */
static void consume(struct origin_net *o, struct str data)
{
    enum h1_event event;

    do {
        struct str body;
        size_t taken = 0;

        event = h1_parser_next(o->conn->parser, data.ptr, data.len, &taken, &body);
        data = str_from(data, taken);
        switch (event) {
        case H1_HEAD:
            on_head(o, data);
            break;
        case H1_BODY:
            o->events->body(o->arg, body);
            break;
        case H1_END:
            on_end(o, data.len > 0);
            break;
        case H1_ERROR:
            on_parse_error(o);
            break;
        case H1_MORE:
            break;
        }
    } while (event != H1_MORE && o->state == ORIGIN_NET_BUSY);
}

/* The origin ended its side (error 0) or the connection broke. */
static void on_eof(struct origin_net *o, int error)
{
    if (may_send_again(o)) {
        send_again(o);
        return;
    }
    if (o->response_begun && o->response->framing.kind == BODY_UNTIL_CLOSE && error != 0) {
        fail(o, ORIGIN_TRUNCATION, error, "the connection was reset before the response ended");
        return;
    }
    switch (h1_parser_eof(o->conn->parser)) {
    case H1_END:
        on_end(o, false);
        break;
    case H1_MORE:
        fail(o, ORIGIN_CLOSED, error, NULL);
        break;
    case H1_ERROR:
    case H1_HEAD:
    case H1_BODY:
        on_parse_error(o);
        break;
    }
}

/* Content that comes as it stands and in bulk is not looked at: as stream_read, and -EOPNOTSUPP
 * when it is to be read. */
static ssize_t splice_once(struct origin_net *o)
{
    struct h1_parser *parser = o->conn->parser;
    uint64_t left = h1_parser_plain_left(parser);
    ssize_t n = -EOPNOTSUPP;

    if (left > 0) {
        n = o->events->splice_body(o->arg, o->conn->stream, left);
    }
    if (n > 0) {
        h1_parser_skip_body(parser, (uint64_t)n);
    }
    return n;
}

static void read_once(struct origin_net *o)
{
    struct io *io = o->options->io;
    struct str data = {0};
    ssize_t n = splice_once(o);

    if (n == -EOPNOTSUPP) {
        data.ptr = io_scratch(io);
        n = stream_read(o->conn->stream, io->scratch, io_read_bytes(io));
        data.len = (size_t)MAX(n, 0);
    }
    if (n == -EAGAIN) {
        return;
    }
    o->events->moved(o->arg);
    if (n <= 0) {
        on_eof(o, (int)n);
        return;
    }
    consume(o, data);
}

static void write_more(struct origin_net *o)
{
    struct outq *out = &o->conn->out;
    bool was_blocked = outq_blocked(out);
    uint64_t before = out->written_bytes;

    outq_flush(out);
    if (out->written_bytes != before) {
        o->events->moved(o->arg);
    }
    if (out->error == -ENOMEM) {
        fail(o, ORIGIN_NO_MEMORY, 0, NULL);
    } else if (out->error != 0) {
        /* The origin may have answered before it broke off: read that, or the error. */
        o->conn->stream->readable = true;
    } else if (was_blocked && !outq_blocked(out)) {
        o->events->drained(o->arg);
    }
}

/* One read a turn of a body that does not end, then others have theirs: in the meantime more comes,
 * and the next one moves more. */
static void drive(struct origin_net *o)
{
    if (o->state != ORIGIN_NET_BUSY) {
        return;
    }
    write_more(o);
    if (o->state == ORIGIN_NET_BUSY && o->conn->stream->readable) {
        o->paused = !o->events->wants_more(o->arg);
        if (!o->paused) {
            read_once(o);
        }
    }
    io_flush(o->options->io);
    if (o->state == ORIGIN_NET_BUSY && !o->paused && o->conn->stream->readable) {
        loop_defer(o->options->io->loop, &o->step);
    }
}

static void on_step(struct task *task)
{
    drive(CONTAINER_OF(task, struct origin_net, step));
}

static void resume_reading(void *origin)
{
    struct origin_net *o = origin;

    if (o->paused) {
        o->paused = false;
        if (o->state == ORIGIN_NET_BUSY && o->conn->stream->readable) {
            loop_defer(o->options->io->loop, &o->step);
        }
    }
}

static struct stream *take_stream(void *origin, struct str *ret_surplus)
{
    struct origin_net *o = origin;
    struct upstream_conn *conn = o->conn;

    ASSERT(o->state == ORIGIN_NET_BUSY);
    o->conn = NULL;
    set_state(o, ORIGIN_NET_DONE);
    task_cancel(&o->step);
    *ret_surplus = o->surplus;
    return upstream_conn_take_stream(conn);
}

const struct origin_ops origin_net_ops = {
    .offer = offer,
    .offer_end = offer_end,
    .send_body = send_body,
    .splice_body = splice_body,
    .end_body = end_body,
    .is_blocked = is_blocked,
    .resume = resume_reading,
    .take_stream = take_stream,
    .cancel = cancel,
};

int origin_net_start(struct origin_net *origin, const struct origin_net_options *options,
                     struct arena *arena, struct upstream_binding *binding,
                     const struct request *request, struct response *response,
                     const struct origin_events *events, void *arg)
{
    *origin = (struct origin_net){
        .options = options,
        .events = events,
        .arg = arg,
        .arena = arena,
        .binding = binding,
        .request = request,
        .response = response,
        .key = field_value(&request->fields, FIELD_HOST),
        .head = h1_write_request(arena, request),
        .state = ORIGIN_NET_NEW,
        .request_ended = false,
    };
    task_init(&origin->step, on_step);
    return origin->head.ptr ? 0 : -ENOMEM;
}
