// SPDX-License-Identifier: MIT
#pragma once

/*
 * One request and its response, from the parsed head to the log line:
 * admission, names, the way to the origin, forwarding, answers of our own,
 * and the step into a tunnel. The client's side drives it through the
 * functions here and is driven through downstream_ops.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/str.h"
#include "http/message.h"
#include "http/reply.h"

struct census_item;
struct downstream_ops;
struct exchange;
struct field_list;
struct proxy;
struct stream;
struct upstream_binding;

enum exchange_state {
    EXCHANGE_HEAD,    /* the client's side is still reading the head */
    EXCHANGE_ADMIT,   /* judged before names are resolved */
    EXCHANGE_RESOLVE, /* addresses are asked for and judged */
    EXCHANGE_CONNECT, /* an allowed address is dialled */
    EXCHANGE_FORWARD, /* a connection carries the request */
    EXCHANGE_REPLY,   /* an answer of our own is being written */
    EXCHANGE_TUNNEL,  /* handed over */
    EXCHANGE_DONE,
};

enum request_half { REQUEST_NONE, REQUEST_BODY, REQUEST_ENDED, REQUEST_ABORTED };
enum response_half {
    RESPONSE_WAIT,
    RESPONSE_INTERIM,
    RESPONSE_BODY,
    RESPONSE_ENDED,
    RESPONSE_ABORTED
};

/* Begins with the first byte of a head, on the snapshot that is in force then. listener (its name),
 * binding: borrowed, outlive the exchange. NULL: memory is out. */
MUST_USE struct exchange *exchange_new(struct proxy *proxy, const struct addr *client,
                                       const char *listener, struct upstream_binding *binding,
                                       const struct downstream_ops *ops, void *downstream);
/* For the parser: what it fills, and where its strings go. */
struct request *exchange_request(struct exchange *x);
struct arena *exchange_arena(struct exchange *x);

/* The head is complete; no_content: so is the request. May answer, and even end the response,
 * before it returns. */
void exchange_start(struct exchange *x, bool no_content);
/* The request is not served: answered here, connection closed after it. details may be NULL;
 * head_read: all of the head could be read. */
void exchange_reject(struct exchange *x, enum reply_reason reason, const char *details,
                     bool head_read);
/* The request's body. Only while exchange_wants_body. data is borrowed until the next io_scratch.
 */
void exchange_body(struct exchange *x, struct str data);
/* The same from a stream in which it waits, as outq_splice; max: what is left of a body whose
 * length was told. */
ssize_t exchange_splice_body(struct exchange *x, struct stream *from, uint64_t max);
void exchange_body_end(struct exchange *x, struct field_list *trailers);
/* The body's framing broke (answered 400 if that is still possible). */
void exchange_body_broken(struct exchange *x, enum reply_reason reason, const char *details);
bool exchange_wants_body(const struct exchange *x);
/* The client still waits for a 100 before it sends the body: it may never send it now. */
bool exchange_awaits_continue(const struct exchange *x);
/* Nothing of the response waits for the client any more. */
void exchange_drained(struct exchange *x);
/* The whole response has left while the request's body still comes: what is left of it is the
 * client side's to read and to time. */
void exchange_response_sent(struct exchange *x);
/* Bytes moved on the client's side. */
void exchange_moved(struct exchange *x);
/* The client has ended its direction after a complete request. */
void exchange_client_half_closed(struct exchange *x);

/* The response has left, or the client has: writes the log line and frees. end: NULL for what the
 * exchange itself knows ("complete", "denied", ...), else what ended it ("client-closed",
 * "shutdown", "timeout:header"). */
void exchange_finish(struct exchange *x, const char *end);
/* The same without a line: the client has sent nothing of a request. */
void exchange_forget(struct exchange *x);

/* What Via calls this instance; empty: nothing (server.via). */
struct str exchange_via_name(const struct exchange *x);
bool exchange_response_over(const struct exchange *x); /* ended or aborted */
/* For whoever asks what runs: fills all that applies. */
void exchange_see(const struct exchange *x, struct census_item *ret);
