// SPDX-License-Identifier: MIT
#pragma once

/*
 * What runs on a worker, for whoever asks: each client connection and tunnel
 * as plain values, whether the policy in force now would still let it
 * through, and its end by hand. On the worker's own thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "proxy/proxy.h"

struct auth_wait;
struct roll_entry;

enum census_kind {
    CENSUS_IDLE,    /* between requests, before the first, or closing after the last */
    CENSUS_REQUEST, /* an exchange runs */
    CENSUS_TUNNEL,
};

/* Views are borrowed until control returns to the loop. What does not apply is empty, 0 or
 * ADDR_NONE. */
struct census_item {
    struct roll_entry *entry;
    enum census_kind kind;
    char number[PROXY_ID_MAX]; /* of an idle connection: what id views */
    struct str id; /* of the log; of an idle connection WORKER-iNUMBER, as none of the log is */
    struct addr client;
    struct str user;
    struct str listener;
    struct str method;
    struct str target;
    struct str rule;
    struct addr upstream; /* the address in use */
    uint64_t bytes_in;    /* of the client's side, heads included, so far */
    uint64_t bytes_out;
    uint64_t since_ms;      /* loop time of its beginning; of an idle one: of its idleness */
    uint64_t start_wall_ms; /* 0: idle */
    uint64_t generation;    /* of the snapshot that an exchange runs on */
    bool is_admitted;       /* by the policy of then, and not over yet */
};

/* One walk at a time: whoever is there from its beginning to its end is met once. */
void census_begin(struct proxy *proxy);
/* False: all have been met. */
MUST_USE bool census_next(struct proxy *proxy, struct census_item *ret);

/* Before a walk that asks census_would_deny. True: the users file is being looked at or read, and
 * wait is told once that is over (auth_desk_must_wait). */
MUST_USE bool census_must_wait(struct proxy *proxy, struct auth_wait *wait);
/* Whether a request that was let through would be refused now: by the policy in force, for the
 * address in use, with the facts of then (but a user who is no longer in the users file is nobody).
 * *ret_rule, the line's name, lives as long as that policy. */
MUST_USE bool census_would_deny(struct proxy *proxy, const struct census_item *item,
                                struct str *ret_rule);

/* Ends it (end=killed), so that neither side takes what it has for the whole. */
void census_kill(struct proxy *proxy, const struct census_item *item);

enum census_found { CENSUS_FOUND, CENSUS_ABSENT, CENSUS_LOOK_ON };
/* Kills whoever has that id. Looks at max of them at most; *at (SIZE_MAX at first) is where to look
 * on. */
MUST_USE enum census_found census_kill_id(struct proxy *proxy, struct str id, size_t *at,
                                          size_t max);
