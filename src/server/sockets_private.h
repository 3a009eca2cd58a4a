// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of the sockets, shared by sockets.c (what is open, and what was
 * handed over) and sockets_plan.c (what a configuration asks for).
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
