// SPDX-License-Identifier: MIT
#pragma once

/*
 * How many connections each client address has
 * (server.max_connections_per_client): IPv4 by address, IPv6 by /64, unix
 * sockets by user. Shared by all workers. They are counted whether or not
 * there is a limit, so that one that a reload brings knows who is there.
 */

#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"

struct crowd;

#define CROWD_FULL 1

/* Without a limit. 0 or -ENOMEM. */
MUST_USE int crowd_new(struct crowd **ret);
/* From now on, from any thread; 0: none. Who is there stays, and counts. */
void crowd_set_limit(struct crowd *crowd, uint64_t limit);
/* NULL is accepted. */
void crowd_free(struct crowd *crowd);
/* From any thread. 0: one more is counted, to be given back with crowd_leave. CROWD_FULL, beyond
 * the limit, or -ENOMEM: nothing is. */
MUST_USE int crowd_enter(struct crowd *crowd, const struct addr *client);
void crowd_leave(struct crowd *crowd, const struct addr *client);
