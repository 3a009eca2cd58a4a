// SPDX-License-Identifier: MIT
#pragma once

/*
 * Listening sockets: opening them (nothing is listening until listener_open
 * returns), and accepting on a worker's loop. One socket may be watched by
 * several workers: accepting a few a wake-up and finding none left is normal.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/attr.h"

struct loop;
struct listener;

/* Binds and listens, count sockets for one TCP address (SO_REUSEPORT). Port 0: the kernel chooses,
 * *addr tells afterwards. Fails with -EADDRINUSE when anyone else, another viaduct too, has the
 * address; overlaps: another socket of this process may have it, or a part of it, and that is well.
 * 0 and ret_fds[count] (owned), or negative errno. */
MUST_USE int listener_open_tcp(struct addr *addr, uint64_t keepalive_ms, bool overlaps,
                               int *ret_fds, size_t count);
/* A unix socket with that mode and group ((gid_t)-1: as it is). A stale file, which nobody listens
 * on, is taken over; a live one is -EADDRINUSE. */
MUST_USE int listener_open_unix(const char *path, mode_t mode, gid_t group, int *ret_fd);
/* The owner, group (-1: as it is) and mode (NULL: likewise) of a unix socket's file. Root may do
 * this where somebody else may write: nothing but a socket is touched, no link is followed. 0 or
 * negative errno. */
MUST_USE int listener_change_unix(const char *path, uid_t owner, gid_t group, const mode_t *mode);

struct listener_events {
    /* Asked before each accept: reserves the room for one. */
    bool (*may_accept)(void *arg);
    /* There was none, and somebody waits: true when something was closed for it. False pauses the
     * listener until listener_resume. */
    bool (*make_room)(void *arg);
    /* fd is given; non-blocking. */
    void (*accepted)(void *arg, struct listener *listener, int fd, const struct addr *peer);
    /* What may_accept reserved was not used. */
    void (*unused)(void *arg);
    /* The system is short of descriptors or memory (negative errno); the listener is paused. */
    void (*starved)(void *arg, int error);
};

/* Watches fd (borrowed when shared, else taken) from loop. tag is for the caller. */
MUST_USE int listener_new(struct loop *loop, int fd, bool shared,
                          const struct listener_events *events, void *arg, const void *tag,
                          struct listener **ret);
const void *listener_tag(const struct listener *listener);
int listener_fd(const struct listener *listener);
/* Accepts nobody until listener_resume. */
void listener_pause(struct listener *listener);
/* False: memory is out, and it stays paused. */
bool listener_resume(struct listener *listener);
/* Accepts what waits in the queue (closing a listening socket resets it), then stops; frees. */
void listener_drain(struct listener *listener);
/* Stops and frees at once. NULL is accepted. */
void listener_free(struct listener *listener);
