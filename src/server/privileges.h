// SPDX-License-Identifier: MIT
#pragma once

/*
 * server.user: the user that a daemon started as root becomes once it has
 * bound its sockets, and as whom it reads whatever it may have to read again.
 */

#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"

struct conf;
struct conf_messages;

/* Who that is. 0 or -ENOENT. */
MUST_USE int privileges_find(const char *user, uid_t *ret);
/* Becomes user (NULL: nothing to do) with its groups, for good; who is not root stays who it is. 0,
 * or negative errno with one line in error. */
MUST_USE int privileges_drop(const char *user, char *error, size_t cap);
/* Reads files as user from now on, until privileges_resume; only root can. 0 or negative errno.
 * Before there are threads. */
MUST_USE int privileges_lend(const char *user);
void privileges_resume(void);
/* Warns of a server.user that a start as who we are will not become. lent is what privileges_lend
 * returned for it. */
void privileges_check(const struct conf *conf, int lent, struct conf_messages *messages);
