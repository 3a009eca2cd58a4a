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

struct auth;
struct crowd;
struct log_writer;
struct snapshot;
struct sockets;
struct worker;

/* What all workers share. */
struct workshop {
    struct snapshot *snapshot; /* borrowed */
    struct auth *auth;         /* borrowed; NULL: no users file */
    struct log_writer *writer; /* borrowed */
    struct sockets *sockets;   /* borrowed */
    struct crowd *crowd;       /* borrowed; NULL: no limit per client */
    struct str via_name;       /* borrowed */
    struct buf_budget buffers;
    struct fd_budget fds;
    _Atomic int64_t clients; /* connections of all workers */
    int64_t max_clients;
    _Atomic unsigned paused; /* workers whose listeners wait for room */
    _Atomic size_t drained;  /* workers that have stopped listening */
    struct worker **workers; /* owned */
    size_t worker_count;
    /* Called on a worker's thread when it has ended. */
    void (*ended)(void *arg);
    void *arg;
};

/* What a worker can be asked for; bits, may be combined. */
enum worker_request {
    WORKER_SHED = 1,  /* close something idle: another worker is short */
    WORKER_ROOM = 2,  /* there is room again: listen */
    WORKER_DRAIN = 4, /* no new clients, end when the last one has gone */
    WORKER_CUT = 8,   /* end now */
};

/* Builds worker number index (from 0); its thread does not run yet. 0, or negative errno with *ret
 * half built, for worker_join. */
MUST_USE int worker_new(struct workshop *shop, size_t index, struct worker **ret);
/* 0 or negative errno of pthread_create(3). */
MUST_USE int worker_start(struct worker *worker);
/* From any thread. */
void worker_poke(struct worker *worker, unsigned requests);
/* Waits for the thread's end, if it was started; its last log lines are with the writer then. NULL
 * is accepted. */
void worker_join(struct worker *worker);
/* After all workers have been joined: one may still have poked another. NULL is accepted. */
void worker_free(struct worker *worker);
