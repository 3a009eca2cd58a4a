// SPDX-License-Identifier: MIT
#pragma once

/*
 * The seam between an exchange and where its response comes from. The
 * exchange starts it with a request, feeds the body, and gets events; whether
 * a pooled connection, a new one or something else answers is not its
 * business.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/str.h"
#include "http/message.h"

struct field_list;
struct stream;

/* Why there is no (more) response. */
enum origin_failure {
    ORIGIN_CONNECT,   /* no address could be connected: see error */
    ORIGIN_CLOSED,    /* closed or reset before a response head was complete */
    ORIGIN_MALFORMED, /* the response could not be read */
    ORIGIN_HEAD_TOO_LARGE,
    ORIGIN_NO_MEMORY,
    ORIGIN_TRUNCATION, /* the body was cut short; the head is out already */
    ORIGIN_BAD_BODY,   /* so was its framing broken */
};

struct origin_events {
    /* The request's head is on its way: body may follow. peer: the address in use. */
    void (*connected)(void *arg, const struct addr *peer, bool reused);
    /* response is borrowed until the next event; interim ones come any number of times. */
    void (*interim)(void *arg, struct response *response);
    void (*head)(void *arg, struct response *response);
    /* data is borrowed until the next io_scratch. */
    void (*body)(void *arg, struct str data);
    /* Body bytes wait in the stream, max of them to come: takes some past the origin, as
     * outq_splice. */
    ssize_t (*splice_body)(void *arg, struct stream *from, uint64_t max);
    void (*end)(void *arg, struct field_list *trailers);
    /* Nothing follows. error: negative errno for ORIGIN_CONNECT; text: one sentence, may be NULL.
     */
    void (*failed)(void *arg, enum origin_failure failure, int error, const char *text);
    /* What was queued of the request body has been written: more is wanted. */
    void (*drained)(void *arg);
    /* Asked before more of the response is read: false leaves it unread until resume. */
    bool (*wants_more)(void *arg);
    /* Bytes moved in either direction. */
    void (*moved)(void *arg);
};

struct origin_ops {
    /* One more address that may be used, port included; the first one after start begins the work.
     */
    void (*offer)(void *origin, const struct addr *addr);
    void (*offer_end)(void *origin);
    void (*send_body)(void *origin, struct str data);
    /* The same from a stream in which it waits, as outq_splice; max: what is left of the body. */
    ssize_t (*splice_body)(void *origin, struct stream *from, uint64_t max);
    void (*end_body)(void *origin, struct field_list *trailers);
    /* Part of the body still waits to be written: the source should pause until drained. */
    bool (*is_blocked)(void *origin);
    /* wants_more would be true again. */
    void (*resume)(void *origin);
    /* Inside the head event of a 101: gives the connection away; *ret_surplus views what had been
     * read behind the head, borrowed until the next io_scratch. */
    struct stream *(*take_stream)(void *origin, struct str *ret_surplus);
    void (*cancel)(void *origin);
};
