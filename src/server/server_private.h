// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of the daemon, shared by server.c (start, signals, drain, end),
 * in_force.c and reload.c. All of it belongs to the main thread, but for what
 * workers share (struct workshop).
 */

#include <stdatomic.h>
#include <stddef.h>

#include "base/attr.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "server/admin.h"
#include "server/admin_record.h"
#include "server/pulse.h"
#include "server/reload.h"
#include "server/sockets.h"
#include "server/worker.h"

struct aside;
struct snapshot;

#define SERVER_MESSAGE_MAX 512

enum server_phase { SERVER_SERVING, SERVER_DELAY, SERVER_DRAINING, SERVER_CUTTING };

struct server {
    enum server_phase phase;
    const struct conf_load_options *source; /* borrowed: where the configuration comes from */
    struct snapshot *snapshot;              /* shared ref: in force */
    struct conf *started;                   /* shared ref: what wants a restart is as in this one */
    struct auth *auth;                      /* owned; NULL: there has been no users file yet */
    struct log_writer *writer;              /* owned */
    struct sockets sockets;
    struct workshop shop;
    struct loop *loop;       /* owned: signals and deadlines of the main thread */
    struct mailbox *mailbox; /* owned: workers that ended */
    struct mail ended_mail;
    struct mail drained_mail; /* nobody listens any more */
    atomic_size_t running;
    struct mailbox *tenures; /* owned: what workers have used up */
    struct aside *aside;     /* owned: where reloads are read, and what they replace is freed */
    struct reload reload;
    struct admin *admin; /* owned; NULL: it has been off until now */
    struct admin_record admin_record;
    struct pulse pulse;
    uint32_t via_number;  /* what tells this instance from others of its name */
    uint64_t descriptors; /* RLIMIT_NOFILE */
    int signal_fd;
    struct loop_watch *signals; /* owned */
    struct deadline delay;      /* server.drain_delay */
    struct deadline grace;      /* server.grace */
};

/* in_force.c */

/* What others know snapshot's instance by, as that plan listens. 0 or -ENOMEM. */
MUST_USE int server_settle(const struct server *s, struct snapshot *snapshot,
                           const struct socket_plan *plan);
/* There is somebody to check passwords, if snapshot has users. 0 or negative errno. */
MUST_USE int server_need_auth(struct server *s, const struct snapshot *snapshot);
/* A change for one worker, to go by snapshot and those doors; NULL: memory is out. */
MUST_USE struct worker_change *server_new_change(struct server *s, struct snapshot *snapshot,
                                                 const struct socket_door *doors,
                                                 size_t door_count);
/* A change that is given to nobody. */
void server_drop_change(struct worker_change *change);
/* Budgets, level and form of the log, users, and what else all workers share, as snapshot says. */
void server_apply(struct server *s, const struct snapshot *snapshot);
/* s->tenures, for changes to come back to. 0 or negative errno. */
MUST_USE int server_init_tenures(struct server *s);

/* server.c */

/* One line of the log: a listener has begun. */
void server_announce_door(const struct socket_door *door);
void server_announce_admin(const struct socket_set *set);
/* s->admin, which shows what is in force and accepts from set; NULL: from none yet. 0 or negative
 * errno. */
MUST_USE int server_start_admin(struct server *s, const struct socket_set *set);
