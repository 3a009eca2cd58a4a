// SPDX-License-Identifier: MIT
#pragma once

/*
 * One event-loop thread with all it owns: loop, pools, resolver, upstream
 * pool, clients and tunnels. Workers share nothing on the way of a request;
 * other threads reach one only by poking it.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"
#include "io/io.h"
#include "io/mailbox.h"
#include "server/sockets.h"

struct auth;
struct crowd;
struct log_writer;
struct proxy;
struct snapshot;
struct tally;
struct tenure;
struct worker;

/* What all workers share. */
struct workshop {
    struct log_writer *writer; /* borrowed */
    struct crowd *crowd;       /* borrowed */
    struct buf_budget buffers;
    struct fd_budget fds;
    _Atomic int64_t clients; /* connections of all workers */
    _Atomic int64_t max_clients;
    _Atomic unsigned paused; /* workers whose listeners wait for room */
    _Atomic size_t drained;  /* workers that have stopped listening */
    struct worker **workers; /* owned */
    size_t worker_count;
    /* These are called on a worker's thread. It has ended. */
    void (*ended)(void *arg);
    /* The last one has stopped listening: it drains. */
    void (*all_drained)(void *arg);
    /* It has done what worker_prepare, or worker_decide, asked for. */
    void (*changed)(void *arg);
    _Atomic int change_error; /* of preparing, negative errno: some worker could not */
    void *arg;
};

/* What a worker is to go by from now on, whole: at its start, and after each reload. All that can
 * fail is done first, by worker_prepare; then worker_decide puts it in force, or drops it. */
struct worker_change {
    struct tenure *tenure; /* given, with one use */
    struct auth *auth;     /* borrowed; NULL: no users file yet */
    size_t door_count;
    struct socket_door doors[]; /* where it listens */
};

/* What a worker can be asked for; bits, may be combined. */
enum worker_request {
    WORKER_SHED = 1,     /* close something idle: another worker is short */
    WORKER_ROOM = 2,     /* there is room again: listen */
    WORKER_DRAIN = 4,    /* no new clients, end when the last one has gone */
    WORKER_CUT = 8,      /* end now */
    WORKER_PREPARE = 16, /* worker_prepare asks for it */
    WORKER_COMMIT = 32,  /* worker_decide, as this */
    WORKER_ABANDON = 64,
};

/* Builds worker number index (from 0); its thread does not run yet. change: is given, also
 * where this fails. 0, or negative errno with *ret half built, for worker_join. */
MUST_USE int worker_new(struct workshop *shop, size_t index, struct worker_change *change,
                        struct worker **ret);
/* From the main thread: change, from mem_alloc, is given, and shop->changed tells when all is ready
 * for it, or has failed (shop->change_error). Then worker_decide is due, in both cases. */
void worker_prepare(struct worker *worker, struct worker_change *change);
/* From the main thread: the worker goes by it, or by what it went by before; shop->changed tells
 * when. commit: no worker has failed. */
void worker_decide(struct worker *worker, bool commit);
/* 0 or negative errno of pthread_create(3). */
MUST_USE int worker_start(struct worker *worker);
/* From any thread. */
void worker_poke(struct worker *worker, unsigned requests);

/* Something to be done on a worker's thread, embedded in what it is about. run sends it on. */
struct worker_errand {
    struct mail mail;
    void (*run)(struct worker_errand *errand, struct proxy *proxy);
};

/* From any thread. False: the worker has ended, or never ran; nothing was taken. */
MUST_USE bool worker_send(struct worker *worker, struct worker_errand *errand);
/* What it counts; from any thread, until worker_free. */
const struct tally *worker_tally(const struct worker *worker);
/* Waits for the thread's end, if it was started; its last log lines are with the writer then. NULL
 * is accepted. */
void worker_join(struct worker *worker);
/* After all workers have been joined: one may still have poked another. NULL is accepted. */
void worker_free(struct worker *worker);
