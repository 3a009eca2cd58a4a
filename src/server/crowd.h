// SPDX-License-Identifier: MIT
#pragma once

/*
 * How many connections each client address has
 * (server.max_connections_per_client): IPv4 by address, IPv6 by /64, unix
 * sockets by user. Shared by all workers under a lock, which nobody takes as
 * long as there is no limit.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"

struct crowd;

/* limit 0: none. */
MUST_USE int crowd_new(uint64_t limit, struct crowd **ret);
/* From now on, from any thread. Who came while there was no limit is not counted, and takes one of
 * the counted with it when it leaves: so for a while more may come than the limit says. */
void crowd_set_limit(struct crowd *crowd, uint64_t limit);
void crowd_free(struct crowd *crowd);
/* Counts one more, to be given back with crowd_leave; false, and nothing is counted, when that
 * would be beyond the limit. */
bool crowd_enter(struct crowd *crowd, const struct addr *client);
void crowd_leave(struct crowd *crowd, const struct addr *client);
