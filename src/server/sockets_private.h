// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of the sockets, shared by sockets.c (what is open, and what was
 * handed over), sockets_plan.c (what a configuration asks for) and
 * sockets_unix.c (its unix sockets).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/list.h"
#include "base/str.h"
#include "server/sockets.h"

/* In list, its descriptors -1; NULL: memory is out. */
struct socket_set *socket_set_new(struct list *list, size_t fd_count);
/* Closes what no worker has. */
void socket_set_free(struct socket_set *set);
void socket_sets_free(struct list *sets);
/* The file of a unix socket of ours is there still, as far as can be seen. While the socket is open
 * no other file can have its number. */
bool socket_set_has_file(const struct socket_set *set);
/* The same text, kept as long as struct sockets; NULL: memory is out. */
const char *sockets_keep_name(struct sockets *sockets, struct str text);

/* ---- A plan while it is made ---- */

struct planning {
    struct sockets *sockets;
    struct socket_plan *plan;
    const struct conf *conf;
    char *error;
    size_t error_cap;
};

/* What is open already, ours for the same purpose or inherited, and not used by this plan yet,
 * reachable or not; NULL: nothing. path: of a unix socket; NULL: the one that was asked for. */
struct socket_set *sockets_find_open(const struct planning *p, const struct addr *asked,
                                     const char *path, bool is_admin);
/* Tells that name could not be opened: returns error. */
int sockets_fail_bind(struct planning *p, const char *name, int error, const char *hint);

/* ---- Unix sockets ---- */

/* Who may connect to a unix socket. */
struct unix_access {
    const char *kind, *name; /* "listen ", "lan": for messages */
    mode_t mode;
    const char *group; /* NULL: as it is */
    gid_t gid;         /* (gid_t)-1: without a group, or the account database did not tell */
};

struct unix_access unix_access_of(const struct conf_listener *listener);
struct unix_access unix_access_of_admin(const struct conf *conf);
/* What is open at path already, or a new one. 0, or negative errno with one line in p->error. */
MUST_USE int sockets_get_unix(struct planning *p, const char *path, const struct unix_access *who,
                              bool is_admin, struct socket_set **ret);
/* One of ours that stays may have other permissions now. A warning tells where it may not. */
void sockets_set_access(struct planning *p, const struct unix_access *who, struct socket_set *set);
