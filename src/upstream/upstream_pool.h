// SPDX-License-Identifier: MIT
#pragma once

/*
 * The idle upstream connections of one worker, shared by all its clients.
 * Most recently used first. It is asked only after policy has judged the
 * addresses: a lease needs the connection's peer to be among those allowed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

struct io;
struct upstream_conn;

struct upstream_pool_options {
    size_t idle_per_host;
    size_t idle_total;
    uint64_t idle_ms; /* 0: nothing is kept */
};

/* The bond between one client connection and upstream connections that an origin has authenticated
 * as a whole (NTLM, Negotiate): they serve that client connection alone. */
struct upstream_binding {
    uint64_t client : 63; /* number of the client connection, from 1 */
    uint64_t used : 1;    /* some connection is bound to it */
};

struct upstream_pool {
    struct io *io; /* borrowed */
    struct upstream_pool_options options;
    struct map hosts;   /* those that some connection leads to, by key */
    struct list by_age; /* longest idle first */
    size_t count;
};

/* Keeps nothing until upstream_pool_set. 0 or negative errno. */
MUST_USE int upstream_pool_init(struct upstream_pool *pool, struct io *io);
/* For what is given from now on; of what is there, the idle connections that are too many now are
 * closed, those idle longest first. */
void upstream_pool_set(struct upstream_pool *pool, const struct upstream_pool_options *options);
/* Closes all idle connections. */
void upstream_pool_deinit(struct upstream_pool *pool);

/* A BUSY connection (owned by the caller) with this key, bound to that client (0: to none), whose
 * peer is one of addrs, last used at most max_age_ms ago, or NULL. careful: look at the socket
 * first, for a request that may not be sent twice. */
MUST_USE struct upstream_conn *upstream_pool_lease(struct upstream_pool *pool, struct str key,
                                                   uint64_t bound_to, const struct addr *addrs,
                                                   size_t addr_count, uint64_t max_age_ms,
                                                   bool careful);
/* Takes a BUSY connection whose exchange is over; closes it when it may not or need not be kept.
 * The key of a connection is always the same. */
void upstream_pool_give(struct upstream_pool *pool, struct str key, struct upstream_conn *conn);
/* Closes the idle connections that are bound to a client that has gone. */
void upstream_pool_unbind(struct upstream_pool *pool, uint64_t client);
/* For upstream_conn.c: the connection is about to be closed or taken. */
void upstream_pool_forget(struct upstream_conn *conn);
/* Closes the connection idle longest; false when there is none. */
bool upstream_pool_shed(struct upstream_pool *pool);
