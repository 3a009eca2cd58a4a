// SPDX-License-Identifier: MIT
#pragma once

/*
 * The connections of all workers, for somebody on a thread of its own: listed
 * as plain values, judged by the policy in force now, and killed. Workers are
 * asked one after the other, by mail, for a portion at a time, and the next
 * one only when whoever asks has done with the last: so a listing takes the
 * same memory however many connections there are and however slowly it is
 * read, and a worker never spends more of a turn on it than a portion costs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "proxy/census.h"

struct connections;
struct loop;
struct workshop;

/* At most so many in one portion. */
#define CONNECTIONS_PORTION 256
/* Longer texts are cut, and end in "..." then. */
#define CONNECTIONS_TEXT_MAX ((size_t)256)
#define CONNECTIONS_TARGET_MAX ((size_t)1024)

/* What does not apply is empty, 0 or ADDR_NONE. Views live until the next portion is asked for. */
struct connections_row {
    enum census_kind kind;
    struct str id;
    struct addr client;
    struct str user;
    struct str listener;
    struct str method;
    struct str target;
    struct str rule;
    struct addr upstream;
    uint64_t bytes_in; /* of the client's side */
    uint64_t bytes_out;
    uint64_t age_ms; /* of an idle one: for how long it has been idle */
    uint64_t generation;
    struct str
        would_deny; /* the rule that would refuse it now; with connections_query.would_deny */
};

struct connections_query {
    bool would_deny; /* those alone that the policy in force now would refuse */
    bool kill;       /* end what is listed (end=killed) */
};

/* Called on the loop of whoever asks, never before the call that leads to it has returned. */
struct connections_events {
    /* Some more (maybe none). The next ones come after connections_more. */
    void (*rows)(void *arg, const struct connections_row *rows, size_t count);
    void (*end)(void *arg); /* the listing is over, and freed */
};

/* For loop, whose thread alone calls all that follows. shop: borrowed. There must be no other of
 * the same workers. 0 or negative errno. */
MUST_USE int connections_new(struct loop *loop, const struct workshop *shop,
                             struct connections **ret);
/* Once all workers have ended, and what was begun here is over or cancelled. NULL is accepted. */
void connections_free(struct connections *connections);

struct connections_listing;
/* -EBUSY: another one is not over yet; -ENOMEM. The first rows come by themselves. */
MUST_USE int connections_list(struct connections *connections,
                              const struct connections_query *query,
                              const struct connections_events *events, void *arg,
                              struct connections_listing **ret);
void connections_more(struct connections_listing *listing);
/* Nothing is called any more. */
void connections_cancel(struct connections_listing *listing);

struct connections_search;
/* Kills the connection of that id, and calls done, once: found tells whether there was one. 0 or
 * -ENOMEM. */
MUST_USE int connections_kill(struct connections *connections, struct str id,
                              void (*done)(void *arg, bool found), void *arg,
                              struct connections_search **ret);
/* done is not called any more; it may be killed all the same. */
void connections_cancel_kill(struct connections_search *search);
