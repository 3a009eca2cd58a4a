// SPDX-License-Identifier: MIT
#pragma once

/*
 * Connecting to one of several addresses, as RFC 8305 wants it: addresses
 * are offered as they become known, families take turns, a further attempt
 * starts when the last one failed or has gone on for 250 ms, and the first
 * connection wins. Only what is offered is ever dialled.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"

struct io;
struct stream;
struct dial;

#define DIAL_MAX_ADDRS 32

struct dial_events {
    /* The winner; stream is given. The dial is gone when this returns. */
    void (*connected)(void *arg, struct stream *stream);
    /* Every address has failed and no more will be offered. error: negative errno of the most
     * telling attempt; at: its address. The dial is gone when this returns. */
    void (*failed)(void *arg, int error, const struct addr *at);
};

/* events static; neither event is called before the first turn of the loop. */
MUST_USE int dial_new(struct io *io, uint64_t keepalive_ms, const struct dial_events *events,
                      void *arg, struct dial **ret);
/* One more address, port included; beyond DIAL_MAX_ADDRS they are left out. */
void dial_offer(struct dial *dial, const struct addr *addr);
/* No more addresses will come. */
void dial_offer_end(struct dial *dial);
/* The address of the attempt that started last, for the log; ADDR_NONE before the first. */
const struct addr *dial_last(const struct dial *dial);
/* Ends all attempts; no event is called. NULL is accepted. */
void dial_cancel(struct dial *dial);
