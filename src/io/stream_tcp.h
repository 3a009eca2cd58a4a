// SPDX-License-Identifier: MIT
#pragma once

/*
 * The stream over a socket (TCP, or a connected unix socket): one
 * edge-triggered registration for the descriptor's whole life.
 */

#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"

struct io;
struct stream;

/* Takes the non-blocking descriptor (closed on failure too), which io's descriptor budget already
 * counts. 0 and *ret (owned), or -ENOMEM. */
MUST_USE int stream_tcp_new(struct io *io, int fd, const struct addr *peer, struct stream **ret);

/* Starts connecting to a TCP address. 0 and *ret, whose writable bit comes up when the attempt has
 * ended: alone when it came about, else with the readable bit (then ask stream_error); -EMFILE when
 * the descriptor budget is spent; negative errno of socket(2) or connect(2). keepalive_ms as
 * server.tcp_keepalive. */
MUST_USE int stream_tcp_connect(struct io *io, const struct addr *to, uint64_t keepalive_ms,
                                struct stream **ret);

/* Options of every client socket; set on the listener, inherited by what it accepts. */
void stream_tcp_tune(int fd, uint64_t keepalive_ms);
