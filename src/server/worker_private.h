// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of a worker, shared by worker.c (its life, and what others ask
 * of it), worker_accept.c (clients, and room for them) and worker_change.c
 * (the configuration that it goes by, and where it listens).
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"
#include "io/io.h"
#include "io/listener.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "proxy/proxy.h"
#include "server/worker.h"

struct auth_desk;
struct machine;
struct resolver;
struct socket_set;

/* A socket that the worker watches. */
struct door {
    struct list node;
    struct listener *listener;    /* owned */
    const struct socket_set *set; /* borrowed */
    const char *name;             /* of its section; never freed before the worker */
    bool keeps;                   /* the change that is being put in force has it, too */
};

struct worker {
    struct workshop *shop; /* borrowed */
    size_t index;
    pthread_t thread;
    atomic_bool started;
    struct io io;
    struct resolver *resolver; /* owned */
    struct list retired_resolvers;
    struct machine *machine; /* owned */
    struct auth_desk *auth;  /* owned; NULL: no users file */
    struct proxy proxy;
    struct list doors;                   /* owned: struct door */
    struct worker_change *_Atomic given; /* owned: to be prepared */
    /* What is prepared, until it is decided on; all owned. */
    struct worker_change *change;  /* NULL: nothing */
    struct resolver *new_resolver; /* NULL: there is none, or the old one stays */
    struct auth_desk *new_auth;    /* so, too */
    struct list new_doors;         /* that listen, but accept nobody yet */
    bool paused;                   /* some listener waits for room */
    bool draining;
    bool starved; /* said so in the log */
    struct deadline retry;
    struct deadline trim;
    uint64_t emptied_ms;     /* when it was quiet and all spare memory went back */
    struct task settle;      /* after a change: listen again, or end */
    struct mailbox *mailbox; /* owned */
    struct mail poke;        /* in flight while poked */
    atomic_bool poked;
    atomic_uint requests;
};

/* ---- worker_accept.c ---- */

/* For listener_new: tag is the door, arg the worker. */
extern const struct listener_events worker_listener_events;
/* Once the worker's io stands. */
void worker_init_accepting(struct worker *w);
/* Opens the doors again, if they wait for room. */
void worker_resume_accepting(struct worker *w);
/* Accepts at all of them; what cannot be opened now is tried again. */
void worker_open_doors(struct worker *w);
/* Closes something idle so that one more client may come; false when there is nothing. */
bool worker_shed_for_client(struct worker *w);
/* For struct proxy. */
void worker_on_client_gone(void *arg, const struct addr *client, bool refused);

/* ---- worker_change.c ---- */

/* Does all of a change that can fail. change is given, also where this fails: then it is to be
 * abandoned. 0 or negative errno. */
MUST_USE int worker_prepare_change(struct worker *w, struct worker_change *change);
/* Does the rest of what was prepared: the worker goes by it. */
void worker_commit_change(struct worker *w);
/* What was prepared, or half prepared, goes. */
void worker_abandon_change(struct worker *w);
/* What worker_prepare has given is prepared, and told. */
void worker_on_prepare(struct worker *w);
void worker_on_decide(struct worker *w, bool is_commit);
/* Lets in who waits at the doors, and closes them. */
void worker_drain_doors(struct worker *w);
/* At the end. */
void worker_close_doors(struct worker *w);
