// SPDX-License-Identifier: MIT
#pragma once

/*
 * The listening sockets of the daemon: what the configuration asks for, and
 * what the service manager handed over (LISTEN_FDS). They belong to the
 * server; workers only watch them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/attr.h"

struct conf;
struct conf_bind;
struct conf_listener;

/* One socket address, with a socket per worker or one for all. */
struct socket_set {
    const struct conf_listener *listener; /* borrowed from the configuration */
    struct addr addr;                     /* as bound; ADDR_UNIX: see path */
    const char *path;                     /* of a unix socket; owned */
    bool inherited;
    int *fds; /* owned: fd_count of them */
    size_t fd_count;
};

struct sockets {
    struct socket_set *sets; /* owned */
    size_t count;
    struct addr *own; /* owned: where we listen, for the loop guard */
    size_t own_count;
};

/* Opens everything; workers: how many sockets an address of our own gets. 0, or a negative errno
 * with one line that names the address in error. */
MUST_USE int sockets_open(struct sockets *sockets, const struct conf *conf, size_t workers,
                          char *error, size_t error_cap);
/* Once no worker watches any more: closes what is ours, so that nobody waits in a queue in vain.
 * Inherited sockets stay open: who waits there is served after a restart. */
void sockets_stop(struct sockets *sockets);
/* Closes what is still open (fds that workers took are -1) and removes our unix socket files. */
void sockets_close(struct sockets *sockets);
/* IP:PORT, [IP6]:PORT or unix:PATH. */
void socket_set_name(const struct socket_set *set, char *dst, size_t cap);
