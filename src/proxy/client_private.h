// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of a client connection, shared by client_h1.c (states, and how a
 * connection ends), client_read.c (requests off the wire), client_write.c
 * (responses onto the wire), client_splice.c (bulk) and client_refuse.c (what a
 * head that cannot be served is answered with).
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/list.h"
#include "http/h1_parse.h"
#include "http/message.h"
#include "http/reply.h"
#include "io/loop.h"
#include "io/outq.h"
#include "io/stream.h"
#include "proxy/roll.h"
#include "upstream/upstream_pool.h"

struct exchange;
struct proxy;

enum client_state {
    CLIENT_IDLE,   /* between requests, no exchange */
    CLIENT_HEAD,   /* the first byte of a head is here */
    CLIENT_ACTIVE, /* an exchange runs */
    CLIENT_DRAIN,  /* the response has left; the rest of the request's body is read and thrown away
                    */
    CLIENT_LINGER, /* our side is shut; read until the client ends too (RFC 9112 9.6) */
    CLIENT_DETACHED, /* the stream belongs to a tunnel */
    CLIENT_CLOSED,
} SMALL;

/* How far the request has come in. */
enum client_input {
    INPUT_HEAD,   /* its head, or nothing yet */
    INPUT_BODY,   /* content follows */
    INPUT_WHOLE,  /* all of it; what comes now belongs to the next one */
    INPUT_BROKEN, /* it cannot be read on: the parser takes nothing more, ever */
} SMALL;

/* What the response says of the connection. */
enum client_answer {
    ANSWER_NONE, /* no final head has left */
    ANSWER_KEEPS,
    ANSWER_CLOSES,  /* it is the last */
    ANSWER_ABORTED, /* it broke off and must look so */
} SMALL;

/* Three cache lines, the last of them what neighbours in lists touch; thousands may be idle. */
struct client {
    struct proxy *proxy;
    struct stream *stream; /* owned */
    struct outq out;
    struct buf in; /* read, not yet taken by the parser */

    struct h1_parser *parser; /* owned, as long as an exchange runs */
    struct exchange *x;       /* owned from HEAD to the end of ACTIVE or DRAIN */
    const char *listener;
    struct upstream_binding binding;
    struct task task;
    union {
        uint64_t bytes_in; /* of this exchange; out.written_bytes are, too */
        uint64_t idle_ms;  /* while there is none: since when, as loop_now_ms */
    };

    struct list node; /* in one of the proxy's lists of clients */
    struct deadline deadline;
    uint32_t drained_bytes; /* of an unwanted body */
    struct roll_entry entry;
    enum client_state state;
    enum client_input input;
    enum client_answer answer;
    enum body_kind framing; /* of the response being written */
    bool refused : 1;       /* answer 429 and close */
    bool hungry : 1;        /* IDLE, and a head waits unread for buffer memory */
    bool has_served : 1;    /* a request was answered */
    bool ended : 1;         /* the client has shut its side: what is left of it is in the buffer */
    bool was_blocked : 1;   /* the exchange must hear when the queue is empty */
};

/* client_h1.c */
static inline bool client_is_alive(const struct client *c)
{
    return c->state != CLIENT_CLOSED && c->state != CLIENT_DETACHED;
}
void client_set_state(struct client *c, enum client_state state);
void client_drive(struct client *c);
/* Closes at once; reset shows the peer that it has not everything. What ran must have ended. */
void client_close(struct client *c, bool reset);
/* Whatever ran for the client ends now, with that end value (NULL: what the exchange knows). */
void client_end(struct client *c, const char *end, bool reset);
/* The drain begins: the clients that have sent nothing yet have less time to do so. */
void client_hurry_silent(struct proxy *proxy);

/* client_splice.c: bulk of bodies, past parser and read buffer. */
/* What the client sends of a request's body; as outq_splice. */
ssize_t client_splice_input(struct client *c);
/* For client_downstream_ops. */
ssize_t client_splice_body(void *downstream, struct stream *from, uint64_t max);

/* After the stream and both buffers were given to a tunnel. */
void client_detached(struct client *c);

/* client_read.c. Those that return bool tell whether there may be more to do. */
void client_set_input(struct client *c, enum client_input input);
/* False when memory is out, and the client closed. */
bool client_begin_exchange(struct client *c);
/* The head is not read on: it is answered so, and the connection ends. details may be NULL. */
void client_refuse_head(struct client *c, enum reply_reason reason, const char *details);
/* Takes what waits in the buffer. */
bool client_feed_waiting(struct client *c);
/* The client has ended its side within a request, and the buffer has no more of it: so ends the
 * client. False when it has not. */
bool client_end_if_cut_short(struct client *c);
/* Input is wanted, or the client may yet tell that it is leaving. */
bool client_may_read(const struct client *c);
/* One read of the stream, and what comes of it. */
bool client_read(struct client *c);
/* Something has come that no request has taken yet. */
static inline bool client_has_input(const struct client *c)
{
    return buf_len(&c->in) > 0 || c->stream->readable;
}
/* Looks again at the clients whose heads wait for memory. */
void client_feed_hungry(struct proxy *proxy);

/* client_write.c */
void client_set_answer(struct client *c, enum client_answer answer);
extern const struct downstream_ops client_downstream_ops;

/* The answer to a head or body the parser refused. */
enum reply_reason client_reason_of(enum h1_error error);
/* The answer to enum target_error (or -ENOMEM). */
enum reply_reason client_reason_of_target(int error);
