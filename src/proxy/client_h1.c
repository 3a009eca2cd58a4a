// SPDX-License-Identifier: MIT
#include "proxy/client_h1.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slab.h"
#include "base/text.h"
#include "conf/conf.h"
#include "http/h1_parse.h"
#include "io/io.h"
#include "io/outq.h"
#include "io/stream.h"
#include "proxy/census.h"
#include "proxy/client_private.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* How much of an unwanted body is read to keep the connection, and how long we linger for the rest.
 */
#define DRAIN_BYTES ((uint64_t)256 << 10)
#define LINGER_MS 2000
/* What a client may take for its first byte when it drains. */
#define DRAIN_SILENCE_MS 1000

static void on_stream_ready(struct stream *stream);
static void on_task(struct task *task);
static void on_deadline(struct deadline *deadline);

/* ------------------------------------------------------------------ states */

void client_set_state(struct client *c, enum client_state state)
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
    struct loop *loop = c->proxy->io->loop;

    ASSERT(allowed[c->state] & 1U << state);
    c->state = state;
    list_remove(&c->node);
    c->hungry = false;
    deadline_disarm(&c->deadline);
    switch (state) {
    case CLIENT_IDLE:
        list_push_back(&c->proxy->idle_clients, &c->node);
        c->idle_ms = loop_now_ms(loop);
        deadline_arm(&c->deadline, loop, conf->timeouts.keep_alive_ms);
        break;
    case CLIENT_HEAD:
        list_push_back(&c->proxy->active_clients, &c->node);
        deadline_arm(&c->deadline, loop, conf->timeouts.header_ms);
        break;
    case CLIENT_ACTIVE:
        list_push_back(&c->proxy->active_clients, &c->node);
        break;
    case CLIENT_DRAIN:
        list_push_back(&c->proxy->active_clients, &c->node);
        deadline_arm(&c->deadline, loop, conf->timeouts.idle_ms);
        break;
    case CLIENT_LINGER:
        list_push_back(&c->proxy->active_clients, &c->node);
        c->idle_ms = loop_now_ms(loop);
        deadline_arm(&c->deadline, loop, LINGER_MS);
        break;
    case CLIENT_DETACHED:
    case CLIENT_CLOSED:
        break;
    }
}

static void bury_client(struct task *task)
{
    struct client *c = CONTAINER_OF(task, struct client, task);

    h1_parser_free(c->parser);
    slab_free(&c->proxy->io->slabs, c);
}

/* The stream has gone to a tunnel, and the exchange ends by itself. */
void client_detached(struct client *c)
{
    c->in = (struct buf){0};
    c->out.pending = (struct buf){0};
    c->stream = NULL;
    c->x = NULL;
    client_set_state(c, CLIENT_DETACHED);
    client_close(c, false);
}

/* In any state; reset shows the peer that it has not everything. */
void client_close(struct client *c, bool reset)
{
    struct stream *stream = c->stream; /* NULL: a tunnel has it */

    if (c->state == CLIENT_CLOSED) {
        return;
    }
    client_set_state(c, CLIENT_CLOSED);
    task_cancel(&c->task);
    outq_deinit(&c->out);
    buf_release(&c->in, &c->proxy->io->bufs);
    c->stream = NULL;
    stream_close(stream, reset);
    if (c->binding.used) {
        upstream_pool_unbind(&c->proxy->pool, c->binding.client);
    }
    if (stream) {
        roll_remove(&c->proxy->roll, &c->entry);
        c->proxy->client_gone(c->proxy->arg, &stream->peer, c->refused);
    }
    loop_bury(c->proxy->io->loop, &c->task, bury_client);
}

/* Empty lines before a head are no request: nothing to answer or to log (RFC 9112 2.2). */
static bool has_begun(const struct client *c)
{
    return c->state != CLIENT_HEAD || h1_parser_started(c->parser);
}

static void end_exchange(struct client *c, const char *end)
{
    struct exchange *x = c->x;

    c->x = NULL;
    if (x && has_begun(c)) {
        exchange_finish(x, end);
    } else if (x) {
        exchange_forget(x);
    }
    h1_parser_free(c->parser);
    c->parser = NULL;
}

/* The client is gone, or must go: whatever ran for it ends now. */
void client_end(struct client *c, const char *end, bool reset)
{
    end_exchange(c, end);
    client_close(c, reset);
}

/* Until its first byte. Who comes just before the drain, or out of the queue during it, is about to
 * send: to be closed then would look like a failure of the request. */
static void await_first_byte(struct client *c)
{
    uint64_t header_ms = c->proxy->conf->timeouts.header_ms;
    uint64_t silence_ms = c->proxy->draining ? MIN(header_ms, DRAIN_SILENCE_MS) : header_ms;

    deadline_arm(&c->deadline, c->proxy->io->loop, silence_ms);
}

void client_hurry_silent(struct proxy *proxy)
{
    LIST_FOR_EACH (node, next, &proxy->silent_clients) {
        await_first_byte(LIST_ITEM(node, struct client, node));
    }
}

void client_h1_new(struct proxy *proxy, struct stream *stream, const char *listener, bool refused)
{
    struct client *c = slab_zalloc(&proxy->io->slabs, sizeof(*c));

    if (!c || !roll_add(&proxy->roll, &c->entry, ROLL_CLIENT)) {
        slab_free(&proxy->io->slabs, c);
        proxy->client_gone(proxy->arg, &stream->peer, refused);
        stream_close(stream, true);
        return;
    }
    c->proxy = proxy;
    c->stream = stream;
    c->listener = listener;
    c->refused = refused;
    c->idle_ms = loop_now_ms(proxy->io->loop);
    c->binding.client = ++proxy->next_client & UINT64_MAX >> 1;
    outq_init(&c->out, stream);
    deadline_init(&c->deadline, on_deadline);
    task_init(&c->task, on_task);
    list_init(&c->node);
    list_push_back(&proxy->silent_clients, &c->node);
    await_first_byte(c);
    stream_set_owner(stream, c, on_stream_ready);
    client_drive(c);
}

/* ------------------------------------------------------------------ what comes after a response */

/* Read on until the client ends too, or for LINGER_MS. */
static void linger(struct client *c)
{
    buf_release(&c->in, &c->proxy->io->bufs);
    if (stream_shut_write(c->stream) != 0) {
        client_close(c, false);
        return;
    }
    client_set_state(c, CLIENT_LINGER);
}

static void next_request(struct client *c)
{
    client_set_input(c, INPUT_HEAD);
    c->drained_bytes = 0;
    c->has_served = true;
    client_set_state(c, CLIENT_IDLE);
    stream_relax(c->stream);
}

/* How a connection goes on once a response is over. */
enum fate {
    FATE_KEEP,   /* with the next request */
    FATE_DRAIN,  /* by reading what is left of this one */
    FATE_LINGER, /* shut, and read to its end */
    FATE_CLOSE,
    FATE_RESET, /* so that the client does not take what it has for the whole */
};

/* Bytes that come to a closed socket reset it, and the response may be lost with it (RFC 9112 9.6).
 * None come from a client that has ended its side, or that has announced its request as the last;
 * but some send an empty line behind content. */
static bool may_send_more(const struct client *c)
{
    const struct request *request = exchange_request(c->x);
    bool is_last = c->input == INPUT_WHOLE && !request->keep_alive &&
                   request->framing.kind == BODY_NONE && request->method != METHOD_CONNECT &&
                   !client_has_input(c);

    return !c->ended && !is_last;
}

/* The one place that decides it, after every response. */
static enum fate fate_of(const struct client *c)
{
    if (c->answer == ANSWER_ABORTED) {
        return FATE_RESET;
    }
    if (c->answer == ANSWER_KEEPS) {
        bool is_served = c->proxy->draining || (c->ended && buf_len(&c->in) == 0);

        if (c->input == INPUT_BODY && c->drained_bytes <= DRAIN_BYTES) {
            return FATE_DRAIN;
        }
        if (c->input == INPUT_WHOLE && !is_served) {
            return FATE_KEEP;
        }
    }
    return may_send_more(c) ? FATE_LINGER : FATE_CLOSE;
}

/* The response has left whole, or will never. True when the connection has moved on. */
static bool after_response(struct client *c)
{
    enum fate fate = fate_of(c);

    if (fate != FATE_DRAIN) {
        end_exchange(c, NULL);
    }
    switch (fate) {
    case FATE_KEEP:
        next_request(c);
        break;
    case FATE_DRAIN:
        if (c->state == CLIENT_DRAIN) {
            return false;
        }
        client_set_state(c, CLIENT_DRAIN);
        exchange_response_sent(c->x);
        break;
    case FATE_LINGER:
        linger(c);
        break;
    case FATE_CLOSE:
    case FATE_RESET:
        client_close(c, fate == FATE_RESET);
        break;
    }
    return true;
}

/* ------------------------------------------------------------------ driving */

static bool step_active(struct client *c)
{
    if (c->answer == ANSWER_ABORTED) {
        return after_response(c);
    }
    if (c->out.error != 0) {
        client_end(c, c->out.error == -ENOMEM ? "error:no-memory" : "client-closed", true);
        return true;
    }
    if (!outq_blocked(&c->out)) {
        if (exchange_response_over(c->x)) {
            return after_response(c);
        }
        if (c->was_blocked) {
            c->was_blocked = false;
            exchange_drained(c->x);
        }
    }
    return false;
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
    if (c->state == CLIENT_DRAIN && after_response(c)) {
        return true;
    }
    if (!client_is_alive(c)) {
        return false;
    }
    if (client_feed_waiting(c)) {
        return true;
    }
    return client_is_alive(c) && !client_end_if_cut_short(c) && client_read(c);
}

/* Steps until nothing moves or the others' turn has come. */
void client_drive(struct client *c)
{
    for (int i = 0; i < 8 && client_is_alive(c); i++) {
        if (!step(c)) {
            return;
        }
    }
    if (client_is_alive(c)) {
        loop_defer(c->proxy->io->loop, &c->task);
    }
}

static void on_stream_ready(struct stream *stream)
{
    struct client *c = stream->owner;

    /* Nothing is read for now, so its event is the only sign of a client that is gone. */
    if (c->state == CLIENT_ACTIVE && stream->readable && !client_may_read(c) &&
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
    bool hungry = c->hungry;

    if ((c->state == CLIENT_HEAD && has_begun(c)) || (hungry && client_begin_exchange(c))) {
        client_refuse_head(c, hungry ? REPLY_NO_MEMORY : REPLY_HEAD_TIMEOUT, NULL);
        client_drive(c);
    } else {
        client_end(c, NULL, false);
    }
}

/* ------------------------------------------------------------------ for whoever asks */

static struct str put_number(const struct client *c, char dst[PROXY_ID_MAX])
{
    struct text id = text_over(dst, PROXY_ID_MAX);

    text_hex(&id, c->proxy->worker, 1);
    text_puts(&id, "-i");
    text_hex(&id, c->binding.client, 1);
    return text_str(&id);
}

void client_h1_see(struct roll_entry *entry, struct census_item *ret)
{
    const struct client *c = CONTAINER_OF(entry, struct client, entry);

    if (c->x) {
        exchange_see(c->x, ret);
        return;
    }
    ret->kind = CENSUS_IDLE;
    ret->id = put_number(c, ret->number);
    ret->client = c->stream->peer;
    ret->listener = str_of(c->listener);
    ret->since_ms = c->idle_ms;
}

void client_h1_kill(struct roll_entry *entry)
{
    struct client *c = CONTAINER_OF(entry, struct client, entry);

    client_end(c, "killed", c->x != NULL);
}
