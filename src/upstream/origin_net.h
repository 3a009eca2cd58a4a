// SPDX-License-Identifier: MIT
#pragma once

/*
 * The origin over the network: a pooled connection if one serves, else a new
 * one; writes the request, reads the response, and sends the request again
 * when a pooled connection turned out to be dead and RFC 9110 9.2.2 allows
 * it.
 */

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "http/h1_parse.h"
#include "io/loop.h"
#include "upstream/origin.h"

struct dial;
struct io;
struct upstream_conn;
struct upstream_binding;
struct upstream_pool;

struct origin_net_options {
    struct io *io;
    struct upstream_pool *pool;
    struct h1_limits limits;
    uint64_t keepalive_ms;
};

enum origin_net_state {
    ORIGIN_NET_NEW,
    ORIGIN_NET_DIALLING,
    ORIGIN_NET_BUSY, /* a connection is leased */
    ORIGIN_NET_DONE,
};

#define ORIGIN_NET_ADDRS 32

struct origin_net {
    const struct origin_net_options *options; /* borrowed */
    const struct origin_events *events;
    void *arg;
    struct arena *arena;              /* borrowed: the exchange's */
    struct upstream_binding *binding; /* borrowed: the client connection's */
    const struct request *request;    /* borrowed, already prepared for going on */
    struct response *response;        /* borrowed: filled here */
    struct str key;                   /* the Host field sent: names target and port */
    enum origin_net_state state;
    struct addr *addrs; /* offered, in the arena; ORIGIN_NET_ADDRS at most */
    size_t addr_count;
    bool offers_ended;
    struct dial *dial;          /* owned while DIALLING */
    struct upstream_conn *conn; /* owned while BUSY */
    struct str head;            /* of the request, as written */
    struct addr failed_at;      /* after ORIGIN_CONNECT: where the most telling attempt went */
    bool body_begun;
    bool request_ended;
    bool interim_seen;
    bool response_begun;
    bool paused;
    struct str surplus; /* behind a 101's head, in the scratch */
    bool no_pool;       /* a pooled connection has failed: no second try with another */
    struct task step;
};

/* origin is embedded; nothing is sent before the first offer. All pointers are borrowed until
 * cancel, the end or the failure. 0 or -ENOMEM. */
MUST_USE int origin_net_start(struct origin_net *origin, const struct origin_net_options *options,
                              struct arena *arena, struct upstream_binding *binding,
                              const struct request *request, struct response *response,
                              const struct origin_events *events, void *arg);
extern const struct origin_ops origin_net_ops;
