// SPDX-License-Identifier: MIT
#pragma once

/*
 * The listening sockets of the daemon: what the configuration asks for, and
 * what the service manager handed over (LISTEN_FDS). They belong to the
 * server; workers only watch them. A start and a reload go the same way: a
 * plan keeps what is open already, opens what is not, and is put in force or
 * given up as a whole; what it left out is closed once no worker watches it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/list.h"
#include "conf/conf.h"

/* One socket address, with a socket per worker or one for all. */
struct socket_set {
    struct list node;  /* in one of the lists of struct sockets, or of a plan's new ones */
    struct addr asked; /* as it is configured: port 0 lets the kernel choose */
    struct addr addr;  /* as bound; ADDR_UNIX: see path */
    const char *path;  /* of a unix socket; owned */
    const char *name;  /* of an inherited socket; NULL: none; lives as long as struct sockets */
    mode_t mode;       /* of a unix socket of ours, as all until inherited */
    gid_t gid;
    dev_t device; /* of its file: another one may have its place by now */
    ino_t inode;
    bool inherited;  /* never ours to close or remove while the daemon runs */
    bool is_foreign; /* ours, but another user's than we are: sockets_give_to failed */
    bool
        is_admin; /* opened for admin.address: workers do not watch it, and it outlives the drain */
    int *fds;     /* owned: fd_count of them; -1: a worker has it, or it is closed */
    size_t fd_count;
};

/* A set in use. */
struct socket_door {
    struct socket_set *set; /* borrowed */
    const char *listener;   /* the name of its section: lives as long as struct sockets */
};

struct sockets {
    struct list open;          /* in use, or inherited */
    struct list leaving;       /* no longer in use: workers may still watch them */
    struct socket_door *doors; /* owned */
    size_t door_count;
    struct socket_set *admin; /* borrowed from open: of admin.address; NULL: it is off */
    struct list names;        /* of listeners, all that ever were, and of inherited sockets */
    size_t workers;           /* how many sockets an address of our own gets */
    int give_error;           /* negative errno: some are root's still (sockets_give_to) */
};

struct socket_plan {
    struct socket_door *doors; /* owned */
    size_t door_count;
    struct socket_set *admin;  /* borrowed; NULL: off */
    struct list opened;        /* sets that were not open before */
    struct conf_origin origin; /* of the address that could not be had */
};

/* Takes over what was handed over. 0, or negative errno with one line in error. */
MUST_USE int sockets_init(struct sockets *sockets, size_t workers, char *error, size_t error_cap);
/* What conf asks for: opens what is not open. 0 with a plan to be committed or given up; negative
 * errno with one line that names the address in error, plan->origin set, and nothing to give up. */
MUST_USE int sockets_plan(struct sockets *sockets, const struct conf *conf,
                          struct socket_plan *plan, char *error, size_t error_cap);
/* Puts it in force: what it does not use any more is leaving. */
void sockets_commit(struct sockets *sockets, struct socket_plan *plan, const struct conf *conf);
/* Closes what it opened. */
void sockets_give_up(struct sockets *sockets, struct socket_plan *plan);
/* Of sockets that root opened, before it becomes that user: they are that user's from then on, so
 * that a reload may change what a unix socket's file permits, and bind addresses beside and around
 * those that are bound. Inherited ones stay as they are, and so do those that cannot be given. */
void sockets_give_to(struct sockets *sockets, uid_t uid);
/* Where the plan listens on TCP, admin included, in memory from mem_alloc; NULL: memory is out. */
MUST_USE struct addr *sockets_own(const struct socket_plan *plan, size_t *ret_count);
/* Once no worker watches them: closes the sets that are leaving. */
void sockets_sweep(struct sockets *sockets);
/* Once no worker watches any more: closes what is ours, so that nobody waits in a queue in vain.
 * Inherited sockets stay open: who waits there is served after a restart. So does the one of admin,
 * which tells of the drain. */
void sockets_stop(struct sockets *sockets);
/* Closes what is still open and removes our unix socket files. */
void sockets_close(struct sockets *sockets);
/* IP:PORT, [IP6]:PORT or unix:PATH. */
void socket_set_name(const struct socket_set *set, char *dst, size_t cap);
