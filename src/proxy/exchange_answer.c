// SPDX-License-Identifier: MIT
#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "conf/conf.h"
#include "io/io.h"
#include "log/record.h"
#include "policy/hits.h"
#include "proxy/census.h"
#include "proxy/exchange_private.h"

/* Of a body: read and thrown away rather than answered with the connection's end. */
#define LITTLE_BYTES ((uint64_t)64 << 10)

/* Only that there was a rule, and not which. */
static bool shows_class(const struct exchange *x, struct str rule)
{
    return exchange_conf(x)->server.explain == CONF_EXPLAIN_CLASS && rule.len > 0 &&
           !str_starts(rule, STR("builtin:"));
}

/* What server.explain lets a client know of the rule's name. */
static struct str shown_rule(const struct exchange *x, struct str rule)
{
    if (rule.len == 0) {
        return rule; /* no rule made it */
    }
    switch (exchange_conf(x)->server.explain) {
    case CONF_EXPLAIN_RULE:
        return rule;
    case CONF_EXPLAIN_CLASS:
        return shows_class(x, rule) ? STR("denied") : rule;
    case CONF_EXPLAIN_NONE:
        break;
    }
    return STR("");
}

/* Of a request that got nowhere the content is all that is left, and it is little and sure to come:
 * the client's side reads it for the sake of the next request. */
static bool has_little_left(const struct exchange *x)
{
    return x->request_half == REQUEST_BODY && !x->origin_started &&
           x->request.framing.kind == BODY_LENGTH && x->request.framing.length <= LITTLE_BYTES &&
           !exchange_awaits_continue(x);
}

/* What comes now was meant for the tunnel that is refused: behind a CONNECT it may be under way
 * still; to one that lacks credentials the client's next try is to come on this connection. */
static bool is_followed_by_tunnel(const struct exchange *x, unsigned status)
{
    bool is_connect = x->request.method == METHOD_CONNECT;

    return (is_connect && status != 407) ||
           ((is_connect || x->request.wants_upgrade) && x->down->has_input_ahead(x->downstream));
}

/* A connection that goes on would have to read the rest of a request nobody wants, or take for a
 * request what is none. */
static bool must_close(const struct exchange *x, enum reply_reason reason)
{
    unsigned status = reply_row(reason)->status;

    return (x->request_half != REQUEST_ENDED && !has_little_left(x)) || status == 400 ||
           status == 408 || status == 413 || reason == REPLY_TOO_MANY_CONNECTIONS ||
           is_followed_by_tunnel(x, status);
}

/* An answer of our own, as far as the request does not say it. */
struct answer {
    enum reply_reason reason;
    struct str rule;
    struct str details;
    uint64_t retry_after_ms;
};

static void send_reply(struct exchange *x, const struct reply_options *options)
{
    struct str body;
    int r = reply_make(options, &x->arena, &x->response, &body);

    if (r == 0) {
        r = x->down->send_head(x->downstream, &x->response, DOWNSTREAM_OWN);
    }
    if (r != 0) {
        x->end = "error:no-memory"; /* why nothing comes, whatever was to come */
        exchange_abort(x, x->end);
        return;
    }
    x->status = x->response.status;
    x->final_head_sent = true;
    x->body_out = body.len;
    x->response_half = RESPONSE_ENDED;
    x->down->send_body(x->downstream, body);
    x->down->end(x->downstream, NULL);
}

static void reply(struct exchange *x, const struct answer *answer)
{
    const struct reply_row *row = reply_row(answer->reason);
    struct reply_options options = {
        .reason = answer->reason,
        .server_name = str_of(exchange_conf(x)->server.name),
        .rule = shown_rule(x, answer->rule),
        .hide_rule = exchange_conf(x)->server.explain == CONF_EXPLAIN_NONE,
        .rule_is_class = shows_class(x, answer->rule),
        .details = answer->details,
        .target = x->request.target_text,
        .realm = str_of(exchange_conf(x)->auth.realm),
        .retry_after_s = (answer->retry_after_ms + 999) / 1000,
        .request = x->head_read ? &x->request : NULL,
        .close = must_close(x, answer->reason) || x->proxy->draining ||
                 (x->head_read && (!x->request.keep_alive || x->request.minor_version == 0)),
        .send_proxy_status = true,
    };

    if (x->final_head_sent) {
        exchange_abort(x, row->end);
        return;
    }
    if (!x->end) {
        x->end = row->end;
    }
    if (row->rule && x->rule.len == 0) {
        x->rule = str_of(row->rule);
    }
    exchange_cancel_work(x);
    exchange_set_state(x, EXCHANGE_REPLY);
    send_reply(x, &options);
}

void exchange_reply(struct exchange *x, enum reply_reason reason, const char *details)
{
    reply(x, &(struct answer){.reason = reason, .details = str_of(details)});
}

void exchange_reply_later(struct exchange *x, enum reply_reason reason, uint64_t retry_after_ms)
{
    reply(x, &(struct answer){.reason = reason, .retry_after_ms = retry_after_ms});
}

void exchange_reply_challenge(struct exchange *x, const char *details)
{
    const struct answer answer = {
        .reason = REPLY_CREDENTIALS, .rule = x->verdict.rule, .details = str_of(details)};

    reply(x, &answer);
}

void exchange_reply_denied(struct exchange *x, const struct policy_verdict *verdict)
{
    bool loop = str_eq(verdict->rule, STR("builtin:loop"));
    bool may_name = exchange_conf(x)->server.explain == CONF_EXPLAIN_RULE; /* as details may */

    x->verdict = *verdict;
    reply(x, &(struct answer){.reason = loop ? REPLY_LOOP : REPLY_DENIED,
                              .rule = verdict->rule,
                              .details = may_name ? verdict->details : STR("")});
}

enum reply_reason exchange_connect_reason(int error)
{
    switch (error) {
    case -ECONNREFUSED:
        return REPLY_REFUSED;
    case -ECONNRESET:
        return REPLY_CONNECT_RESET;
    case -ETIMEDOUT:
        return REPLY_CONNECT_TIMEOUT;
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EACCES:
    case -EPERM:
        return REPLY_UNREACHABLE;
    case -EMFILE:
    case -ENFILE:
    case -EADDRNOTAVAIL: /* no source port is free */
        return REPLY_NO_DESCRIPTORS;
    case -ENOMEM:
    case -ENOBUFS:
        return REPLY_NO_MEMORY;
    default:
        return REPLY_CONNECT_FAILED;
    }
}

static struct str version_text(const struct exchange *x)
{
    if (!x->head_read) {
        return STR("");
    }
    return x->request.minor_version == 0 ? STR("HTTP/1.0") : STR("HTTP/1.1");
}

struct str exchange_join_reports(struct exchange *x, const struct policy_verdict *verdict)
{
    struct str joined = {0};

    for (size_t i = 0; i < verdict->would_deny_count; i++) {
        const struct str *name = &verdict->would_deny[i];

        if ((i > 0 && arena_append(&x->arena, &joined, ",", 1) != 0) ||
            arena_append(&x->arena, &joined, name->ptr, name->len) != 0) {
            break;
        }
    }
    return joined;
}

static struct str reports_of(struct exchange *x)
{
    return x->allowed_count > 0 ? x->would_deny : exchange_join_reports(x, &x->verdict);
}

static struct str rule_of(const struct exchange *x)
{
    return x->rule.len > 0 ? x->rule : x->verdict.rule;
}

/* The row is known of a verdict by the policy in force. */
static void count_rules(struct exchange *x)
{
    struct hits *hits = x->proxy->tenure->snapshot->hits;
    struct str reports = reports_of(x);
    bool has_row = x->rule.len == 0 && x->tenure == x->proxy->tenure;

    if (has_row && x->verdict.rule.len > 0) {
        hits_count(hits, x->proxy->worker, x->verdict.row);
    } else {
        hits_count_named(hits, x->proxy->worker, rule_of(x));
    }
    while (reports.len > 0) {
        hits_count_named(hits, x->proxy->worker, str_cut(&reports, ','));
    }
}

void exchange_count(struct exchange *x)
{
    tally_add(&x->proxy->tally.requests, 1);
    count_rules(x);
}

void exchange_fill_record(struct exchange *x, const char *end, struct log_record *ret)
{
    const struct request *request = &x->request;
    bool reached = x->upstream.kind != ADDR_NONE;

    *ret = (struct log_record){
        .event = "request",
        .end_wall_ms = clock_wall_ms(),
        .start_wall_ms = x->start_wall_ms,
        .id = str_make(x->id, x->id_len),
        .client = x->client,
        .user = x->user,
        .listener = str_of(x->listener),
        .method = request->method_text,
        .target = request->target_text,
        .version = version_text(x),
        .status = x->status,
        .rule = rule_of(x),
        .would_deny = reports_of(x),
        .route = x->allowed_count > 0 ? STR("direct") : STR(""),
        .upstream = x->upstream,
        .reused = reached && x->reused,
        .dns_ms = x->took_dns_ms,
        .connect_ms = x->took_connect_ms,
        .wait_ms = x->took_wait_ms,
        .total_ms =
            (uint32_t)MIN(loop_now_ms(x->proxy->io->loop) - x->start_ms, RECORD_MS_NONE - 1),
        .end = str_of(end),
        .body_bytes_out = x->body_out,
        .is_connect = request->method == METHOD_CONNECT,
    };
    if (x->head_read) {
        ret->referer = field_value(&request->fields, FIELD_REFERER);
        ret->user_agent = field_value(&request->fields, FIELD_USER_AGENT);
    }
    if (x->final_head_sent) {
        ret->content_type = field_value(&x->response.fields, FIELD_CONTENT_TYPE);
    }
}

/* Of the addresses that were allowed the first is tried first; which one it is to be is known once
 * it answers. */
static struct addr address_in_use(const struct exchange *x)
{
    return x->upstream.kind == ADDR_NONE && x->allowed_count > 0 ? x->allowed[0].addr : x->upstream;
}

void exchange_see(const struct exchange *x, struct census_item *ret)
{
    ret->kind = CENSUS_REQUEST;
    ret->id = str_make(x->id, x->id_len);
    ret->client = x->client;
    ret->user = x->user;
    ret->listener = str_of(x->listener);
    ret->method = x->request.method_text;
    ret->target = x->request.target_text;
    ret->rule = rule_of(x);
    ret->upstream = address_in_use(x);
    x->down->count(x->downstream, &ret->bytes_in, &ret->bytes_out);
    ret->since_ms = x->start_ms;
    ret->start_wall_ms = x->start_wall_ms;
    ret->generation = exchange_snapshot(x)->generation;
    ret->is_admitted = x->state == EXCHANGE_RESOLVE || x->state == EXCHANGE_CONNECT ||
                       x->state == EXCHANGE_FORWARD;
}
