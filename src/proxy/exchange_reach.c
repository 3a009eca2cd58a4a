// SPDX-License-Identifier: MIT
#include <assert.h>
#include <errno.h>

#include "base/err.h"
#include "conf/conf.h"
#include "http/forward.h"
#include "io/io.h"
#include "io/stream.h"
#include "log/record.h"
#include "proxy/exchange_private.h"
#include "proxy/tunnel.h"
#include "upstream/dial.h"

/* ------------------------------------------------------------------ tunnels */

static uint32_t since(const struct exchange *x, uint64_t from_ms)
{
    return (uint32_t)MIN(loop_now_ms(x->proxy->io->loop) - from_ms, RECORD_MS_NONE - 1);
}

/* Hands both streams over; the exchange is at its end and the tunnel writes the log line. */
static void become_tunnel(struct exchange *x, struct stream *origin, struct str surplus)
{
    struct downstream_detached client;
    struct log_record record;
    int r;

    if (x->down->send_head(x->downstream, &x->response, DOWNSTREAM_TUNNEL) != 0) {
        stream_close(origin, true);
        exchange_abort(x, "error:no-memory");
        return;
    }
    x->status = x->response.status;
    x->final_head_sent = true;
    exchange_fill_record(x, NULL, &record);
    r = x->down->detach(x->downstream, &client);
    if (r != 0) {
        stream_close(origin, true);
        exchange_abort(x, r == -ENOMEM ? "error:no-memory" : "client-closed");
        return;
    }
    exchange_set_state(x, EXCHANGE_TUNNEL);
    record.bytes_in = client.bytes_in;
    record.bytes_out = client.bytes_out;
    /* On failure everything is closed and the line is written there too. */
    tunnel_start(x->proxy, &client, origin, surplus, &record, x->start_ms);
    exchange_finish(x, NULL);
}

void exchange_upgrade(struct exchange *x)
{
    struct str surplus;
    struct stream *origin = origin_net_ops.take_stream(&x->origin, &surplus);

    become_tunnel(x, origin, surplus);
}

void exchange_reached(struct exchange *x, const struct addr *addr)
{
    x->upstream = *addr;
    for (size_t i = 0; i < x->allowed_count; i++) {
        if (addr_eq(&x->allowed[i].addr, addr)) {
            x->verdict.rule = x->allowed[i].rule;
            x->verdict.row = x->allowed[i].row;
            x->would_deny = x->allowed[i].would_deny;
        }
    }
}

static void on_dialled(void *arg, struct stream *stream)
{
    struct exchange *x = arg;

    x->dial = NULL;
    exchange_reached(x, &stream->peer);
    x->took_connect_ms = since(x, x->connect_ms);
    x->response = (struct response){
        .status = 200,
        .reason = STR("Connection established"),
        .minor_version = 1,
    };
    field_list_init(&x->response.fields, &x->arena);
    become_tunnel(x, stream, STR(""));
    io_flush(x->proxy->io);
}

static void on_dial_failed(void *arg, int error, const struct addr *at)
{
    struct exchange *x = arg;

    x->dial = NULL;
    x->upstream = *at;
    exchange_reply(x, exchange_connect_reason(error), NULL);
}

static const struct dial_events tunnel_dial_events = {
    .connected = on_dialled,
    .failed = on_dial_failed,
};

/* ------------------------------------------------------------------ the way to an allowed address
 */

static int prepare_request(struct exchange *x)
{
    const struct conf_listener *listener = conf_listener_find(exchange_conf(x), x->listener);
    const struct forward_options options = {
        .via_name = exchange_via_name(x),
        /* Through a listener that is no longer there nobody is told of the client any more. */
        .tell_client = (enum forward_client)(listener ? listener->forwarded : CONF_FORWARDED_OFF),
        .client = x->client,
    };
    int r = forward_request(&x->request, &options);

    if (r != 0) {
        return r;
    }
    return origin_net_start(&x->origin, &x->proxy->origin, &x->arena, x->binding, &x->request,
                            &x->response, &exchange_origin_events, x);
}

static int begin_way(struct exchange *x)
{
    int r;

    if (x->request.method == METHOD_CONNECT) {
        return dial_new(x->proxy->io, exchange_conf(x)->server.tcp_keepalive_ms,
                        &tunnel_dial_events, x, &x->dial);
    }
    r = prepare_request(x);
    x->origin_started = r == 0;
    return r;
}

static void start_way(struct exchange *x)
{
    int r;

    exchange_set_state(x, EXCHANGE_CONNECT);
    x->connect_ms = loop_now_ms(x->proxy->io->loop);
    r = begin_way(x);
    if (r == -E2BIG) {
        exchange_reply(x, REPLY_MALFORMED, "Connection names too many fields");
    } else if (r != 0) {
        exchange_reply(x, REPLY_NO_MEMORY, NULL);
    }
}

static void offer(struct exchange *x, const struct addr *addr)
{
    if (x->dial) {
        dial_offer(x->dial, addr);
    } else if (x->origin_started) {
        origin_net_ops.offer(&x->origin, addr);
    }
}

static void offer_end(struct exchange *x)
{
    if (x->dial) {
        dial_offer_end(x->dial);
    } else if (x->origin_started && x->state != EXCHANGE_REPLY) {
        origin_net_ops.offer_end(&x->origin);
    }
}

/* ------------------------------------------------------------------ names and judgement */

/* items of the arena with room for one more; NULL when memory is out and the request was answered.
 */
static void *make_room(struct exchange *x, void *items, size_t count, size_t size)
{
    void *grown = arena_grow(&x->arena, items, count, size);

    if (!grown && x->allowed_count == 0) {
        exchange_reply(x, REPLY_NO_MEMORY, NULL);
    }
    return grown;
}

static_assert(EXCHANGE_MAX_JUDGED >= 2 * RESOLVE_MAX_ADDRS, "all that a name has of both families");

static void note_refused(struct exchange *x, const struct addr *addr,
                         const struct policy_verdict *verdict)
{
    struct addr *refused;

    if (x->allowed_count > 0 || x->refused_count == EXCHANGE_MAX_JUDGED) {
        return;
    }
    refused = make_room(x, x->refused, x->refused_count, sizeof(*refused));
    if (!refused) {
        return;
    }
    if (x->refused_count == 0) {
        x->verdict = *verdict;
    } else {
        policy_sum_up(&x->verdict, verdict);
    }
    x->refused = refused;
    x->refused[x->refused_count++] = *addr;
}

/* False when there is no room; without the first there is nothing to go on with. */
static bool note_allowed(struct exchange *x, const struct addr *addr,
                         const struct policy_verdict *verdict)
{
    struct allowed *allowed;

    if (x->allowed_count == EXCHANGE_MAX_JUDGED) {
        return false;
    }
    allowed = make_room(x, x->allowed, x->allowed_count, sizeof(*allowed));
    if (!allowed) {
        return false;
    }
    x->refused_count = 0;
    x->allowed = allowed;
    x->allowed[x->allowed_count++] = (struct allowed){
        .addr = *addr,
        .rule = verdict->rule,
        .row = verdict->row,
        .would_deny = exchange_join_reports(x, verdict),
    };
    return true;
}

static void judge(struct exchange *x, const struct addr *found)
{
    struct policy_facts facts = exchange_facts(x, POLICY_ADDRESS);
    struct policy_verdict verdict;

    facts.address = *found;
    facts.address.port = x->request.target.port;
    policy_decide(exchange_snapshot(x)->policy, &facts, &verdict);
    if (verdict.action != POLICY_ALLOW) {
        note_refused(x, &facts.address, &verdict);
        return;
    }
    if (!note_allowed(x, &facts.address, &verdict)) {
        return;
    }
    if (x->state == EXCHANGE_RESOLVE) {
        x->verdict = verdict;
        x->would_deny = x->allowed[0].would_deny;
        start_way(x);
    }
    offer(x, &facts.address);
}

static void reply_unresolved(struct exchange *x, enum resolve_status status)
{
    static const enum reply_reason reasons[] = {
        [RESOLVE_OK] = REPLY_DNS_NODATA,       [RESOLVE_NXDOMAIN] = REPLY_DNS_NXDOMAIN,
        [RESOLVE_NODATA] = REPLY_DNS_NODATA,   [RESOLVE_SERVFAIL] = REPLY_DNS_FAILED,
        [RESOLVE_TIMEOUT] = REPLY_DNS_TIMEOUT, [RESOLVE_ERROR] = REPLY_DNS_UNREACHABLE,
        [RESOLVE_REFUSED] = REPLY_DNS_REFUSED, [RESOLVE_NO_MEMORY] = REPLY_NO_MEMORY,
    };

    exchange_reply(x, reasons[status], NULL);
}

static bool is_reaching(const struct exchange *x)
{
    return x->state == EXCHANGE_RESOLVE || x->state == EXCHANGE_CONNECT ||
           x->state == EXCHANGE_FORWARD;
}

/* All addresses have been judged. */
static void conclude(struct exchange *x, enum resolve_status status)
{
    if (x->allowed_count > 0) {
        offer_end(x);
    } else if (x->refused_count == 0) {
        reply_unresolved(x, status);
    } else if (x->verdict.action == POLICY_CHALLENGE) {
        exchange_challenge(x, &x->verdict);
    } else {
        exchange_reply_denied(x, &x->verdict);
    }
}

/* The same addresses: there is no second look-up. */
void exchange_judge_again(struct exchange *x)
{
    const struct addr *addrs = x->refused;
    size_t count = x->refused_count;

    x->refused = NULL;
    x->refused_count = 0;
    for (size_t i = 0; i < count && is_reaching(x); i++) {
        judge(x, &addrs[i]);
    }
    if (is_reaching(x)) {
        conclude(x, RESOLVE_OK);
    }
}

/* Addresses come in one or two portions; each allowed one is dialled at once, a refusal needs them
 * all. */
static void on_answer(void *arg, const struct resolve_result *result)
{
    struct exchange *x = arg;

    if (result->done) {
        x->query = NULL;
    }
    if (x->allowed_count == 0 && !x->request.target.host.is_literal) {
        x->took_dns_ms = since(x, x->ask_ms);
    }
    for (size_t i = 0; i < result->addr_count && is_reaching(x); i++) {
        judge(x, &result->addrs[i]);
    }
    if (result->done && is_reaching(x)) {
        conclude(x, result->status);
    }
    io_flush(x->proxy->io);
}

static const struct resolve_events resolve_events = {.answer = on_answer};

void exchange_resolve(struct exchange *x)
{
    struct resolve_query *query = NULL;
    int r;

    exchange_set_state(x, EXCHANGE_RESOLVE);
    x->ask_ms = loop_now_ms(x->proxy->io->loop);
    r = resolver_ask(x->proxy->resolver, &x->request.target.host, &resolve_events, x, &query);
    if (r < 0) {
        exchange_reply(x, REPLY_NO_MEMORY, NULL);
    } else if (r == 0) {
        x->query = query;
    }
}
