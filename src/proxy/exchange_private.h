// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of an exchange, shared by the files that make it up: exchange.c
 * (states, halves, forwarding), exchange_time.c (deadlines), exchange_reach.c (from a judged
 * request to a connection or tunnel) and exchange_answer.c (answers of our
 * own, the log record).
 */

#include "io/loop.h"
#include "policy/policy.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"
#include "proxy/tenure.h"
#include "resolve/resolver.h"
#include "upstream/origin_net.h"

struct auth_query;
struct dial;
struct log_record;

/* What the one timer of an exchange is armed for. */
enum exchange_timer { TIMER_NONE, TIMER_CONNECT, TIMER_RESPONSE, TIMER_IDLE, TIMER_ABANDONED };

/* An address, the rule that allowed it, and the report lines that it passed. */
struct allowed {
    struct addr addr;
    struct str rule;
    uint32_t row;          /* of that rule */
    struct str would_deny; /* comma separated */
};

#define EXCHANGE_MAX_JUDGED 32

struct exchange {
    enum exchange_state state;
    enum request_half request_half;
    enum response_half response_half;
    struct proxy *proxy;
    struct tenure *tenure; /* one use */
    const struct downstream_ops *down;
    void *downstream; /* borrowed */
    struct addr client;
    const char *listener;
    struct upstream_binding *binding; /* borrowed: the client connection's */
    struct arena arena;
    struct request request;
    struct response response;
    bool head_read;       /* the request can be shown */
    bool response_sent;   /* whole */
    bool final_head_sent; /* an answer can no longer be replaced by another */

    unsigned interim_count;
    bool client_half_closed; /* it has ended its direction after the request */

    struct resolve_query *query;
    struct auth_query *auth_query; /* the client's credentials are being checked */
    struct str user;               /* whose they were; empty: nobody has asked, or nobody's */
    struct allowed *allowed; /* in the arena, as they were judged; EXCHANGE_MAX_JUDGED at most */
    size_t allowed_count;
    /* In the arena, as many, noted as long as nothing is allowed: valid credentials may open them
     * yet. */
    struct addr *refused;
    size_t refused_count;
    struct policy_verdict
        verdict; /* of the request, then of the address in use or of all that were refused */

    bool origin_started;
    struct origin_net origin;
    struct dial *dial; /* CONNECT */

    struct deadline timer;
    enum exchange_timer timer_kind;
    struct deadline whole;
    struct task grave;

    /* For the log. */
    char id[PROXY_ID_MAX];
    size_t id_len;
    const char *end;       /* first cause; NULL: complete */
    struct str rule;       /* when no verdict made it: proto:*, limit:* */
    struct str would_deny; /* of the address in use */
    unsigned status;
    struct addr upstream;
    bool reused;
    uint64_t start_wall_ms;
    uint64_t start_ms, ask_ms, connect_ms, sent_ms;
    uint32_t took_dns_ms, took_connect_ms, took_wait_ms;
    uint64_t body_in, body_out;
};

static inline const struct snapshot *exchange_snapshot(const struct exchange *x)
{
    return x->tenure->snapshot;
}
static inline const struct conf *exchange_conf(const struct exchange *x)
{
    return x->tenure->snapshot->conf;
}
void exchange_set_state(struct exchange *x, enum exchange_state state);
/* exchange_time.c: the one timer is armed anew for what the states wait for now. */
void exchange_init_timers(struct exchange *x);
void exchange_rearm(struct exchange *x);
/* Ends all work towards the origin. */
void exchange_cancel_work(struct exchange *x);
/* Breaks the response off; end is the log's word for why. */
void exchange_abort(struct exchange *x, const char *end);

/* exchange.c: what policy is asked about, with all that the request says. */
struct policy_facts exchange_facts(const struct exchange *x, enum policy_stage stage);

/* exchange.c: the first walk, and what follows from it. */
void exchange_admit(struct exchange *x);

/* exchange_auth.c: a walk has stopped at a line that asks for credentials. Those that the client
 * has shown are checked, and the walk is gone again; else the answer is 407. */
void exchange_challenge(struct exchange *x, const struct policy_verdict *verdict);

/* exchange_reach.c: asks, judges, dials. */
void exchange_resolve(struct exchange *x);
/* Once the user is known: the addresses that were refused, anew. */
void exchange_judge_again(struct exchange *x);
/* A 101 that was asked for: both sides become a tunnel. */
void exchange_upgrade(struct exchange *x);

/* One of the allowed addresses is in use now: the log tells its rule. */
void exchange_reached(struct exchange *x, const struct addr *addr);

/* exchange_answer.c */
/* The verdict's reports with commas, in the arena; without those for which memory is out. */
struct str exchange_join_reports(struct exchange *x, const struct policy_verdict *verdict);
void exchange_reply(struct exchange *x, enum reply_reason reason, const char *details);
void exchange_reply_denied(struct exchange *x, const struct policy_verdict *verdict);
/* 407 by the rule of the verdict. details may be NULL. */
void exchange_reply_challenge(struct exchange *x, const char *details);
/* With Retry-After; 0: the usual time. */
void exchange_reply_later(struct exchange *x, enum reply_reason reason, uint64_t retry_after_ms);
enum reply_reason exchange_connect_reason(int error);
/* Counts the request, the rule that decided it, and the reports that it passed. */
void exchange_count(struct exchange *x);
/* Fills all fields; strings are borrowed from x. */
void exchange_fill_record(struct exchange *x, const char *end, struct log_record *ret);

/* The events exchange.c gives to its origin. */
extern const struct origin_events exchange_origin_events;
