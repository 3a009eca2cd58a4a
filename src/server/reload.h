// SPDX-License-Identifier: MIT
#pragma once

/*
 * A new configuration while the old one serves: read and compiled on a
 * thread of its own, so that signals, watchdog and admin stay live; put in
 * force by the main thread as a whole, or not at all; and over when every
 * worker goes by it. One at a time; who asks meanwhile waits for the next.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/aside.h"
#include "base/list.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "server/reload_progress.h"
#include "server/sockets.h"

struct server;
struct snapshot;

enum reload_result {
    RELOAD_DONE,    /* every worker goes by it */
    RELOAD_REFUSED, /* the configuration is wrong: the old one stays */
    RELOAD_FAILED,  /* it could not be tried: memory, a thread */
    RELOAD_IGNORED, /* the daemon drains */
};

/* Valid for the call. */
struct reload_outcome {
    enum reload_result result;
    const struct conf_messages *messages; /* errors and warnings; NULL: none */
    uint64_t generation;                  /* in force now */
    size_t changes;                       /* keys and rules; RELOAD_DONE */
    bool needs_restart;                   /* some of them wait for a restart */
};

/* Somebody who waits for the outcome. Embedded, unless it is for nobody. */
struct reload_request {
    struct list node;
    /* On the main thread, once; the request may be freed. */
    void (*done)(struct reload_request *request, const struct reload_outcome *outcome);
};

enum reload_phase {
    RELOAD_IDLE,
    RELOAD_LOADING,    /* read and compiled, aside */
    RELOAD_PREPARING,  /* workers get ready for it */
    RELOAD_UNDOING,    /* some could not: they drop it */
    RELOAD_INSTALLING, /* it is in force: workers change over */
    RELOAD_CLOSED,
};

/* Private to server/. */
struct reload {
    enum reload_phase phase;
    bool again;          /* somebody has asked since it began */
    struct task next;    /* begins the one that was asked for meanwhile */
    struct list served;  /* requests that this one answers */
    struct list waiting; /* for the next one */
    struct reload_progress progress;
    struct deadline slow;    /* it takes long */
    struct mailbox *mailbox; /* owned: loaded, then installed */
    struct aside_task load;
    struct mail loaded_mail;
    struct mail acked_mail;    /* all workers have done their part of the phase */
    int error;                 /* of snapshot_load, or of what came after */
    struct snapshot *loaded;   /* owned until it is in force */
    struct snapshot *replaced; /* shared ref: in force until INSTALLING */
    struct aside_task drop;
    struct snapshot *dropped; /* shared ref, for drop; the next load comes after it */
    struct conf_messages messages;
    struct socket_plan plan;
    struct admin_view *view; /* owned until it is shown; NULL: there is no admin socket */
    atomic_size_t missing;   /* workers, and admin, that have not done their part yet */
    size_t changes;
    bool needs_restart;
};

/* 0 or negative errno. */
int reload_init(struct server *s);
/* Once no worker runs any more: waits a little for the work aside, and answers who waits. False: it
 * does not end, and the log says so; what the server has is still in use then. */
MUST_USE bool reload_deinit(struct server *s);
/* On the main thread: begins, or has it begin once the present one is over. request may be NULL;
 * why says who asks ("HUP"), for the log. */
void reload_ask(struct server *s, const char *why, struct reload_request *request);
/* For struct workshop and admin_listen: one of them has done its part. */
void reload_worker_changed(void *arg);
