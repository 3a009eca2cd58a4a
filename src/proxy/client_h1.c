// SPDX-License-Identifier: MIT
#include "proxy/client_h1.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "http/h1_parse.h"
#include "io/io.h"
#include "io/outq.h"
#include "io/stream.h"
#include "proxy/client_private.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* What a client may send ahead while its request is being answered. */
#define AHEAD_BYTES ((size_t)16 << 10)
/* How much of an unwanted body is read to keep the connection, and how long we linger for the rest.
 */
#define DRAIN_BYTES ((uint64_t)256 << 10)
#define LINGER_MS 2000
/* How soon a head that waits for memory is looked at again. */
#define HUNGRY_MS 20

static void on_stream_ready(struct stream *stream);
static void on_task(struct task *task);
static void on_deadline(struct deadline *deadline);
static void close_client(struct client *c, bool reset);

/* ------------------------------------------------------------------ states */

static void set_state(struct client *c, enum client_state state)
{
    static const unsigned allowed[] = {
        [CLIENT_IDLE] = 1U << CLIENT_HEAD | 1U << CLIENT_CLOSED,
        [CLIENT_HEAD] = 1U << CLIENT_ACTIVE | 1U << CLIENT_CLOSED,
        [CLIENT_ACTIVE] = 1U << CLIENT_DRAIN | 1U << CLIENT_IDLE | 1U << CLIENT_LINGER |
                          1U << CLIENT_DETACHED | 1U << CLIENT_CLOSED,
        [CLIENT_DRAIN] = 1U << CLIENT_IDLE | 1U << CLIENT_LINGER | 1U << CLIENT_CLOSED,
        [CLIENT_LINGER] = 1U << CLIENT_CLOSED,
        [CLIENT_DETACHED] = 1U << CLIENT_CLOSED,
        [CLIENT_CLOSED] = 0,
    };
    const struct conf *conf = c->proxy->conf;

    ASSERT(allowed[c->state] & 1U << state);
    c->state = state;
    list_remove(&c->node);
    list_remove(&c->hungry);
    deadline_disarm(&c->deadline);
    switch (state) {
    case CLIENT_IDLE:
        list_push_back(&c->proxy->idle_clients, &c->node);
        deadline_arm(&c->deadline, conf->timeouts.keep_alive_ms);
        break;
    case CLIENT_HEAD:
        list_push_back(&c->proxy->active_clients, &c->node);
        deadline_arm(&c->deadline, conf->timeouts.header_ms);
        break;
    case CLIENT_ACTIVE:
        list_push_back(&c->proxy->active_clients, &c->node);
        break;
    case CLIENT_DRAIN:
        list_push_back(&c->proxy->active_clients, &c->node);
        deadline_arm(&c->deadline, conf->timeouts.idle_ms);
        break;
    case CLIENT_LINGER:
        list_push_back(&c->proxy->active_clients, &c->node);
        deadline_arm(&c->deadline, LINGER_MS);
        break;
    case CLIENT_DETACHED:
    case CLIENT_CLOSED:
        break;
    }
}

static void bury_client(struct corpse *corpse)
{
    struct client *c = CONTAINER_OF(corpse, struct client, corpse);

    h1_parser_free(c->parser);
    mem_free(c);
}

/* The stream has gone to a tunnel, and the exchange ends by itself. */
void client_detached(struct client *c)
{
    c->in = (struct buf){0};
    c->out.pending = (struct buf){0};
    c->stream = NULL;
    c->x = NULL;
    set_state(c, CLIENT_DETACHED);
    close_client(c, false);
}

/* In any state; reset shows the peer that it has not everything. */
static void close_client(struct client *c, bool reset)
{
    struct stream *stream = c->stream;
    bool detached = c->state == CLIENT_DETACHED;

    if (c->state == CLIENT_CLOSED) {
        return;
    }
    set_state(c, CLIENT_CLOSED);
    task_cancel(&c->task);
    outq_deinit(&c->out);
    buf_release(&c->in, &c->proxy->io->bufs);
    c->stream = NULL;
    stream_close(stream, reset);
    if (c->binding.used) {
        upstream_pool_unbind(&c->proxy->pool, c->binding.client);
    }
    if (!detached) {
        c->proxy->client_gone(c->proxy->arg, &c->peer, c->refused);
    }
    loop_bury(c->proxy->io->loop, &c->corpse, bury_client);
}

static void end_exchange(struct client *c, const char *end)
{
    struct exchange *x = c->x;

    c->x = NULL;
    if (x) {
        exchange_finish(x, end);
    }
    h1_parser_free(c->parser);
    c->parser = NULL;
}

/* The client is gone, or must go: whatever ran for it ends now. */
void client_end(struct client *c, const char *end, bool reset)
{
    end_exchange(c, end);
    close_client(c, reset);
}

static bool alive(const struct client *c)
{
    return c->state != CLIENT_CLOSED && c->state != CLIENT_DETACHED;
}

void client_h1_new(struct proxy *proxy, struct stream *stream, const struct conf_listener *listener,
                   bool refused)
{
    struct client *c = mem_zalloc(sizeof(*c));

    if (!c) {
        proxy->client_gone(proxy->arg, &stream->peer, refused);
        stream_close(stream, true);
        return;
    }
    c->proxy = proxy;
    c->stream = stream;
    c->peer = stream->peer;
    c->listener = listener;
    c->refused = refused;
    c->binding.client = ++proxy->next_client;
    outq_init(&c->out, proxy->io, stream);
    deadline_init(&c->deadline, proxy->io->loop, on_deadline);
    task_init(&c->task, on_task);
    list_init(&c->node);
    list_init(&c->hungry);
    list_push_back(&proxy->silent_clients, &c->node);
    deadline_arm(&c->deadline, proxy->conf->timeouts.header_ms);
    stream_set_owner(stream, c, on_stream_ready);
    client_drive(c);
}

/* ------------------------------------------------------------------ reading requests */

static bool begin_exchange(struct client *c)
{
    if (h1_parser_new_request(&c->parser) != 0) {
        close_client(c, true);
        return false;
    }
    c->x = exchange_new(c->proxy, &c->peer, c->listener, &c->binding, &client_downstream_ops, c);
    if (!c->x) {
        close_client(c, true);
        return false;
    }
    c->bytes_in = 0;
    c->written_before = c->out.written_bytes;
    c->close_after = false;
    c->no_content = false;
    h1_parser_begin_request(c->parser, &c->proxy->origin.limits, exchange_arena(c->x),
                            exchange_request(c->x));
    set_state(c, CLIENT_HEAD);
    return true;
}

static void on_head(struct client *c)
{
    struct request *request = exchange_request(c->x);
    int r = target_parse(request->method_text, request->target_text, exchange_arena(c->x),
                         &request->target);

    c->no_content = request->framing.kind == BODY_NONE ||
                    (request->framing.kind == BODY_LENGTH && request->framing.length == 0);
    set_state(c, CLIENT_ACTIVE);
    if (c->refused) {
        exchange_reject(c->x, REPLY_TOO_MANY_CONNECTIONS, NULL, true);
    } else if (r != 0) {
        exchange_reject(c->x, client_reason_of_target(r), r > 0 ? target_error_text(r) : NULL,
                        true);
    } else {
        exchange_start(c->x, c->no_content);
    }
}

static void on_parse_error(struct client *c)
{
    enum reply_reason reason = client_reason_of(h1_parser_error(c->parser));
    const char *text = h1_parser_error_text(c->parser);

    c->input_broken = true;
    if (c->state == CLIENT_HEAD) {
        set_state(c, CLIENT_ACTIVE);
        exchange_reject(c->x, reason, text, false);
    } else {
        exchange_body_broken(c->x, reason, text);
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
            c->drained_bytes += body.len;
        } else {
            exchange_body(c->x, body);
        }
        break;
    case H1_END:
        c->request_read = true;
        if (c->state == CLIENT_ACTIVE && !c->no_content) {
            exchange_body_end(c->x, h1_parser_trailers(c->parser));
        }
        break;
    case H1_ERROR:
        if (c->state == CLIENT_DRAIN) {
            c->input_broken = true;
        } else {
            on_parse_error(c);
        }
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
        return !c->request_read && !c->input_broken;
    case CLIENT_ACTIVE:
        /* The end of a request without content is known with its head: the parser's word for it
         * costs no byte. */
        return !c->request_read && !c->input_broken && (c->no_content || exchange_wants_body(c->x));
    case CLIENT_LINGER:
    case CLIENT_DETACHED:
    case CLIENT_CLOSED:
        break;
    }
    return false;
}

/* Feeds the parser; returns how many bytes it took. */
static size_t feed(struct client *c, struct str data)
{
    size_t total = 0;
    bool more = true;

    while (more && alive(c) && takes_input(c)) {
        struct str body = {0};
        size_t taken = 0;
        enum h1_event event;

        if (c->state == CLIENT_IDLE && c->served > 0 && str_eq(data, STR("\r\n"))) {
            return total + data.len; /* what some clients send behind a body (RFC 9112 2.2) */
        }
        if (c->state == CLIENT_IDLE && (data.len == 0 || !begin_exchange(c))) {
            break;
        }
        event = h1_parser_next(c->parser, data.ptr, data.len, &taken, &body);
        data = str_from(data, taken);
        total += taken;
        c->bytes_in += taken;
        more = take_event(c, event, body);
    }
    return total;
}

/* Takes what waits in the buffer. True when that moved something. */
static bool feed_waiting(struct client *c)
{
    size_t taken;

    if (buf_len(&c->in) == 0 || !takes_input(c)) {
        return false;
    }
    taken = feed(c, buf_str(&c->in));
    io_flush(c->proxy->io);
    if (alive(c)) {
        buf_consume(&c->in, &c->proxy->io->bufs, MIN(taken, buf_len(&c->in)));
    }
    return taken > 0;
}

/* Bytes read and not taken wait, as long as they are within what a client may send ahead. */
static void keep_ahead(struct client *c, struct str rest)
{
    if (rest.len > 0 && c->state == CLIENT_LINGER) {
        return;
    }
    if (buf_append(&c->in, &c->proxy->io->bufs, rest.ptr, rest.len) != 0) {
        client_end(c, "error:no-memory", true);
    }
}

static void on_input_end(struct client *c, int error)
{
    c->input_ended = true;
    switch (c->state) {
    case CLIENT_IDLE:
    case CLIENT_LINGER:
        close_client(c, false);
        break;
    case CLIENT_HEAD:
        client_end(c, "client-closed", false);
        break;
    case CLIENT_DRAIN:
        client_end(c, NULL, false);
        break;
    case CLIENT_ACTIVE:
        if (error != 0 || !c->request_read) {
            client_end(c, "client-closed", error != 0);
        } else {
            exchange_client_half_closed(c->x);
        }
        break;
    case CLIENT_DETACHED:
    case CLIENT_CLOSED:
        break;
    }
}

/* Whether a read makes sense: input is wanted, or the client may yet tell that it is leaving. */
static bool may_read(const struct client *c)
{
    if (!c->stream->readable || c->input_ended || buf_len(&c->in) >= AHEAD_BYTES) {
        return false;
    }
    if (c->state != CLIENT_ACTIVE) {
        return true;
    }
    /* A body that is not wanted yet stays in the kernel: that is the client's backpressure. */
    return c->request_read || buf_len(&c->in) == 0;
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
    if (!list_linked(&c->hungry)) {
        list_push_back(&proxy->hungry_clients, &c->hungry);
        deadline_arm(&c->deadline, proxy->conf->timeouts.header_ms);
    }
    if (!deadline_armed(&proxy->hungry)) {
        deadline_arm(&proxy->hungry, HUNGRY_MS);
    }
    return true;
}

void client_feed_hungry(struct proxy *proxy)
{
    struct list batch;

    list_init(&batch);
    list_splice_back(&batch, &proxy->hungry_clients);
    while (!list_empty(&batch)) {
        struct client *c = LIST_FIRST(&batch, struct client, hungry);

        /* Back in its place, so that its deadline is not begun anew. */
        list_remove(&c->hungry);
        list_push_back(&proxy->hungry_clients, &c->hungry);
        client_drive(c);
    }
}

static bool read_once(struct client *c)
{
    struct io *io = c->proxy->io;
    size_t want = c->state == CLIENT_ACTIVE && !takes_input(c) ? AHEAD_BYTES : io_read_bytes(io);
    char *scratch;
    ssize_t n;
    size_t taken = 0;

    if (!may_read(c) || must_wait(c)) {
        return false;
    }
    list_remove(&c->hungry);
    scratch = io_scratch(io);
    n = stream_read(c->stream, scratch, want);
    if (n == -EAGAIN) {
        return false;
    }
    if (n <= 0) {
        on_input_end(c, (int)n);
        return true;
    }
    if (c->x && c->state == CLIENT_ACTIVE) {
        exchange_moved(c->x);
    }
    if (buf_len(&c->in) == 0) {
        taken = feed(c, str_make(scratch, (size_t)n));
    }
    if (alive(c)) {
        io_flush(io);
        keep_ahead(c, str_make(scratch + taken, (size_t)n - taken));
    }
    return true;
}

/* ------------------------------------------------------------------ what comes after a response */

static void linger(struct client *c)
{
    buf_release(&c->in, &c->proxy->io->bufs);
    if (c->input_ended || stream_shut_write(c->stream) != 0) {
        close_client(c, false);
        return;
    }
    set_state(c, CLIENT_LINGER);
}

/* Closing now would reset the connection, and the response with it. */
static bool has_unread(const struct client *c)
{
    return buf_len(&c->in) > 0 || c->stream->readable;
}

static void next_request(struct client *c)
{
    c->request_read = false;
    c->drained_bytes = 0;
    c->served++;
    if (c->proxy->draining && has_unread(c)) {
        linger(c);
        return;
    }
    if (c->proxy->draining || (c->input_ended && buf_len(&c->in) == 0)) {
        close_client(c, false);
        return;
    }
    set_state(c, CLIENT_IDLE);
    stream_relax(c->stream);
}

/* The response has left whole, or will never. */
static void after_response(struct client *c)
{
    if (!c->aborted && !c->close_after && !c->request_read && !c->input_broken) {
        set_state(c, CLIENT_DRAIN);
        exchange_response_sent(c->x);
        return;
    }
    end_exchange(c, NULL);
    if (c->aborted) {
        close_client(c, true);
    } else if (!c->close_after && c->request_read) {
        next_request(c);
    } else {
        linger(c);
    }
}

static bool step_active(struct client *c)
{
    if (c->aborted) {
        outq_flush(&c->out);
        after_response(c);
        return true;
    }
    if (c->out.error != 0) {
        client_end(c, c->out.error == -ENOMEM ? "error:no-memory" : "client-closed", true);
        return true;
    }
    if (!outq_blocked(&c->out)) {
        if (exchange_response_over(c->x)) {
            after_response(c);
            return true;
        }
        if (c->was_blocked) {
            c->was_blocked = false;
            exchange_drained(c->x);
        }
    }
    return false;
}

static bool step_drain(struct client *c)
{
    if (c->aborted) {
        client_end(c, NULL, true);
    } else if (c->request_read) {
        end_exchange(c, NULL);
        next_request(c);
    } else if (c->drained_bytes > DRAIN_BYTES || c->input_broken) {
        end_exchange(c, NULL);
        linger(c);
    } else {
        return false;
    }
    return true;
}

static void write_more(struct client *c)
{
    uint64_t before = c->out.written_bytes;

    outq_flush(&c->out);
    if (outq_blocked(&c->out)) {
        c->was_blocked = true;
    }
    if (c->x && c->out.written_bytes != before) {
        exchange_moved(c->x);
    }
}

/* One move of the state machine; true when there may be more to do. */
static bool step(struct client *c)
{
    write_more(c);
    if (c->state == CLIENT_ACTIVE && step_active(c)) {
        return true;
    }
    if (c->state == CLIENT_DRAIN && step_drain(c)) {
        return true;
    }
    if (!alive(c)) {
        return false;
    }
    if (feed_waiting(c)) {
        return true;
    }
    if (alive(c) && c->input_ended && (c->state == CLIENT_IDLE || c->state == CLIENT_HEAD)) {
        /* What had been read before the client ended its side was not a whole request. */
        client_end(c, "client-closed", false);
        return false;
    }
    return alive(c) && read_once(c);
}

/* Steps until nothing moves or the others' turn has come. */
void client_drive(struct client *c)
{
    for (int i = 0; i < 8 && alive(c); i++) {
        if (!step(c)) {
            return;
        }
    }
    if (alive(c)) {
        loop_defer(c->proxy->io->loop, &c->task);
    }
}

static void on_stream_ready(struct stream *stream)
{
    struct client *c = stream->owner;

    /* Nothing is read for now, so its event is the only sign of a client that is gone. */
    if (c->state == CLIENT_ACTIVE && stream->readable && !may_read(c) &&
        stream_error(stream) != 0) {
        client_end(c, "client-closed", true);
        return;
    }
    client_drive(c);
}

static void on_task(struct task *task)
{
    client_drive(CONTAINER_OF(task, struct client, task));
}

static void on_deadline(struct deadline *deadline)
{
    struct client *c = CONTAINER_OF(deadline, struct client, deadline);
    bool hungry = list_linked(&c->hungry);

    if (c->state == CLIENT_HEAD || (hungry && begin_exchange(c))) {
        set_state(c, CLIENT_ACTIVE);
        c->input_broken = true;
        exchange_reject(c->x, hungry ? REPLY_NO_MEMORY : REPLY_HEAD_TIMEOUT, NULL, false);
        client_drive(c);
    } else {
        client_end(c, NULL, false);
    }
}
