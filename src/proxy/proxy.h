// SPDX-License-Identifier: MIT
#pragma once

/*
 * What the connections of one worker work with: pools, resolver, the
 * snapshot of configuration and policy, the access log, and the lists they
 * stand in. Built by the worker; this room only uses it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/list.h"
#include "base/str.h"
#include "policy/local_time.h"
#include "proxy/access_log.h"
#include "proxy/roll.h"
#include "proxy/tally.h"
#include "upstream/origin_net.h"
#include "upstream/upstream_pool.h"

struct auth_desk;
struct conf;
struct io;
struct machine;
struct resolver;
struct tenure;

struct proxy {
    struct io *io;             /* borrowed */
    struct resolver *resolver; /* borrowed */
    struct tenure *tenure;     /* borrowed: the snapshot in force, for the next exchange */
    const struct conf *conf;   /* borrowed from it, for what runs longer than an exchange */
    struct access_log access;
    struct upstream_pool pool;
    struct origin_net_options origin;
    struct auth_desk *auth; /* borrowed; NULL: no snapshot has had auth.users yet, and no rule asks
                               for a user */
    const struct machine *machine; /* borrowed: the addresses of this machine */
    struct local_clock clock;      /* for rules that hold at certain times */
    unsigned worker;               /* number of the worker, first part of ids */
    uint64_t next_id;
    uint64_t next_client;       /* numbers client connections, for bindings */
    bool draining;              /* no further request after this one */
    struct list idle_clients;   /* between requests; longest idle first */
    struct list silent_clients; /* have sent nothing yet */
    struct list active_clients;
    struct list hungry_clients; /* a head waits unread until buffer memory is free */
    struct deadline hungry;
    struct list tunnels;
    struct roll roll; /* of all of them */
    struct tally tally;
    /* A client connection, or the tunnel it became, is gone. refused: it was over the limit of its
     * address. */
    void (*client_gone)(void *arg, const struct addr *client, bool refused);
    void *arg;
};

/* Once the fields above it are filled: the lists. */
void proxy_init_lists(struct proxy *proxy);

#define PROXY_ID_MAX 24
/* The next id, unique while this process runs: WORKER-NUMBER in hex. */
struct str proxy_next_id(struct proxy *proxy, char dst[PROXY_ID_MAX]);
/* Closes the keep-alive client that has been idle longest; false when there is none. */
bool proxy_shed_client(struct proxy *proxy);
/* Begins to drain: idle clients are closed, the others after their response; who has sent nothing
 * yet has a second to begin. */
void proxy_drain(struct proxy *proxy);
/* Cuts everything that still runs (end=shutdown). */
void proxy_cut(struct proxy *proxy);
/* No exchange is under way; idle clients and tunnels there may be. */
bool proxy_is_quiet(const struct proxy *proxy);
/* Nothing runs any more. */
bool proxy_is_empty(const struct proxy *proxy);
