// SPDX-License-Identifier: MIT
#pragma once

/*
 * The admin socket: HTTP on a thread of its own, so that whoever asks, and
 * however slowly, never delays the daemon. What it tells of the server the
 * main thread has shown it (struct admin_view) or is counted in atomics; what
 * it wants done it asks of the main thread by mail. These functions are for
 * the main thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/ref.h"

struct admin;
struct admin_view;
struct server;
struct snapshot;
struct socket_door;
struct socket_set;

/* Its thread runs, shows view (taken, whatever comes of it), and accepts from set (as
 * admin_listen). 0 or negative errno. */
MUST_USE int admin_new(struct server *s, struct admin_view *view, const struct socket_set *set,
                       struct admin **ret);
/* Tells who still waits that it is over, and frees. After reload_deinit, when no worker runs any
 * more and before they are freed. NULL is accepted. */
void admin_free(struct admin *admin);

/* What is to be seen: snapshot, and where it listens. NULL: memory is out. */
MUST_USE struct admin_view *admin_view_new(struct snapshot *snapshot,
                                           const struct socket_door *doors, size_t door_count);
void admin_view_free(struct admin_view *view); /* one that was not shown; accepts NULL */
/* The requests from now on see view, which is taken. */
void admin_show(struct admin *admin, struct admin_view *view);
/* From now on /healthz answers 503. */
void admin_drain(struct admin *admin);
/* Accepts from set, whose descriptor stays the server's, and no longer from the one before; NULL:
 * from none. Then changed is called, on another thread; not before that is the next one given. */
void admin_listen(struct admin *admin, const struct socket_set *set, void (*changed)(void *arg),
                  void *arg);
