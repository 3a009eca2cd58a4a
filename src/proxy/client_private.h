// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of a client connection, shared by client_h1.c (states, reading),
 * client_write.c (responses onto the wire) and client_refuse.c (what a head
 * that cannot be served is answered with).
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/list.h"
#include "http/h1_parse.h"
#include "http/message.h"
#include "http/reply.h"
#include "io/loop.h"
#include "io/outq.h"
#include "upstream/upstream_pool.h"

struct conf_listener;
struct exchange;
struct proxy;
struct stream;

enum client_state {
    CLIENT_IDLE,   /* between requests, no exchange */
    CLIENT_HEAD,   /* the first byte of a head is here */
    CLIENT_ACTIVE, /* an exchange runs */
    CLIENT_DRAIN,  /* the response has left; the rest of the request's body is read and thrown away
                    */
    CLIENT_LINGER, /* our side is shut; read until the client ends too (RFC 9112 9.6) */
    CLIENT_DETACHED, /* the stream belongs to a tunnel */
    CLIENT_CLOSED,
};

struct client {
    enum client_state state;
    struct proxy *proxy;
    struct stream *stream; /* owned */
    struct outq out;
    struct buf in;            /* read, not yet taken by the parser */
    struct h1_parser *parser; /* owned, as long as an exchange runs */
    struct exchange *x;       /* owned from HEAD to the end of ACTIVE or DRAIN */
    const struct conf_listener *listener;
    struct addr peer;
    struct upstream_binding binding;
    struct deadline deadline;
    struct task task;
    struct list node;   /* in the proxy's idle or active clients */
    struct list hungry; /* in the proxy's hungry clients: a head waits unread for buffer memory */
    struct corpse corpse;
    uint64_t served;         /* requests answered */
    uint64_t bytes_in;       /* of this exchange */
    uint64_t written_before; /* out.written_bytes at its start */
    uint64_t drained_bytes;
    enum body_kind framing; /* of the response being written */
    bool refused;           /* answer 429 and close */
    bool no_content;        /* the request has no body to wait for */
    bool request_read;      /* the parser has seen the request's end */
    bool input_ended;       /* the client has shut its side */
    bool input_broken;      /* the parser takes nothing more */
    bool close_after;       /* the connection ends with this response */
    bool aborted;           /* the response broke off */
    bool was_blocked;       /* the exchange must hear when the queue is empty */
};

void client_drive(struct client *c);
/* Whatever ran for the client ends now, with that end value (NULL: what the exchange knows). */
void client_end(struct client *c, const char *end, bool reset);

/* Looks again at the clients whose heads wait for memory. */
void client_feed_hungry(struct proxy *proxy);
/* After the stream and both buffers were given to a tunnel. */
void client_detached(struct client *c);

extern const struct downstream_ops client_downstream_ops;

/* The answer to a head or body the parser refused. */
enum reply_reason client_reason_of(enum h1_error error);
/* The answer to enum target_error (or -ENOMEM). */
enum reply_reason client_reason_of_target(int error);
