// SPDX-License-Identifier: MIT
#pragma once

/*
 * One HTTP/1.1 connection to an origin: stream, output and response parser.
 * BUSY it belongs to whoever leased it, IDLE to the pool; poisoned (surplus
 * bytes, a framing error, a body ended by close, an abort) it never becomes
 * idle again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"
#include "io/loop.h"
#include "io/outq.h"

struct h1_parser;
struct io;
struct stream;
struct upstream_host;
struct upstream_pool;

enum upstream_state { UPSTREAM_BUSY, UPSTREAM_IDLE, UPSTREAM_CLOSED } SMALL;

/* Three cache lines: what a turn of an exchange needs, the rest of it, and what neighbours in the
 * pool touch. */
struct upstream_conn {
    struct io *io;
    struct stream *stream; /* owned; NULL once closed or taken */
    struct outq out;
    struct h1_parser *parser; /* owned while BUSY with a request, else NULL */

    /* For the lease: the owner of a BUSY connection is called when its stream is ready. */
    void (*on_ready)(void *owner);
    void *owner;
    uint64_t bound_to;      /* the only client connection it may serve; 0: any */
    uint64_t idle_limit_ms; /* what the origin's Keep-Alive allows; UINT64_MAX: it said nothing */
    uint64_t last_used_ms;
    uint64_t given_in_turn;     /* of the loop: when it became idle */
    struct upstream_host *host; /* shared ref: where it leads to; NULL before it was idle once */
    enum upstream_state state;
    bool poisoned;
    bool reused; /* has carried an exchange before this one */

    struct list of_host;
    struct list by_age;
    union {
        struct deadline expiry;
        struct task grave; /* once CLOSED */
    };
};

/* Takes a connected stream; 0 and *ret (owned, BUSY), or -ENOMEM with the stream closed. */
MUST_USE int upstream_conn_new(struct io *io, struct stream *stream, struct upstream_conn **ret);
/* Closes now, frees later. In any state; out of the pool first. NULL is accepted. */
void upstream_conn_close(struct upstream_conn *conn, bool reset);
/* Gives the stream away (to a tunnel) and ends the connection object. */
MUST_USE struct stream *upstream_conn_take_stream(struct upstream_conn *conn);
/* Sets who is called when the stream is ready; NULL owner: nobody. */
void upstream_conn_own(struct upstream_conn *conn, void *owner, void (*on_ready)(void *owner));
