// SPDX-License-Identifier: MIT
#include "proxy/exchange.h"

#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/slab.h"
#include "conf/conf.h"
#include "http/forward.h"
#include "io/io.h"
#include "log/record.h"
#include "policy/auth.h"
#include "policy/machine.h"
#include "proxy/exchange_private.h"
#include "upstream/dial.h"

/* Interim responses to one request; each keeps its head in memory until the end. */
#define INTERIM_MAX 64

/* ------------------------------------------------------------------ life and states */

struct exchange *exchange_new(struct proxy *proxy, const struct addr *client, const char *listener,
                              struct upstream_binding *binding, const struct downstream_ops *ops,
                              void *downstream)
{
    struct exchange *x = slab_zalloc(&proxy->io->slabs, sizeof(*x));

    if (!x) {
        return NULL;
    }
    x->proxy = proxy;
    x->tenure = tenure_take(proxy->tenure);
    x->client = *client;
    x->listener = listener;
    x->binding = binding;
    x->down = ops;
    x->downstream = downstream;
    arena_init(&x->arena, &proxy->io->arenas);
    exchange_init_timers(x);
    x->id_len = proxy_next_id(proxy, x->id).len;
    x->start_wall_ms = clock_wall_ms();
    x->start_ms = loop_now_ms(proxy->io->loop);
    x->took_dns_ms = RECORD_MS_NONE;
    x->took_connect_ms = RECORD_MS_NONE;
    x->took_wait_ms = RECORD_MS_NONE;
    return x;
}

struct request *exchange_request(struct exchange *x)
{
    return &x->request;
}

struct arena *exchange_arena(struct exchange *x)
{
    return &x->arena;
}

void exchange_set_state(struct exchange *x, enum exchange_state state)
{
    static const unsigned allowed[] = {
        [EXCHANGE_HEAD] = 1U << EXCHANGE_ADMIT | 1U << EXCHANGE_REPLY | 1U << EXCHANGE_DONE,
        [EXCHANGE_ADMIT] = 1U << EXCHANGE_RESOLVE | 1U << EXCHANGE_REPLY | 1U << EXCHANGE_DONE,
        [EXCHANGE_RESOLVE] = 1U << EXCHANGE_CONNECT | 1U << EXCHANGE_REPLY | 1U << EXCHANGE_DONE,
        [EXCHANGE_CONNECT] = 1U << EXCHANGE_FORWARD | 1U << EXCHANGE_REPLY | 1U << EXCHANGE_TUNNEL |
                             1U << EXCHANGE_DONE,
        [EXCHANGE_FORWARD] = 1U << EXCHANGE_REPLY | 1U << EXCHANGE_TUNNEL | 1U << EXCHANGE_DONE,
        [EXCHANGE_REPLY] = 1U << EXCHANGE_DONE,
        [EXCHANGE_TUNNEL] = 1U << EXCHANGE_DONE,
        [EXCHANGE_DONE] = 0,
    };

    ASSERT(allowed[x->state] & 1U << state);
    x->state = state;
    if (UNLIKELY(field_list_had(&x->request.fields, FIELD_PROXY_AUTHORIZATION)) &&
        state != EXCHANGE_ADMIT && state != EXCHANGE_RESOLVE) { /* nobody will ask who it is */
        field_wipe_all(&x->request.fields, FIELD_PROXY_AUTHORIZATION);
    }
    exchange_rearm(x);
}

void exchange_cancel_work(struct exchange *x)
{
    if (x->query) {
        resolver_cancel(x->query);
        x->query = NULL;
    }
    auth_cancel(x->auth_query);
    x->auth_query = NULL;
    dial_cancel(x->dial);
    x->dial = NULL;
    if (x->origin_started) {
        origin_net_ops.cancel(&x->origin);
    }
}

void exchange_abort(struct exchange *x, const char *end)
{
    if (!x->end) {
        x->end = end;
    }
    exchange_cancel_work(x);
    x->response_half = RESPONSE_ABORTED;
    x->down->abort(x->downstream);
}

static void bury_exchange(struct task *task)
{
    struct exchange *x = CONTAINER_OF(task, struct exchange, grave);

    slab_free(&x->proxy->io->slabs, x);
}

void exchange_forget(struct exchange *x)
{
    exchange_cancel_work(x);
    exchange_set_state(x, EXCHANGE_DONE);
    deadline_disarm(&x->whole);
    if (UNLIKELY(!x->head_read)) { /* nobody has found the credentials that may be in it */
        arena_wipe(&x->arena);
    }
    arena_reset(&x->arena);
    tenure_give(x->tenure);
    loop_bury(x->proxy->io->loop, &x->grave, bury_exchange);
}

void exchange_finish(struct exchange *x, const char *end)
{
    struct log_record record;

    if (x->state != EXCHANGE_TUNNEL) {
        exchange_fill_record(x, end ? end : x->end ? x->end : "complete", &record);
        x->down->count(x->downstream, &record.bytes_in, &record.bytes_out);
        access_log_put(&x->proxy->access, &record);
    }
    exchange_count(x);
    exchange_forget(x);
}

struct str exchange_via_name(const struct exchange *x)
{
    return exchange_conf(x)->server.via ? exchange_snapshot(x)->via_name : STR("");
}

bool exchange_response_over(const struct exchange *x)
{
    return x->response_half == RESPONSE_ENDED || x->response_half == RESPONSE_ABORTED;
}

/* ------------------------------------------------------------------ the request */

struct policy_facts exchange_facts(const struct exchange *x, enum policy_stage stage)
{
    return (struct policy_facts){
        .stage = stage,
        .client = x->client,
        .listener = str_of(x->listener),
        .method = x->request.method_text,
        .host = &x->request.target.host,
        .port = x->request.target.port,
        .user = x->user,
        .time = local_clock_at(&x->proxy->clock, x->start_wall_ms),
        .machine = machine_addrs_now(x->proxy->machine),
        .own_addresses = exchange_snapshot(x)->own_addresses,
        .own_address_count = exchange_snapshot(x)->own_address_count,
    };
}

static void decide_request(const struct exchange *x, struct policy_verdict *ret)
{
    struct policy_facts facts = exchange_facts(x, POLICY_REQUEST);

    facts.own_via = forward_has_via(&x->request.fields, exchange_snapshot(x)->via_name);
    policy_decide(exchange_snapshot(x)->policy, &facts, ret);
}

/* RFC 9110 7.6.2: the last hop that may see it answers itself. */
static bool ends_here(const struct request *request)
{
    uint64_t hops;

    return (request->method == METHOD_TRACE || request->method == METHOD_OPTIONS) &&
           str_parse_u64(field_value(&request->fields, FIELD_MAX_FORWARDS), UINT32_MAX, &hops) &&
           hops == 0;
}

static bool exceeds_body_limit(const struct exchange *x, uint64_t bytes)
{
    uint64_t limit = exchange_conf(x)->limits.body_bytes;

    return limit > 0 && bytes > limit;
}

void exchange_admit(struct exchange *x)
{
    struct policy_verdict verdict;

    decide_request(x, &verdict);
    if (verdict.action == POLICY_CHALLENGE) {
        exchange_challenge(x, &verdict);
    } else if (verdict.action == POLICY_DENY) {
        exchange_reply_denied(x, &verdict);
    } else if (ends_here(&x->request)) {
        exchange_reply(x, REPLY_MAX_FORWARDS, NULL);
    } else if (x->request.framing.kind == BODY_LENGTH &&
               exceeds_body_limit(x, x->request.framing.length)) {
        exchange_reply(x, REPLY_BODY_TOO_LARGE, NULL);
    } else {
        exchange_resolve(x);
    }
}

void exchange_start(struct exchange *x, bool no_content)
{
    uint64_t whole_ms = exchange_conf(x)->timeouts.exchange_ms;

    x->head_read = true;
    x->request_half = no_content ? REQUEST_ENDED : REQUEST_BODY;
    exchange_set_state(x, EXCHANGE_ADMIT);
    if (whole_ms > 0) {
        deadline_arm(&x->whole, x->proxy->io->loop, whole_ms);
    }
    exchange_admit(x);
}

void exchange_reject(struct exchange *x, enum reply_reason reason, const char *details,
                     bool head_read)
{
    x->head_read = head_read;
    exchange_reply(x, reason, details);
}

bool exchange_wants_body(const struct exchange *x)
{
    return x->state == EXCHANGE_FORWARD && x->request_half == REQUEST_BODY &&
           x->origin.state == ORIGIN_NET_BUSY &&
           !origin_net_ops.is_blocked((void *)(uintptr_t)&x->origin);
}

bool exchange_awaits_continue(const struct exchange *x)
{
    return x->request.expects_continue && x->request_half == REQUEST_BODY && x->body_in == 0;
}

void exchange_body(struct exchange *x, struct str data)
{
    x->body_in += data.len;
    if (exceeds_body_limit(x, x->body_in)) {
        exchange_body_broken(x, REPLY_BODY_TOO_LARGE, NULL);
        return;
    }
    origin_net_ops.send_body(&x->origin, data);
}

/* A length above the limit was refused with the head. */
ssize_t exchange_splice_body(struct exchange *x, struct stream *from, uint64_t max)
{
    ssize_t n = origin_net_ops.splice_body(&x->origin, from, max);

    if (n > 0) {
        x->body_in += (uint64_t)n;
    }
    return n;
}

void exchange_body_end(struct exchange *x, struct field_list *trailers)
{
    if (x->request_half != REQUEST_BODY) {
        return; /* it has been refused meanwhile */
    }
    x->request_half = REQUEST_ENDED;
    if (x->state == EXCHANGE_FORWARD) {
        forward_trailers(trailers);
        origin_net_ops.end_body(&x->origin, trailers);
        exchange_moved(x);
    }
}

void exchange_body_broken(struct exchange *x, enum reply_reason reason, const char *details)
{
    x->request_half = REQUEST_ABORTED;
    exchange_reply(x, reason, details);
}

/* ------------------------------------------------------------------ the response */

static void on_connected(void *arg, const struct addr *peer, bool reused)
{
    struct exchange *x = arg;

    exchange_reached(x, peer);
    x->reused = reused;
    x->sent_ms = loop_now_ms(x->proxy->io->loop);
    if (!reused) {
        x->took_connect_ms = (uint32_t)(x->sent_ms - x->connect_ms);
    }
    if (x->state == EXCHANGE_CONNECT) {
        exchange_set_state(x, EXCHANGE_FORWARD);
    }
    if (x->request_half == REQUEST_ENDED) {
        origin_net_ops.end_body(&x->origin, NULL);
    } else {
        x->down->body_wanted(x->downstream);
    }
    exchange_moved(x);
}

static void send_head(struct exchange *x, struct response *response)
{
    int r = x->down->send_head(x->downstream, response, DOWNSTREAM_FORWARDED);

    if (r != 0) {
        exchange_abort(x, r == -E2BIG ? "error:bad-response" : "error:no-memory");
    }
}

static void on_interim(void *arg, struct response *response)
{
    struct exchange *x = arg;

    x->response_half = RESPONSE_INTERIM;
    if (++x->interim_count > INTERIM_MAX) {
        exchange_reply(x, REPLY_BAD_RESPONSE, "the origin sends interim responses without end");
        return;
    }
    send_head(x, response);
}

/* The origin may choose among the protocols the client offered, no other (RFC 9110 7.8). */
static bool is_offered_upgrade(const struct exchange *x, const struct response *response)
{
    const struct field *field = field_find(&response->fields, FIELD_UPGRADE);
    size_t protocols = 0;

    for (; field; field = field_next(&response->fields, field)) {
        struct str rest = field->value;
        struct str protocol;

        for (; field_next_element(&rest, &protocol); protocols++) {
            if (!field_has_token(&x->request.fields, FIELD_UPGRADE, protocol)) {
                return false;
            }
        }
    }
    return x->request.wants_upgrade && protocols > 0;
}

static void on_head(void *arg, struct response *response)
{
    struct exchange *x = arg;
    int r;

    x->took_wait_ms = (uint32_t)(loop_now_ms(x->proxy->io->loop) - x->sent_ms);
    if (response->status == 101) {
        if (x->request_half != REQUEST_ENDED || !is_offered_upgrade(x, response)) {
            exchange_reply(x, REPLY_BAD_RESPONSE,
                           "the origin switched to a protocol nobody offered");
            return;
        }
        exchange_upgrade(x);
        return;
    }
    r = x->down->send_head(x->downstream, response, DOWNSTREAM_FORWARDED);
    if (r != 0) {
        exchange_reply(x, r == -E2BIG ? REPLY_BAD_RESPONSE : REPLY_NO_MEMORY,
                       r == -E2BIG ? "Connection names too many fields" : NULL);
        return;
    }
    x->response_half = RESPONSE_BODY;
    x->status = response->status;
    x->final_head_sent = true;
    exchange_moved(x);
}

static void on_body(void *arg, struct str data)
{
    struct exchange *x = arg;

    x->body_out += data.len;
    x->down->send_body(x->downstream, data);
}

static ssize_t on_splice_body(void *arg, struct stream *from, uint64_t max)
{
    struct exchange *x = arg;
    ssize_t n = x->down->splice_body(x->downstream, from, max);

    if (n > 0) {
        x->body_out += (uint64_t)n;
    }
    return n;
}

static void on_end(void *arg, struct field_list *trailers)
{
    struct exchange *x = arg;

    x->response_half = RESPONSE_ENDED;
    forward_trailers(trailers);
    x->down->end(x->downstream, trailers);
    exchange_moved(x);
}

static void on_failed(void *arg, enum origin_failure failure, int error, const char *text)
{
    struct exchange *x = arg;

    switch (failure) {
    case ORIGIN_CONNECT:
        x->upstream = x->origin.failed_at;
        exchange_reply(x, exchange_connect_reason(error), NULL);
        break;
    case ORIGIN_CLOSED:
        exchange_reply(x, REPLY_UPSTREAM_RESET, NULL);
        break;
    case ORIGIN_MALFORMED:
        exchange_reply(x, REPLY_BAD_RESPONSE, text);
        break;
    case ORIGIN_HEAD_TOO_LARGE:
        exchange_reply(x, REPLY_RESPONSE_HEAD_TOO_LARGE, NULL);
        break;
    case ORIGIN_NO_MEMORY:
        exchange_reply(x, REPLY_NO_MEMORY, NULL);
        break;
    case ORIGIN_TRUNCATION:
        exchange_abort(x, "truncated");
        break;
    case ORIGIN_BAD_BODY:
        exchange_abort(x, "error:bad-response");
        break;
    }
}

static void on_drained(void *arg)
{
    struct exchange *x = arg;

    exchange_moved(x);
    if (x->request_half == REQUEST_BODY) {
        x->down->body_wanted(x->downstream);
    }
}

static bool wants_more(void *arg)
{
    struct exchange *x = arg;

    return !x->down->is_blocked(x->downstream);
}

static void on_moved(void *arg)
{
    exchange_moved(arg);
}

const struct origin_events exchange_origin_events = {
    .connected = on_connected,
    .interim = on_interim,
    .head = on_head,
    .body = on_body,
    .splice_body = on_splice_body,
    .end = on_end,
    .failed = on_failed,
    .drained = on_drained,
    .wants_more = wants_more,
    .moved = on_moved,
};

void exchange_drained(struct exchange *x)
{
    exchange_moved(x);
    if (x->origin_started && x->state == EXCHANGE_FORWARD) {
        origin_net_ops.resume(&x->origin);
    }
}

void exchange_response_sent(struct exchange *x)
{
    x->response_sent = true;
    exchange_rearm(x);
}

/* A client that has ended its direction may wait for its answer, or be gone. Writing tells: to one
 * that is gone the next segment brings a reset. An interim response may come at any time and means
 * nothing more than that we are here (RFC 9110 15.2); inside a response only its silence is left to
 * judge by. */
void exchange_client_half_closed(struct exchange *x)
{
    struct response probe = {.status = 100, .reason = STR("Continue"), .minor_version = 1};

    x->client_half_closed = true;
    exchange_moved(x);
    if (x->final_head_sent || x->request.minor_version == 0 || x->state == EXCHANGE_REPLY) {
        return;
    }
    field_list_init(&probe.fields, &x->arena);
    send_head(x, &probe);
}
