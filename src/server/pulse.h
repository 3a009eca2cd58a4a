// SPDX-License-Identifier: MIT
#pragma once

/*
 * What the service manager is told of the daemon's life: that it is ready,
 * that it is well, how much it has to do, that it ends. Well it is as long as
 * every worker gets to what it is mailed: each is pinged, and the manager is
 * told when all have answered. The first such round makes it ready; without a
 * watchdog it is the only one, and nobody wakes for more. Main thread.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "server/notify.h"

struct ping;
struct server;

#define PULSE_STATUS_MAX 160

/* Private to server/. */
struct pulse {
    struct notify notify;
    struct mailbox *mailbox;       /* owned; NULL: nobody is to be told */
    struct mail answered;          /* in flight when all have answered */
    struct ping *pings;            /* owned: one for each worker */
    atomic_size_t missing;         /* workers that have not */
    bool asking;                   /* a round is under way */
    bool ready;                    /* the manager knows */
    struct deadline tick;          /* begins the next round */
    char status[PULSE_STATUS_MAX]; /* as told last */
    uint64_t served;               /* requests, at that time */
    uint64_t told_ms;
};

/* Takes the manager's variables out of the environment; before there are threads. 0, or -ENOMEM or
 * what else an eventfd costs; an unusable NOTIFY_SOCKET is a warning. */
MUST_USE int pulse_init(struct server *s);
void pulse_deinit(struct server *s);
/* All workers have been started: the first round. */
void pulse_begin(struct server *s);
/* The drain begins: it may take until server.drain_delay and server.grace are over, whatever the
 * manager thinks of that. */
void pulse_stop(struct server *s);
