// SPDX-License-Identifier: MIT
#pragma once

/*
 * A channel of the DNS library: which servers it asks, how patiently, and its
 * sockets on the loop. What is asked by it, and how often, its owner counts.
 * Private to dns_cares.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/list.h"
#include "resolve/dns_answer.h"

struct ares_channeldata;
struct dns_cares;
struct dns_channel;
struct loop;

struct dns_channel_options {
    struct loop *loop;          /* borrowed */
    const struct addr *servers; /* borrowed for the call; 1 or more; port 0 means 53 */
    size_t server_count;
    uint64_t timeout_ms; /* tries are spread so that every server has been asked well before */
    bool asks_next;      /* after a server that failed or refused the next one is asked */
    /* From the loop, when the library has looked at a socket; may free the channel. */
    void (*processed)(struct dns_channel *channel);
};

struct dns_channel {
    /* The owner's. */
    struct list node;
    struct dns_cares *dns;
    struct list questions; /* in flight and without an answer */
    size_t awaited;        /* of these: not dropped */
    size_t in_flight;

    struct loop *loop;
    void (*processed)(struct dns_channel *channel);
    struct ares_channeldata *ares; /* owned: an ares_channel */
    uint64_t timeout_ms;
    bool asks_next;
    bool deaf; /* some socket is not watched for want of memory: every tick looks at it */
    struct list sockets;
    size_t server_count;
    struct addr servers[];
};

/* As the library calls it: from inside dns_channel_ask, _renew, _free, _tick or the loop. */
typedef void dns_channel_answer_fn(void *arg, int status, int timeouts, unsigned char *reply,
                                   int len);

/* 0 or negative errno. */
MUST_USE int dns_channel_new(const struct dns_channel_options *options, struct dns_channel **ret);
/* Ends all questions with ARES_EDESTRUCTION; off its list, if it stands in one. */
void dns_channel_free(struct dns_channel *channel);
/* Ends all questions, and is as new. */
void dns_channel_renew(struct dns_channel *channel);
void dns_channel_ask(struct dns_channel *channel, const char *name, enum dns_family family,
                     dns_channel_answer_fn *answer, void *arg);
/* The library may look at its clock: every 50 ms or so while a question is open. */
void dns_channel_tick(struct dns_channel *channel);
