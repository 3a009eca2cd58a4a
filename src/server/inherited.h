// SPDX-License-Identifier: MIT
#pragma once

/*
 * Listening sockets that the service manager hands over, as
 * sd_listen_fds_with_names(3) describes it: descriptors from 3 on, counted by
 * LISTEN_FDS, meant for the process LISTEN_PID, named by LISTEN_FDNAMES.
 */

#include <stddef.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/str.h"

/* How many there are for this process; 0, with a warning, if the variables do not tell. */
size_t inherited_count(void);
/* The name of number i, from 0; empty where it has none. Borrowed from the environment. */
struct str inherited_name(size_t i);
/* Makes number i non-blocking and close-on-exec: returns its descriptor, and where it listens in
 * ret; or negative errno with one line in error. */
MUST_USE int inherited_take(size_t i, struct sockaddr_storage *ret, char *error, size_t error_cap);
/* Removes the variables, so that they are for this process alone; before there are threads. */
void inherited_forget(void);
