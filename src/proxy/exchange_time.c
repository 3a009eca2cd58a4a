// SPDX-License-Identifier: MIT
#include "conf/conf.h"
#include "io/io.h"
#include "proxy/exchange_private.h"
#include "upstream/dial.h"

/* How long a response may stand still towards a client that has ended its own direction and reads:
 * one that is gone looks the same until something is written to it. */
#define HALF_CLOSED_MS 1000

static void arm(struct exchange *x, enum exchange_timer kind, uint64_t length_ms)
{
    x->timer_kind = kind;
    if (length_ms > 0) {
        deadline_arm(&x->timer, x->proxy->io->loop, length_ms);
    } else {
        deadline_disarm(&x->timer);
    }
}

/* The whole request is on its way and nothing final has come back. */
static bool awaits_response(struct exchange *x)
{
    return x->request_half == REQUEST_ENDED && x->response_half <= RESPONSE_INTERIM &&
           !origin_net_ops.is_blocked(&x->origin);
}

/* A response that stands still, and a client of which nothing shows that it is still there. */
static bool may_be_abandoned(const struct exchange *x)
{
    return x->client_half_closed && x->final_head_sent && !x->down->is_blocked(x->downstream);
}

void exchange_rearm(struct exchange *x)
{
    const struct conf *conf = exchange_conf(x);

    switch (x->state) {
    case EXCHANGE_CONNECT:
        if (x->timer_kind != TIMER_CONNECT) {
            arm(x, TIMER_CONNECT, conf->timeouts.connect_ms);
        }
        break;
    case EXCHANGE_FORWARD:
        if (x->origin.state == ORIGIN_NET_DIALLING) {
            /* The request goes out a second time: to connect may take as long as the first time. */
            if (x->timer_kind != TIMER_CONNECT) {
                arm(x, TIMER_CONNECT, conf->timeouts.connect_ms);
            }
        } else if (x->response_sent) {
            arm(x, TIMER_NONE, 0); /* the client's side times what is left of the request */
        } else if (may_be_abandoned(x)) {
            arm(x, TIMER_ABANDONED, HALF_CLOSED_MS);
        } else if (!awaits_response(x)) {
            arm(x, TIMER_IDLE, conf->timeouts.idle_ms);
        } else if (x->timer_kind != TIMER_RESPONSE) {
            arm(x, TIMER_RESPONSE, conf->timeouts.response_ms);
        }
        break;
    case EXCHANGE_REPLY:
        arm(x, TIMER_IDLE, x->response_sent ? 0 : conf->timeouts.idle_ms);
        break;
    case EXCHANGE_HEAD:
    case EXCHANGE_ADMIT:
    case EXCHANGE_RESOLVE:
    case EXCHANGE_TUNNEL:
    case EXCHANGE_DONE:
        arm(x, TIMER_NONE, 0);
        break;
    }
}

void exchange_moved(struct exchange *x)
{
    if (x->state == EXCHANGE_FORWARD || x->state == EXCHANGE_REPLY) {
        exchange_rearm(x);
    }
}

static void on_timer(struct deadline *deadline)
{
    struct exchange *x = CONTAINER_OF(deadline, struct exchange, timer);

    switch (x->timer_kind) {
    case TIMER_CONNECT:
        x->upstream = x->dial ? *dial_last(x->dial) : x->allowed[0].addr;
        exchange_reply(x, REPLY_CONNECT_TIMEOUT, NULL);
        break;
    case TIMER_RESPONSE:
        exchange_reply(x, REPLY_RESPONSE_TIMEOUT, NULL);
        break;
    case TIMER_IDLE:
        if (x->state == EXCHANGE_REPLY) {
            exchange_abort(x, "timeout:idle");
        } else {
            exchange_reply(x, REPLY_IDLE_TIMEOUT, NULL);
        }
        break;
    case TIMER_ABANDONED:
        if (may_be_abandoned(x)) {
            exchange_abort(x, "client-closed");
        } else {
            exchange_rearm(x); /* it has been the client's turn since */
        }
        break;
    case TIMER_NONE:
        break;
    }
    io_flush(x->proxy->io);
}

static void on_whole(struct deadline *deadline)
{
    struct exchange *x = CONTAINER_OF(deadline, struct exchange, whole);

    if (x->state == EXCHANGE_REPLY) {
        exchange_abort(x, "timeout:exchange");
    } else {
        exchange_reply(x, REPLY_EXCHANGE_TIMEOUT, NULL);
    }
    io_flush(x->proxy->io);
}

void exchange_init_timers(struct exchange *x)
{
    deadline_init(&x->timer, on_timer);
    deadline_init(&x->whole, on_whole);
}
