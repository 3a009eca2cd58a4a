// SPDX-License-Identifier: MIT
#pragma once

/*
 * The seam towards the client: what any wire version of HTTP must offer to an
 * exchange. The exchange drives it and never asks which version the client
 * speaks.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"
#include "http/message.h"
#include "proxy/roll.h"

struct field_list;
struct stream;

enum downstream_head {
    DOWNSTREAM_FORWARDED, /* of an origin: hop-by-hop fields still stand in it */
    DOWNSTREAM_OWN,    /* an answer of ours, complete; the connection ends after it if it says so */
    DOWNSTREAM_TUNNEL, /* 200 to CONNECT, or 101: what follows is no HTTP */
};

/* A client's stream handed to a tunnel, with what is still on the way. */
struct downstream_detached {
    struct stream *stream;  /* given */
    struct buf from_client; /* given: read, not yet passed on */
    struct buf to_client;   /* given: to be written first */
    uint64_t bytes_in;      /* of this exchange so far */
    uint64_t bytes_out;
    struct roll_entry entry; /* given: its place on the roll, which stays as it is meanwhile */
};

struct downstream_ops {
    /* Interim heads come any number of times, then one final head. 0 or -ENOMEM. */
    MUST_USE int (*send_head)(void *downstream, struct response *response,
                              enum downstream_head kind);
    void (*send_body)(void *downstream, struct str data);
    /* The same from a stream in which it waits, as outq_splice; max: what is left of the body, or
     * UINT64_MAX. */
    ssize_t (*splice_body)(void *downstream, struct stream *from, uint64_t max);
    /* The response is complete. */
    void (*end)(void *downstream, struct field_list *trailers);
    /* The response breaks off and must look so. */
    void (*abort)(void *downstream);
    /* The exchange has become able to take the request's body, or more of it. */
    void (*body_wanted)(void *downstream);
    /* Bytes wait for the client to read: the source should pause until exchange_drained. */
    bool (*is_blocked)(void *downstream);
    /* 0, or negative errno when the head could not be kept (nothing is given then). */
    MUST_USE int (*detach)(void *downstream, struct downstream_detached *ret);
    /* The client has sent more than this request. */
    bool (*has_input_ahead)(void *downstream);
    /* Bytes of this exchange read from and written to the client so far, heads included. */
    void (*count)(void *downstream, uint64_t *ret_in, uint64_t *ret_out);
};
